"""``python -m data_prep ixi``: prepare T2 and PD of the IXI brain MRI data set for the paper's second experiment.

Section 4.4.1: subjects with few slices left out, the 64 slices in the middle, 128 × 128 pixels, and PD distorted for
training only. Decisions 22 to 24 fill in what the paper leaves open.
"""

from __future__ import annotations

import argparse
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

from monai_nce.data.dataset.writer import DatasetWriter
from monai_nce.errors import InputError

from .arguments import add_mri, add_number, add_output
from .ixi_files import IXIFiles
from .mri_dataset import (
    TEST_FRACTION,
    AcquiredPair,
    MRISettings,
    add_subjects,
    check_validation_fraction,
    grid_fault,
    say_who,
    split_subjects,
)

__all__ = ["add_parser", "prepare_ixi"]


def prepare_ixi(
    t2: Path,
    pd: Path,
    out_dir: Path,
    *,
    size: int = 128,
    slices: int = 64,
    distortion: float = 0.0,
    validation_fraction: float = 0.0,
    seed: int = 0,
    overwrite: bool = False,
    progress: bool = True,
) -> Path:
    """Write a data set from IXI's T2 and PD scans: all of it, or nothing; return ``out_dir``.

    Arguments are the command's options. Subjects without both scans, with too few slices, or whose scans lie on
    different grids are left out; the report says who and why. The share for validation is taken from the 80 % for
    training.

    Raises:
        InputError: if an archive or a scan is damaged, ``t2`` or ``pd`` holds no scan of its kind, no subject can be
            used, a number is out of range, or ``out_dir`` cannot take a data set.
    """
    settings = MRISettings(size, slices, distortion, seed)
    check_validation_fraction(validation_fraction)
    shares = {"validation_fraction": validation_fraction, "test_fraction": TEST_FRACTION}
    made = {"tool": "data_prep ixi", **asdict(settings), **shares}
    dataset = DatasetWriter(
        out_dir,
        name="IXI T2 and PD",
        description="T2 and PD brain MRI of IXI, prepared as in Seo et al., WACV 2021; values 0 to 1000, no HU.",
        licence="CC BY-SA 3.0 (IXI, https://brain-development.org/ixi-dataset/)",
        kind="real",
        source_domain="t2",
        target_domain="pd",
        provenance=made,
        overwrite=overwrite,
    )
    with dataset:
        t2_files, pd_files = IXIFiles(t2, "T2"), IXIFiles(pd, "PD")
        sites, left_out = _usable(t2_files, pd_files, slices)
        splits = split_subjects(sites, validation_fraction, seed)

        def load(subject: str) -> AcquiredPair:
            source, affine = t2_files.volume(subject)
            return AcquiredPair(source, pd_files.volume(subject)[0], affine)

        rows = add_subjects(dataset, splits, load, settings, name="ixi", progress=progress)
        subjects = [{"subject": row["subject"], "site": sites[row["subject"]], **row} for row in rows]
        count = dict(sorted(Counter(sites.values()).items()))
        dataset.report({**made, "sites": count, "subjects": subjects, "left_out": left_out})
    say_who("ixi", "subjects", splits, left_out, Path(out_dir))
    return out_dir


def _usable(t2: IXIFiles, pd: IXIFiles, slices: int) -> tuple[dict[str, str], list[dict[str, Any]]]:
    """Sort subjects by their headers alone: the sites of those that can be used, and a report on the others."""
    sites = {**pd.repeated, **t2.repeated, **pd.sites, **t2.sites}
    faults = {subject: _fault(subject, t2, pd, slices) for subject in sorted(sites)}
    usable = {subject: sites[subject] for subject, reason in faults.items() if reason is None}
    left_out = [{"subject": one, "site": sites[one], "reason": reason} for one, reason in faults.items() if reason]
    if not usable:
        first = f"{left_out[0]['subject']}: {left_out[0]['reason']}"
        raise InputError(f"no subject of {t2.path} and {pd.path} can be used; the first of {len(left_out)}, {first}")
    return usable, left_out


def _fault(subject: str, t2: IXIFiles, pd: IXIFiles, slices: int) -> str | None:
    """Give the reason why a subject cannot be used; its part before a colon serves to count reasons."""
    for files in (t2, pd):
        if subject in files.repeated:
            return f"several {files.contrast} scans"
        if subject not in files.sites:
            return f"no {files.contrast} scan"
    return grid_fault([files.grid(subject) for files in (t2, pd)], (t2.contrast, pd.contrast), slices)


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add this sub-command to argparse's sub-parsers."""
    parser = commands.add_parser(
        "ixi",
        help="T2 and PD of the IXI brain MRI data set",
        description="Prepare IXI as in the paper's second experiment. PATH: the tar archive as downloaded from"
        " https://brain-development.org/ixi-dataset/ or a folder with its files.",
    )
    parser.add_argument("--t2", type=Path, required=True, metavar="PATH", help="IXI-T2.tar")
    parser.add_argument("--pd", type=Path, required=True, metavar="PATH", help="IXI-PD.tar")
    add_output(parser)
    add_mri(parser, 64, "in the middle")
    add_number(parser, "--validation_fraction", 0.0, "share of all subjects", metavar="X")
    parser.set_defaults(run=prepare_ixi)
