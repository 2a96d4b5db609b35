"""``python -m data_prep mr-pairs``: prepare two registered MR sequences of some patients, such as T1 before and after
gadolinium, with the misalignment of the paper's second experiment (section 4.4.1).

Everything is as for IXI but the scale and the split. Before and after a contrast medium only what takes it up may
differ, so both are stored in the same units; patients can be held out by name, one after the other.
"""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from monai_nce.data.dataset.writer import DatasetWriter
from monai_nce.data.scans.formats import check_file, read_file
from monai_nce.data.scans.reader import MR, check_mri, modality_of
from monai_nce.errors import InputError
from monai_nce.transforms.mri_intensity import FULL_SCALE
from monai_nce.visualize.panels import Display

from .arguments import add_licence, add_mri, add_number, add_output
from .contact_sheet import write_contact_sheets
from .geometry import canonical, canonical_grid
from .mri_dataset import (
    COMMON_TOP,
    AcquiredPair,
    MRISettings,
    add_subjects,
    check_validation_fraction,
    grid_fault,
    say_who,
    split_subjects,
)
from .mri_regions import REGIONS
from .patient_pattern import FIELD, find_scans

__all__ = ["SCALES", "add_parser", "prepare_mr_pairs"]

SCALES = ("common", "own")


def prepare_mr_pairs(
    source: str,
    target: str,
    out_dir: Path,
    *,
    source_name: str = "T1",
    target_name: str = "T1CE",
    scale: str = "common",
    hold_out: Sequence[str] = (),
    size: int = 128,
    slices: int = 64,
    distortion: float = 0.0,
    validation_fraction: float = 0.0,
    licence: str = "",
    seed: int = 0,
    overwrite: bool = False,
    progress: bool = True,
) -> Path:
    """Write a data set from pairs of registered MR scans: all of it, or nothing; return ``out_dir``.

    Arguments are the command's options. Patients without both scans, with too few slices, or whose scans lie on
    different grids are left out; the report says who and why.

    Raises:
        InputError: if a scan is damaged or no MR image, one image comes twice, no patient can be used or one that is
            held out can't, an option is out of range, or ``out_dir`` cannot take a data set.
    """
    settings = MRISettings(size, slices, distortion, seed)
    check_validation_fraction(validation_fraction)
    names = _check_names(source_name, target_name)
    if scale not in SCALES:
        raise InputError(f"scale: expected {' or '.join(SCALES)} but got {scale!r}")
    scans = dict(zip(names, map(find_scans, (source, target)), strict=True))
    faults = {patient: _fault(patient, scans, names, slices) for patient in sorted(set().union(*scans.values()))}
    left_out = {patient: reason for patient, reason in faults.items() if reason}
    patients = [patient for patient, reason in faults.items() if not reason]
    if not patients:
        first = next(iter(left_out.items()))
        raise InputError(
            f"no patient of {source} and {target} can be used; the first of {len(left_out)}, {': '.join(first)}"
        )
    for patient in hold_out:
        if patient not in patients:
            raise InputError(
                f"hold out: {patient}: {left_out.get(patient) or 'expected one of ' + ', '.join(patients)}"
            )
    splits = split_subjects(patients, validation_fraction, seed, hold_out)
    made = {
        "tool": "data_prep mr-pairs",
        "names": list(names),
        "scale": scale,
        "labels": dict(list(REGIONS.items())[: 1 + (scale == "common")]),
        **asdict(settings),
        "hold_out": sorted(set(hold_out)),
        "validation_fraction": validation_fraction,
    }
    dataset = DatasetWriter(
        out_dir,
        name=" and ".join(names),
        description=f"Registered MRI, {' and '.join(names)}, prepared as in Seo et al., WACV 2021; no HU.",
        licence=licence,
        kind="real",
        source_domain=source_name.lower(),
        target_domain=target_name.lower(),
        provenance=made,
        overwrite=overwrite,
    )
    seen: dict[str, str] = {}
    with dataset:
        rows = add_subjects(
            dataset,
            splits,
            lambda patient: _load(patient, scans, seen),
            settings,
            name="mr-pairs",
            names=names,
            regions=True,
            common_scale=scale == "common",
            progress=progress,
        )
        report = [{"subject": patient, "reason": reason} for patient, reason in left_out.items()]
        dataset.report({**made, "subjects": rows, "left_out": report})
        titles = {row["subject"]: f"{row['subject']}, {row['split']}" for row in rows}
        top = COMMON_TOP if scale == "common" else FULL_SCALE
        display = Display(*names, top / 2, top, "", " and ".join(names))
        note = f"training pairs as distorted with k = {distortion:g}"
        write_contact_sheets(dataset.volume_paths(), titles, dataset.sheet, display, note)
    say_who("mr-pairs", "patients", splits, report, out_dir)
    return out_dir


