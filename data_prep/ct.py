"""``python -m data_prep ct``: non-contrast and contrast-enhanced CT, paired or not, in the paper's geometry.

Volumes are named one by one, or found as pairs in a folder of studies (:mod:`data_prep.ct_archive`). Patients are
numbered; no name, path or header goes into the data set.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from data_prep.archives import PRESETS
from data_prep.ct_archive import prepare_archive
from data_prep.geometry import canonical, paper_grid, resample
from data_prep.options import add_output, at_least
from data_prep.patient import PairSettings
from data_prep.phases import WANTED
from monai_nce.data.dataset.splits import split_patients
from monai_nce.data.dataset.writer import SPLITS, DatasetWriter
from monai_nce.data.scans.found import FoundVolume
from monai_nce.data.scans.reader import AIR_HU, check_volume, find_volumes, read_ct
from monai_nce.distributed import is_main_process
from monai_nce.errors import InputError

__all__ = ["add_parser", "prepare_ct"]


def prepare_ct(
    nect: Sequence[Path],
    cect: Sequence[Path],
    out_dir: Path,
    *,
    size: int = 256,
    spacing: float = 1.3333,
    paired: bool = False,
    seed: int = 0,
    overwrite: bool = False,
) -> Path:
    """Write a data set from CT volumes: all of it, or nothing.

    Unpaired, every volume is a patient of its own with one role, and each role is split by itself. It is up to the
    user that no person's scans are given as both. Paired, the i-th NECT belongs to the i-th CECT and is brought onto
    its grid by their physical coordinates; nothing is registered.

    Args:
        nect: NIfTI files, DICOM folders, or folders of either.
        cect: likewise.
        out_dir: folder of the data set.
        size: pixels along both in-plane axes.
        spacing: distance of pixels in mm; slices stay as acquired.
        paired: whether the two lists are pairs.
        seed: seed of the split.
        overwrite: replace a data set that is already there.

    Returns:
        ``out_dir``.

    Raises:
        InputError: if a volume cannot be used, the lists of pairs differ in length, a pair does not overlap, or
            ``out_dir`` cannot take a data set.
    """
    sources = [volume for path in nect for volume in find_volumes(path)]
    targets = [volume for path in cect for volume in find_volumes(path)]
    if paired and len(sources) != len(targets):
        raise InputError(f"expected as many NECT as CECT volumes but got {len(sources)} and {len(targets)}")
    jobs: dict[str, dict[str, FoundVolume]]
    if paired:
        pairs = enumerate(zip(sources, targets, strict=True))
        jobs = {f"pair_{i:03d}": {"source": source, "target": target} for i, (source, target) in pairs}
        splits = split_patients(jobs, seed=seed)
    else:
        roles = {"nect": ("source", sources), "cect": ("target", targets)}
        jobs = {
            f"{name}_{i:03d}": {role: path} for name, (role, paths) in roles.items() for i, path in enumerate(paths)
        }
        parts = [split_patients((p for p in jobs if p.startswith(name)), seed=seed) for name in roles]
        splits = {split: [patient for part in parts for patient in part[split]] for split in SPLITS}
    split_of = {patient: split for split, patients in splits.items() for patient in patients}

    dataset = DatasetWriter(
        out_dir,
        name="CT, paired" if paired else "CT, unpaired",
        description="Non-contrast and contrast-enhanced CT in the geometry of Seo et al., WACV 2021.",
        licence="that of the volumes it was made from",
        provenance={"tool": "data_prep ct", "paired": paired, "size": size, "spacing_mm": spacing, "seed": seed},
        overwrite=overwrite,
    )
    with dataset:
        for volume in (*sources, *targets):
            check_volume(volume)
        for patient, paths in tqdm(jobs.items(), desc="ct", unit="patient"):
            volumes, affine = _prepare(paths, size, spacing)
            dataset.add(split_of[patient], patient, affine, **volumes)
    for split in SPLITS:
        if not splits[split]:
            print(f"notice: too few patients for a {split} split; it is empty", file=sys.stderr)
    return out_dir


def _prepare(found: dict[str, FoundVolume], size: int, spacing: float) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """One patient's volumes on one grid: that of the target, where there is one."""
    loaded = {role: canonical(*read_ct(item)) for role, item in found.items()}
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
        description="Bring CT volumes into the paper's geometry: those that you name, or pairs from a folder of studies"
        " or a list. PATH: a NIfTI file, a folder of DICOM files with one series, or a folder of either.",
    )
    named = parser.add_argument_group("volumes that you name")
    named.add_argument("--nect", type=Path, nargs="+", metavar="PATH", help="non-contrast volumes")
    named.add_argument("--cect", type=Path, nargs="+", metavar="PATH", help="contrast-enhanced volumes")
    named.add_argument("--paired", action="store_true", help="the i-th NECT and the i-th CECT are one patient's")
    found = parser.add_argument_group("pairs that are found, one for each patient")
    found.add_argument("--studies", type=Path, metavar="PATH", help="folder of studies, DICOM or NIfTI, at any depth")
    found.add_argument("--preset", choices=sorted(PRESETS), help="the archive that --studies is")
    found.add_argument(
        "--csv", type=Path, metavar="FILE", help="columns patient, nect, cect: paths, or series UIDs below --studies"
    )
    found.add_argument("--phase", choices=(*WANTED, "any"), help="of the CECT, if there are several (default: portal)")
    found.add_argument(
        "--min-overlap", type=float, metavar="X", help="share of the CECT's slices that the NECT covers (default: 0.5)"
    )
    found.add_argument("--min-slices", type=at_least(3), metavar="N", help="that are left of a pair (default: 16)")
    found.add_argument("--workers", type=at_least(1), metavar="N", help="processes, a patient each (default: 1)")
    found.add_argument("--resume", action="store_true", help="go on where a run with the same input was stopped")
    add_output(parser)
    parser.add_argument("--size", type=at_least(32), default=256, metavar="PX", help="in-plane size (default: 256)")
    parser.add_argument("--spacing", type=float, default=1.3333, metavar="MM", help="in plane (default: 1.3333)")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> None:
    if not 0.1 <= options.spacing <= 10:
        raise InputError(f"--spacing: expected 0.1 to 10 mm but got {options.spacing}")
    if options.min_overlap is not None and not 0 < options.min_overlap <= 1:
        raise InputError(f"--min-overlap: expected above 0 to 1 but got {options.min_overlap}")
    if options.nect is None and options.cect is None:
        _run_archive(options)
        return
    _only_with_named(options)
    if not is_main_process():
        return  # volumes that are named are few: the first process does them
    prepare_ct(
        options.nect,
        options.cect,
        options.out_dir,
        size=options.size,
        spacing=options.spacing,
        paired=options.paired,
        seed=options.seed,
        overwrite=options.overwrite,
    )


