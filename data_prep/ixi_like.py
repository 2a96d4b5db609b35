"""``python -m data_prep ixi-like``: a data set like IXI's from a brain template, where IXI itself is not at hand.

Simulated contrast over real but average anatomy; ``ixi_like_brain.py`` says what it is and where it is from. From the
simulated scans on everything is as for IXI, but with a validation split, as in the phantom.
"""

from __future__ import annotations

import argparse
from os import PathLike
from pathlib import Path

from data_prep.ixi_like_brain import make_pair
from data_prep.mri_dataset import AcquiredPair, MRISettings, add_subjects
from data_prep.options import add_distortion, add_output, at_least
from monai_nce.data.dataset.splits import split_patients
from monai_nce.data.dataset.writer import DatasetWriter
from monai_nce.errors import InputError

__all__ = ["GENERATOR_VERSION", "add_parser", "write_ixi_like_dataset"]

GENERATOR_VERSION = 1  # raise it when the same parameters come to give other voxels


def write_ixi_like_dataset(
    out_dir: str | PathLike[str],
    *,
    subjects: int = 24,
    size: int = 128,
    slices: int = 32,
    distortion: float = 0.0,
    seed: int = 0,
    overwrite: bool = False,
    progress: bool = True,
) -> Path:
    """Simulate subjects and write them as a data set: all of it, or nothing.

    Neither anatomy nor split depend on ``distortion``.

    Args:
        out_dir: folder of the data set.
        subjects: how many; of 24, 15 go to training, 3 to validation and 6 to test.
        size: pixels along both in-plane axes, over 240 mm; simulated at twice as many, as IXI is acquired.
        slices: over 80 mm; 64 have IXI's distance of 1.25 mm.
        distortion: the k of the paper; 0 for none.
        seed: seed of the subjects, the split and the distortions.
        overwrite: replace a data set that is already there.
        progress: show a bar.

    Returns:
        ``out_dir``.

    Raises:
        InputError: if nilearn is not installed, a number is out of range, or ``out_dir`` cannot take a data set.
    """
    if subjects < 1:
        raise InputError(f"expected at least one subject but got {subjects}")
    settings = MRISettings(size, slices, distortion, seed)
    index_of = {f"like_{index:03d}": index for index in range(subjects)}
    splits = split_patients(index_of, seed=seed)
    made = {
        "generator": "data_prep.ixi_like_brain",
        "generator_version": GENERATOR_VERSION,
        "subjects": subjects,
        **settings.as_json(),
    }
    dataset = DatasetWriter(
        out_dir,
        name="IXI-like T2 and PD, simulated",
        description="T2 and PD contrast simulated over deformations of the ICBM 2009a template; values 0 to 1000.",
        licence="ICBM 2009a template, © 1993-2004 Louis Collins, McConnell Brain Imaging Centre, McGill University;"
        " simulation Apache-2.0",
        source_domain="t2",
        target_domain="pd",
        provenance=made,
        overwrite=overwrite,
    )

    def load(subject: str) -> AcquiredPair:
        return make_pair(index_of[subject], size=2 * size, slices=slices, seed=seed)

    with dataset:
        rows = add_subjects(dataset, splits, load, settings, name="ixi-like", progress=progress)
        dataset.report({**made, "subjects": rows, "left_out": []})
    return Path(out_dir)


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add this sub-command to argparse's sub-parsers."""
    parser = commands.add_parser(
        "ixi-like",
        help="simulated T2 and PD of a brain template",
        description="Make a data set like IXI's from the brain template that nilearn ships (extra: ixi-like).",
    )
    add_output(parser)
    add_distortion(parser)
    parser.add_argument("--subjects", type=at_least(1), default=24, metavar="N", help="how many (default: 24)")
    parser.add_argument("--size", type=at_least(32), default=128, metavar="PX", help="in-plane size (default: 128)")
    parser.add_argument("--slices", type=at_least(1), default=32, metavar="N", help="over 80 mm (default: 32)")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> None:
    write_ixi_like_dataset(
        options.out_dir,
        subjects=options.subjects,
        size=options.size,
        slices=options.slices,
        distortion=options.distortion,
        seed=options.seed,
        overwrite=options.overwrite,
    )