def _check_names(source_name: str, target_name: str) -> tuple[str, str]:
    for name in (source_name, target_name):
        if not name.strip() or modality_of(name) != MR:
            raise InputError(f"name: expected that of an MR sequence, which has no 'CT' in it, but got {name!r}")
    if source_name.lower() == target_name.lower():
        raise InputError(f"names: expected two of them but got {source_name} and {target_name}")
    return source_name, target_name


def _fault(patient: str, scans: Mapping[str, Mapping[str, Path]], names: tuple[str, str], slices: int) -> str | None:
    """Give the reason why a patient cannot be used, by headers alone."""
    for name in names:
        if patient not in scans[name]:
            return f"no {name} scan"
    return grid_fault([canonical_grid(*check_file(scans[name][patient])) for name in names], names, slices)


def _load(patient: str, scans: Mapping[str, Mapping[str, Path]], seen: dict[str, str]) -> AcquiredPair:
    """Read a patient's scans; ``seen`` collects the images, none of which may come twice."""
    volumes = []
    for path in (paths[patient] for paths in scans.values()):
        volume, affine = canonical(*read_file(path))
        check_mri(path, volume)
        image = hashlib.sha256(np.ascontiguousarray(volume).tobytes()).hexdigest()
        if image in seen:
            raise InputError(f"{path}: the same image as {seen[image]}")
        seen[image] = str(path)
        volumes.append((volume, affine))
    (source, affine), (target, _) = volumes
    return AcquiredPair(source, target, affine)


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add this sub-command to argparse's sub-parsers."""
    parser = commands.add_parser(
        "mr-pairs",
        help="two registered MR sequences, such as T1 before and after gadolinium",
        description=f"Prepare pairs of registered MR scans. PATH: NIfTI, MetaImage or NRRD files, with {FIELD} where"
        f" the patient's name stands, such as 'scans/{FIELD}/t1.nii.gz'.",
    )
    parser.add_argument(
        "--source", required=True, metavar="PATH", help="scans of the source, before the contrast medium"
    )
    parser.add_argument("--target", required=True, metavar="PATH", help="scans of the target, after it")
    parser.add_argument("--source_name", default="T1", metavar="NAME", help="of the source's sequence (default: T1)")
    parser.add_argument("--target_name", default="T1CE", metavar="NAME", help="of the target's (default: T1CE)")
    parser.add_argument(
        "--scale",
        choices=SCALES,
        default="common",
        help="common: both in the same units, so that what enhances is brighter (default); own: each in its own",
    )
    parser.add_argument(
        "--hold_out",
        nargs="+",
        action="extend",
        default=[],
        metavar="PATIENT",
        help="those that are for test (default: 20 %%)",
    )
    add_output(parser)
    add_mri(parser, 64, "about the middle of the head")
    add_number(parser, "--validation_fraction", 0.0, "share for validation", metavar="X")
    add_licence(parser, "scans")
    parser.set_defaults(run=prepare_mr_pairs)
