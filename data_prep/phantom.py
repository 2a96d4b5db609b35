"""``python -m data_prep phantom``: a data set of synthetic patients."""

from __future__ import annotations

import argparse

from data_prep.options import add_output, at_least
from monai_nce.phantom.dataset import write_phantom_dataset

__all__ = ["add_parser"]


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add this sub-command to argparse's sub-parsers."""
    parser = commands.add_parser(
        "phantom", help="synthetic abdomens, no patient data needed", description="Make a phantom data set."
    )
    add_output(parser)
    parser.add_argument("--patients", type=at_least(1), default=24, metavar="N", help="how many (default: 24)")
    parser.add_argument("--size", type=at_least(32), default=128, metavar="PX", help="in-plane size (default: 128)")
    parser.add_argument("--slices", type=at_least(1), default=32, metavar="N", help="per volume (default: 32)")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> None:
    write_phantom_dataset(
        options.out_dir,
        patients=options.patients,
        size=options.size,
        slices=options.slices,
        seed=options.seed,
        overwrite=options.overwrite,
    )
