"""Options that the commands share, spelt as those of the bundle."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

__all__ = ["add_mri", "add_number", "add_output", "at_least", "spell"]

OLD_NAMES = {"--out_dir": "--output_dir", "--workers": "--num_workers"}


def spell(arguments: Iterable[str]) -> list[str]:
    """Write a command line's options as they are declared, with underscores; hyphens and older names are taken too."""

    def respell(text: str) -> str:
        name, equals, value = text.partition("=")
        name = "--" + name[2:].replace("-", "_")
        return OLD_NAMES.get(name, name) + equals + value

    return [respell(text) if text.startswith("--") else text for text in arguments]


def at_least(least: int) -> Callable[[str], int]:
    """Make an argparse type: a whole number that is ``least`` or more."""

    def parse(text: str) -> int:
        value = int(text)
        if value < least:
            raise argparse.ArgumentTypeError(f"expected {least} or more but got {value}")
        return value

    parse.__name__ = "whole number"  # argparse names it where text is no number at all
    return parse


def add_number(
    parser: argparse._ActionsContainer, name: str, default: float, text: str, *, least: int = 1, **more: Any
) -> None:
    """Add an option that takes a whole number, ``least`` or more, or one of another ``type``."""
    more = {"type": at_least(least), "metavar": "N", "help": f"{text} (default: {default:g})", **more}
    parser.add_argument(name, default=default, **more)


def add_output(parser: argparse.ArgumentParser, seed: str = "of the split") -> None:
    """Add what every data set has: where to write, and the seed, with ``seed`` saying what it is of."""
    parser.add_argument(
        "--output_dir", dest="out_dir", type=Path, required=True, metavar="DIR", help="folder of the data set"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace a data set that is already there")
    add_number(parser, "--seed", 0, f"seed {seed}", least=0, metavar="S")


def add_mri(parser: argparse.ArgumentParser, slices: int, which: str) -> None:
    """Add the geometry of MRI and the k of the paper's simulated misalignment (section 4.4.1)."""
    add_number(parser, "--distortion", 0.0, "k of I + kU on the training PD", type=float, metavar="K")
    add_number(parser, "--size", 128, "in-plane size", least=32, metavar="PX")
    add_number(parser, "--slices", slices, which)
