"""``python -m data_prep ixi-like``: simulate a data set like IXI's from a brain template, for want of IXI itself.

Simulated contrast over real but average anatomy, see :mod:`data_prep.ixi_like_brain`. The simulated scans are prepared
as those of IXI are, but with a validation split, as in the phantom.
"""

from __future__ import annotations

import argparse
from os import PathLike
from pathlib import Path

from data_prep.arguments import add_count, add_mri, add_output
from data_prep.ixi_like_brain import make_pair
from data_prep.mri_dataset import AcquiredPair, MRISettings, add_subjects
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
    """Simulate subjects and write them as a data set: all of it, or nothing. Arguments are the command's options.

    Of 24 subjects 15 go to training, 3 to validation and 6 to test. The field of view is 240 mm, simulated at twice as
    many pixels, as IXI is acquired; 64 slices have IXI's distance of 1.25 mm. Neither anatomy nor split depend on
    ``distortion``.

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
    add_mri(parser, 32, "over 80 mm")
    add_count(parser, "--subjects", 24, "how many")
    parser.set_defaults(run=write_ixi_like_dataset)
