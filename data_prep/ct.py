"""``python -m data_prep ct``: bring non-contrast and contrast-enhanced CT into one geometry, paired or not.

Volumes are named one by one, or found as pairs in a folder of studies (:mod:`data_prep.ct_archive`). Patients are
numbered; no name, path or header goes into the data set.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from monai_nce.data.dataset.kind import scan_kind
from monai_nce.data.dataset.splits import split_patients
from monai_nce.data.dataset.writer import KINDS, SPLITS, DatasetWriter
from monai_nce.data.scans.found import FoundVolume
from monai_nce.data.scans.reader import AIR_HU, check_volume, find_volumes, read_ct
from monai_nce.distributed import is_main_process
from monai_nce.errors import InputError

from .archives import PRESETS
from .arguments import add_fractions, add_licence, add_number, add_output, add_work, number, run_resumable, take_workers
from .ct_archive import prepare_archive
from .geometry import SIZE, SPACING_MM, canonical, paper_grid, resample
from .messages import MessageLog, progress_bar, say, warn_of_empty_splits
from .patient import PairSettings
from .persons import pair_up, persons, split_persons
from .phases import WANTED
from .volume_checks import VolumeChecks

__all__ = ["add_parser", "prepare_ct"]


def prepare_ct(
    nect: Sequence[Path],
    cect: Sequence[Path],
    out_dir: Path,
    *,
    size: int = SIZE,
    spacing: float = SPACING_MM,
    paired: bool = False,
    validation_fraction: float = 0.125,
    test_fraction: float = 0.25,
    licence: str = "",
    seed: int = 0,
    overwrite: bool = False,
) -> Path:
    """Write a data set from CT volumes: all of it, or nothing; return ``out_dir``.

    Arguments are the command's options. Unpaired, every volume is a patient of its own with one role, and each role is
    split by itself; volumes of one person, by their headers, and copies of one image come into one split. Paired, NECT
    and CECT belong together as :func:`~data_prep.persons.pair_up` says, and the NECT is brought onto the CECT's grid by
    their physical coordinates; nothing is registered. A volume that seems to be of the other kind is warned of.

    Raises:
        InputError: if a volume cannot be used, the lists of pairs differ in length, a pair is none by headers or names
            or does not overlap, an image is given as NECT and as CECT, the fractions leave nothing for training, or
            ``out_dir`` cannot take a data set.
    """
    sources, targets = ([volume for path in paths for volume in find_volumes(path)] for paths in (nect, cect))
    if paired and len(sources) != len(targets):
        raise InputError(f"expected as many NECT as CECT volumes but got {len(sources)} and {len(targets)}")
    files = [{file.resolve() for volume in side for file in volume.files} for side in (sources, targets)]
    if both := set.intersection(*files):
        raise InputError(f"{min(both)}: given as NECT and as CECT, and can be only one of them")
    log = MessageLog("")
    if paired:
        targets, notes = pair_up(sources, targets)
        log.add(notes)
        pairs = [{"source": source, "target": target} for source, target in zip(sources, targets, strict=True)]
        groups = {"pair": pairs}  # each is split by itself
    else:
        groups = {"nect": [{"source": one} for one in sources], "cect": [{"target": one} for one in targets]}
    jobs = {f"{name}_{i:03d}": volumes for name, group in groups.items() for i, volumes in enumerate(group)}
    shares = {"validation": validation_fraction, "test": test_fraction}
    made = {"tool": "data_prep ct", "paired": paired, "size": size, "spacing_mm": spacing, "seed": seed}
    # a phantom that is prepared like a scan stays one
    kind = min((scan_kind(volume.path) or "real" for volume in (*sources, *targets)), key=KINDS.index)
    dataset = DatasetWriter(
        out_dir,
        name="CT, paired" if paired else "CT, unpaired",
        description="Non-contrast and contrast-enhanced CT in the geometry of Seo et al., WACV 2021.",
        licence=licence or "that of the volumes it was made from",
        kind=kind,
        provenance={**made, "validation_fraction": validation_fraction, "test_fraction": test_fraction},
        overwrite=overwrite,
    )
    checks = VolumeChecks(log)
    with dataset:
        for volume in (*sources, *targets):
            check_volume(volume)
        for patient in progress_bar(jobs, "ct", "patient"):
            volumes, affine = _prepare(patient, jobs[patient], size, spacing, checks)
            dataset.add("training", patient, affine, **volumes)
        same = persons({patient: tuple(found.values()) for patient, found in jobs.items()}, checks.images)
        splits = split_persons(same, **shares, seed=seed, kind_of=lambda patient: patient.split("_")[0])
        dataset.resplit(splits)
    checks.sum_up(same)
    log.close()
    warn_of_empty_splits(splits, [split for split in SPLITS if shares.get(split, 1)])
    return out_dir


def _prepare(
    patient: str, found: dict[str, FoundVolume], size: int, spacing: float, checks: VolumeChecks
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Bring one patient's volumes onto one grid: that of the target, where there is one."""
    loaded = {role: canonical(*read_ct(item)) for role, item in found.items()}
    for role, item in found.items():
        checks.note(patient, role, item, *loaded[role])
    main = "target" if "target" in loaded else "source"
    try:
        grid = paper_grid(*loaded[main], size=size, spacing=spacing)
    except InputError as error:
        raise InputError(f"{found[main].path}: {error}") from error
    volumes = {role: resample(*image, grid) for role, image in loaded.items()}
    for role, volume in volumes.items():
        if volume.max() == AIR_HU:
            raise InputError(f"{found[role].path}: does not overlap with {found[main].path}; are they of one patient?")
    return volumes, grid.affine


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add this sub-command to argparse's sub-parsers."""
    parser = commands.add_parser(
        "ct",
        help="your own NECT and CECT volumes",
        description="Bring CT volumes into one geometry: pairs from a folder of studies or a list, or volumes that you"
        " name. PATH: a NIfTI, MetaImage or NRRD file, a folder of DICOM files with one series, or a folder of either.",
    )
    # an option that is not given leaves no trace, so that one of the other group can be told
    found = parser.add_argument_group("pairs that are found, one for each patient", argument_default=argparse.SUPPRESS)
    found.add_argument(
        "--studies", type=Path, metavar="PATH", help="folder of studies, DICOM or files of scans, at any depth"
    )
    found.add_argument("--preset", choices=sorted(PRESETS), help="the archive that --studies is")
    found.add_argument(
        "--csv", type=Path, metavar="FILE", help="columns patient, nect, cect: paths, or series UIDs below --studies"
    )
    found.add_argument("--phase", choices=(*WANTED, "any"), help="of the CECT, if there are several (default: portal)")
    found.add_argument(
        "--min_overlap",
        type=number("min_overlap"),
        metavar="X",
        help="share of the CECT's slices that the NECT covers (default: 0.5)",
    )
    found.add_argument(
        "--min_slices", type=number("min_slices"), metavar="N", help="that are left of a pair (default: 16)"
    )
    add_work(found)
    named = parser.add_argument_group("volumes that you name", argument_default=argparse.SUPPRESS)
    named.add_argument("--nect", type=Path, nargs="+", metavar="PATH", help="non-contrast volumes")
    named.add_argument("--cect", type=Path, nargs="+", metavar="PATH", help="contrast-enhanced volumes")
    named.add_argument("--paired", action="store_true", help="NECT and CECT are pairs: by header, names, order")
    add_output(parser)
    add_fractions(parser)
    add_licence(parser, "volumes")
    add_number(parser, "--size", SIZE, "in-plane size; the paper's is 256", metavar="PX")
    add_number(parser, "--spacing", SPACING_MM, "of the pixels; the paper's is 1.3333", metavar="MM")
    parser.set_defaults(run=_run)


