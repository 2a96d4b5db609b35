"""Options that the commands share, spelt as those of the bundle."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from monai_nce.data.files.writable import check_writable
from monai_nce.errors import InputError
from monai_nce.settings import SEPARATOR, parse_number

from .messages import say

__all__ = [
    "add_fractions",
    "add_licence",
    "add_mri",
    "add_number",
    "add_output",
    "add_work",
    "number",
    "run_resumable",
    "spell",
]

OLD_NAMES = {"--out_dir": "--output_dir", "--workers": "--num_workers"}


def spell(arguments: Iterable[str]) -> list[str]:
    """Write a command line's options as they are declared, with underscores; hyphens and older names are taken too."""

    def respell(text: str) -> str:
        name, equals, value = text.partition("=")
        name = "--" + name[2:].replace("-", "_")
        return OLD_NAMES.get(name, name) + equals + value

    return [respell(text) if text.startswith("--") else text for text in arguments]


def number(name: str) -> Callable[[str], float]:
    """Make an argparse type: a number, as the schema of the settings has it for this option of ``data_prep``."""

    def parse(text: str) -> float:
        try:
            return parse_number(f"data_prep{SEPARATOR}{name.removeprefix('--')}", text)
        except InputError as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    return parse


def folder(text: str) -> Path:
    """Take a folder that can be written to, as an argparse type."""
    try:
        check_writable(text)
    except InputError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return Path(text)


def add_number(parser: argparse._ActionsContainer, name: str, default: float, text: str, **more: Any) -> None:
    """Add an option that takes a number of the range that the schema of the settings gives it."""
    more = {"type": number(name), "metavar": "N", "help": f"{text} (default: {default:g})", **more}
    parser.add_argument(name, default=default, **more)


def add_output(parser: argparse.ArgumentParser, seed: str = "of the split") -> None:
    """Add what every data set has: where to write, and the seed, with ``seed`` saying what it is of."""
    parser.add_argument(
        "-o",
        "--output_dir",
        dest="out_dir",
        type=folder,
        required=True,
        metavar="DIR",
        help="folder of the data set",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace a data set that is already there")
    add_number(parser, "--seed", 0, f"seed {seed}", metavar="S")


def add_fractions(parser: argparse._ActionsContainer) -> None:
    """Add the shares of the patients for validation and test; the others are for training."""
    add_number(parser, "--validation_fraction", 0.125, "share for validation", metavar="X")
    add_number(parser, "--test_fraction", 0.25, "share for test; 0 puts none there", metavar="X")


def add_licence(parser: argparse._ActionsContainer, of: str) -> None:
    """Add the licence of what a data set is made of, which weights that learn from it repeat."""
    parser.add_argument(
        "--licence", default="", metavar="TEXT", help=f"source and licence of the {of}; weights repeat it"
    )


def add_work(parser: argparse._ActionsContainer) -> None:
    """Add what long runs have, worker processes and a way to go on; what is not given leaves no trace."""
    absent: dict[str, Any] = {"default": argparse.SUPPRESS}
    parser.add_argument(
        "--num_workers",
        type=number("num_workers"),
        metavar="N",
        help="processes, a patient each (default: 1)",
        **absent,
    )
    add_cluster(parser)
    # alone, or as the bundle has it
    resume: dict[str, Any] = {"nargs": "?", "const": "True", "choices": ["True"], "metavar": "True", **absent}
    parser.add_argument("--resume", **resume, help="go on where a run with the same input was stopped")


def add_cluster(parser: argparse._ActionsContainer) -> None:
    """Add the workers of a Dask cluster in place of processes of this machine; not given it leaves no trace."""
    parser.add_argument(
        "--cluster",
        default=argparse.SUPPRESS,
        metavar="ADDRESS",
        help="scheduler of a Dask cluster whose workers take the place of --num_workers, such as tcp://host:8786",
    )


def take_workers(given: dict[str, Any]) -> int | str:
    """Take ``num_workers`` or ``cluster`` out of what was given on the command line.

    Raises:
        InputError: for both.
    """
    number, cluster = given.pop("num_workers", None), given.pop("cluster", None)
    if number is not None and cluster is not None:
        raise InputError("--cluster: expected without --num_workers: the cluster's workers do the work")
    return cluster or number or 1


def run_resumable(run: Callable[[], Path]) -> Path:
    """Run; on Ctrl-C end with status 130 and a line that says how to go on."""
    try:
        return run()
    except KeyboardInterrupt:
        pass  # its frames are gone then, and with them a bar that the line would run into
    say("interrupted; the patients that are finished are kept, --resume goes on with them")
    raise SystemExit(130)


def add_mri(parser: argparse.ArgumentParser, slices: int, which: str) -> None:
    """Add the geometry of MRI and the k of the paper's simulated misalignment (section 4.4.1)."""
    add_number(parser, "--distortion", 0.0, "k of I + kU on the training targets", metavar="K")
    add_number(parser, "--size", 128, "in-plane size", metavar="PX")
    add_number(parser, "--slices", slices, which)
