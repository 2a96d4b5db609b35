"""What the sub-commands' options share."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

__all__ = ["add_distortion", "add_output", "at_least"]


def at_least(least: int) -> Callable[[str], int]:
    """An argparse type: a whole number that is ``least`` or more."""

    def parse(text: str) -> int:
        value = int(text)
        if value < least:
            raise argparse.ArgumentTypeError(f"expected {least} or more but got {value}")
        return value

    parse.__name__ = "whole number"  # argparse names it where text is no number at all
    return parse


def add_output(parser: argparse.ArgumentParser, seed: str = "of the split") -> None:
    """Add what every sub-command has: where to write, and the seed, with ``seed`` saying what it is of."""
    parser.add_argument("--out-dir", type=Path, required=True, metavar="DIR", help="folder of the data set")
    parser.add_argument("--overwrite", action="store_true", help="replace a data set that is already there")
    parser.add_argument("--seed", type=at_least(0), default=0, metavar="S", help=f"seed {seed} (default: 0)")


def add_distortion(parser: argparse.ArgumentParser) -> None:
    """Add the k of the paper's simulated misalignment (section 4.4.1)."""
    parser.add_argument(
        "--distortion", type=float, default=0.0, metavar="K", help="k of I + kU on the training PD (default: 0)"
    )
