"""``python -m data_prep phantom``: make a data set of synthetic patients."""

from __future__ import annotations

import argparse

from data_prep.arguments import add_count, add_output
from monai_nce.phantom.dataset import write_phantom_dataset

__all__ = ["add_parser"]


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add this sub-command to argparse's sub-parsers."""
    parser = commands.add_parser(
        "phantom", help="synthetic abdomens, no patient data needed", description="Make a phantom data set."
    )
    add_output(parser)
    add_count(parser, "--patients", 24, "how many")
    add_count(parser, "--size", 128, "in-plane size", least=32, metavar="PX")
    add_count(parser, "--slices", 32, "per volume")
    parser.set_defaults(run=write_phantom_dataset)
