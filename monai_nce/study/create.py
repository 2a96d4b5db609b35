"""Make a study on disk of folders of results: volumes under names that say nothing, and the plan of who sees what."""

from __future__ import annotations

import re
import secrets
import warnings
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import NamedTuple

import numpy as np

import monai_nce
from monai_nce.data import ReaderWarning, find_images, read_ct, write_nifti_hu
from monai_nce.data.files.atomic import atomic_folder, writing
from monai_nce.data.files.writable import check_writable
from monai_nce.data.scans.affine import mm_apart
from monai_nce.data.scans.earlier_result import made_from, scan_hash
from monai_nce.data.scans.formats import volume_stem
from monai_nce.data.scans.found import FoundVolume
from monai_nce.data.scans.synthetic import allow_synthetic
from monai_nce.errors import InputError
from monai_nce.study.database import DATABASE, StudyImage, create_database
from monai_nce.study.plan import plan_readings

__all__ = ["create_study", "match_results"]

SUFFIX = re.compile(r"_synthetic_\w+$")  # of a result's name, behind that of its scan
METHOD = re.compile(r"[\w][\w .+-]{0,39}")
SAME_PLACE = 0.1  # mm that corners of two grids may be apart
# in all of a study's files alike: they stay no input for a network, and none says which method it is of
DESCRIPTION = "READER STUDY: may be SYNTHETIC. Research use only."


class Found(NamedTuple):
    """Hold a case: its scan, and the images to grade by their methods."""

    scan: FoundVolume
    results: dict[str, FoundVolume]


def match_results(
    cases: str | PathLike[str], methods: Mapping[str, str | PathLike[str]], real: str | None = None
) -> dict[str, Found]:
    """Find the scans, and of each method the result that was made from each.

    A result has its scan's name, or that and ``_synthetic_`` with a word, as inference writes it.

    Args:
        cases: folder of the scans: NIfTI, MetaImage, NRRD or DICOM series.
        methods: folder of the results, by the method's name.
        real: the method that is no method but the real images; a case may lack one.

    Returns:
        The cases, by name, sorted.

    Raises:
        InputError: if a name is taken twice, or a method has no result of a case.
    """
    if not methods:
        raise InputError("expected at least one method, as NAME=FOLDER")
    for name in methods:
        if not METHOD.fullmatch(name):
            raise InputError(f"{name}: expected a method's name of at most 40 letters, digits, spaces and . + -")
    if real is not None and real not in methods:
        raise InputError(f"--real {real}: expected one of the methods, {', '.join(methods)}")
    with allow_synthetic():
        scans = _by_case(Path(cases))
        results = {name: _by_case(Path(folder)) for name, folder in methods.items()}
    found = {}
    for case, scan in scans.items():
        own = {name: volumes[case] for name, volumes in results.items() if case in volumes}
        missing = [name for name in methods if name not in own and name != real]
        if missing:
            given = methods[missing[0]]
            raise InputError(f"{given}: expected a result {case}.nii.gz or {case}_synthetic_cect.nii.gz of each scan")
        found[case] = Found(scan, own)
    for name, volumes in results.items():
        if name == real and not any(name in one.results for one in found.values()):
            raise InputError(f"{methods[name]}: holds no real image of a scan in {cases}")
        if stray := sorted(set(volumes) - set(scans)):
            raise InputError(f"{volumes[stray[0]].path}: is of no scan in {cases}: move it away, or add the scan")
    return dict(sorted(found.items()))


def _by_case(folder: Path) -> dict[str, FoundVolume]:
    if not folder.is_dir():
        raise InputError(f"{folder}: expected a folder")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*no images", ReaderWarning)  # inference writes pictures beside its results
        volumes = find_images(folder)
    files = [volume for volume in volumes if volume.kind != "dicom"]  # a result may lie beside its own DICOM series
    named: dict[str, FoundVolume] = {}
    for volume in files or volumes:
        case = SUFFIX.sub("", volume_stem(volume.path.name))
        if case in named:
            raise InputError(f"{volume.path}: is of the same scan as {named[case].path}, by its name: keep one")
        named[case] = volume
    if not named:
        raise InputError(f"{folder}: holds no volume")
    return named


def create_study(
    folder: str | PathLike[str],
    cases: str | PathLike[str],
    methods: Mapping[str, str | PathLike[str]],
    readers: int = 2,
    seed: int = 0,
    repeats: float = 0.2,
    real: str | None = None,
    ask_real: bool = False,
) -> list[str]:
    """Write a study: blinded copies of all volumes, and a database with the plan.

    Every file is written anew, as int16 HU with one and the same header text, so that a reader's browser cannot learn
    the method from it.

    Args:
        folder: of the study; it must not exist, or be empty.
        cases, methods, real: as in :func:`match_results`.
        readers: how many there are.
        seed: of the orders.
        repeats: share of the images that a reader grades twice, 0 to 0.5.
        ask_real: whether readers say if an image looks real.

    Returns:
        A secret for each reader, which is kept nowhere.

    Raises:
        InputError: as :func:`match_results`; if the folder is in use; if a volume cannot be read, lies on another grid
            than its scan, or was made from another scan.
    """
    folder = Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder}: expected a new or empty folder for the study, which is never replaced")
    check_writable(folder.parent)
    found = match_results(cases, methods, real)
    with writing(folder), atomic_folder(folder) as partial:
        partial.chmod(0o700)  # patients' images, and what readers said
        images = []
        for case, (scan, results) in found.items():
            with allow_synthetic():
                volume, affine = read_ct(scan)
            mark = scan_hash(scan, volume, affine)
            scan_file = _store(partial, volume, affine)
            for method, result in results.items():
                with allow_synthetic():
                    made, place = read_ct(result)
                check_same_grid(result.path, made, place, scan.path, volume, affine)
                if made_from(result.path) not in (None, mark):
                    raise InputError(f"{result.path}: was made from another scan than {scan.path}, as its header says")
                # the scan's affine: the result's own could differ in the last digit
                file = _store(partial, made, affine)
                images.append(StudyImage(case, method, file, scan_file, volume.shape, affine.tolist()))
        about = {
            "version": monai_nce.__version__,
            "cases": list(found),
            "methods": list(methods),
            "real": real,
            "ask_real": ask_real,
            "seed": seed,
            "repeats": repeats,
        }
        orders = [
            plan_readings([image.case for image in images], reader, seed, repeats) for reader in range(1, readers + 1)
        ]
        tokens = create_database(partial / DATABASE, about, images, orders)
    return tokens


def check_same_grid(
    path: Path, made: np.ndarray, place: np.ndarray, scan: Path, volume: np.ndarray, affine: np.ndarray
) -> None:
    """Refuse an image that does not lie voxel for voxel where its scan does: that could tell how it was made.

    Raises:
        InputError: naming both files.
    """
    if made.shape != volume.shape or mm_apart(place, affine, volume.shape) > SAME_PLACE:
        raise InputError(f"{path}: expected the grid of its scan {scan}: resample it first, as the others are")


def _store(folder: Path, volume: np.ndarray, affine: np.ndarray) -> str:
    name = f"{secrets.token_hex(8)}.nii.gz"
    write_nifti_hu(folder / name, volume, affine, DESCRIPTION)
    return name