def _only_with_named(options: argparse.Namespace) -> None:
    """Refuse what does not go with volumes that are named."""
    for name in ("studies", "csv", "preset", "phase", "min_overlap", "min_slices", "workers"):
        if getattr(options, name) is not None:
            raise InputError(f"--{name.replace('_', '-')}: does not go with --nect and --cect")
    if options.resume:
        raise InputError("--resume: does not go with --nect and --cect")
    for name, other in (("nect", "cect"), ("cect", "nect")):
        if getattr(options, name) is None:
            raise InputError(f"--{name}: expected beside --{other}")


def _run_archive(options: argparse.Namespace) -> None:
    if options.paired:
        raise InputError("--paired: goes with --nect and --cect only")
    if options.studies is None and options.csv is None:
        raise InputError("expected --nect and --cect, or --studies, or --csv")
    if options.preset and options.csv:
        raise InputError("--preset: does not go with --csv, which says itself what is what")
    defaults = PairSettings()
    settings = PairSettings(
        size=options.size,
        spacing=options.spacing,
        phase=options.phase or defaults.phase,
        min_overlap=options.min_overlap or defaults.min_overlap,
        min_slices=options.min_slices or defaults.min_slices,
    )
    try:
        prepare_archive(
            options.out_dir,
            studies=options.studies,
            pair_list=options.csv,
            preset=options.preset,
            settings=settings,
            seed=options.seed,
            workers=options.workers or 1,
            overwrite=options.overwrite,
            resume=options.resume,
        )
    except KeyboardInterrupt:
        print("interrupted; the patients that are finished are kept, --resume goes on with them", file=sys.stderr)
        raise SystemExit(130) from None