def _run(**given: Any) -> Path:
    split_patients((), given["validation_fraction"], given["test_fraction"])  # refused now, not after the last patient
    if "nect" not in given and "cect" not in given:
        return _run_archive(**given)
    for name in ("studies", "csv", "preset", "phase", "min_overlap", "min_slices", "num_workers", "cluster", "resume"):
        if name in given:
            raise InputError(f"--{name}: does not go with --nect and --cect")
    for name, other in (("nect", "cect"), ("cect", "nect")):
        if given.setdefault(name, []):
            continue
        if "paired" in given:
            raise InputError(f"--{name}: expected beside --{other} and --paired")
        say(f"notice: no --{name}: a training can take this data set in a mixture, not alone")
    # volumes that are named are few: the first process does them
    return prepare_ct(**given) if is_main_process() else given["out_dir"]


def _run_archive(**given: Any) -> Path:
    if "paired" in given:
        raise InputError("--paired: goes with --nect and --cect only")
    if "studies" not in given and "csv" not in given:
        raise InputError("expected --nect and --cect, or --studies, or --csv")
    if "preset" in given and "csv" in given:
        raise InputError("--preset: does not go with --csv, which says itself what is what")
    settings = {item.name: given.pop(item.name) for item in fields(PairSettings) if item.name in given}
    if "csv" in given:
        given["pair_list"] = given.pop("csv")
    workers, resume = take_workers(given), given.pop("resume", False) == "True"
    run = partial(prepare_archive, settings=PairSettings(**settings), workers=workers, resume=resume, **given)
    return run_resumable(run)
