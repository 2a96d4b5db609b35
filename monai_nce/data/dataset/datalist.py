"""Read a data set on disk, checked against its files; :mod:`monai_nce.data.dataset.writer` says what it holds."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.spatialimages import HeaderDataError
from nibabel.wrapstruct import WrapStructError

from monai_nce.contrast import check_contrast
from monai_nce.data.dataset.writer import CONTRAST, DATALIST, INTEGER_ROLES, PATIENT, ROLES, SPLITS
from monai_nce.errors import InputError

__all__ = ["read_datalist", "read_datalist_file"]

HEADER_BYTES = 348


def read_datalist_file(dataset_dir: str | PathLike[str]) -> dict[str, Any]:
    """Read ``datalist.json`` itself, with its description and provenance, or raise an InputError."""
    folder = Path(dataset_dir)
    path = folder / DATALIST
    if not folder.is_dir():
        raise InputError(f"{folder}: no such data set folder")
    if not path.is_file():
        raise InputError(f"{folder}: holds no {DATALIST}; make a data set with nce prepare")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise InputError(f"{path}: not JSON: {error}") from error
    if not isinstance(content, dict):
        raise InputError(f"{path}: expected an object with the lists {', '.join(SPLITS)}")
    for split in SPLITS:
        items = content.get(split)
        if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
            raise InputError(f"{path}: expected '{split}' to be a list of objects")
    return content


def read_datalist(
    dataset_dir: str | PathLike[str], split: str | None = None, require: Sequence[str] = ()
) -> list[dict[str, Any]]:
    """List the items of a data set, checked against the files (by their headers, so quickly).

    Args:
        dataset_dir: folder of the data set.
        split: ``training``, ``validation`` or ``test``; all three if None.
        require: roles that every item returned must have, of ``ROLES``.

    Returns:
        One dictionary per item: ``patient``, ``split``, for each role that it has the absolute path, and ``phase`` and
        ``level`` of the target's contrast where they are known.

    Raises:
        InputError: if a file, role or patient is missing, a patient comes twice, a file is in two splits, a path leads
            outside the folder, an item's volumes differ in shape or position, images are not plain int16 HU in
            ``.nii``, or there is no such phase or level.
    """
    if split is not None and split not in SPLITS:
        raise InputError(f"split: expected one of {', '.join(SPLITS)} but got {split!r}")
    root = Path(dataset_dir).resolve()
    content = read_datalist_file(dataset_dir)
    seen: set[str] = set()
    split_of: dict[str, str] = {}  # of each file
    items: list[dict[str, Any]] = []
    for name in SPLITS:
        for entry in content[name]:
            patient = entry.get("patient")
            if not isinstance(patient, str) or not PATIENT.fullmatch(patient):
                raise InputError(f"{root / DATALIST}: an item of '{name}' has no usable patient id")
            if patient in seen:
                raise InputError(f"{root / DATALIST}: patient {patient} is listed twice")
            seen.add(patient)
            for file in {str((root / str(entry[role])).resolve()) for role in ROLES if role in entry}:
                if split_of.setdefault(file, name) != name:
                    raise InputError(f"{file}: is listed for {split_of[file]} and for {name}")
            if split in (None, name):
                paths = _volume_paths(root, patient, entry, require)
                items.append({"patient": patient, "split": name, **paths, **_contrast(root, patient, entry)})
    if split is not None and not items:
        raise InputError(f"{root / DATALIST}: the split '{split}' is empty")
    return items


def _volume_paths(root: Path, patient: str, entry: Mapping[str, Any], require: Sequence[str]) -> dict[str, str]:
    roles = [role for role in ROLES if role in entry]
    for role in require:
        if role not in roles:
            raise InputError(f"{root / DATALIST}: patient {patient} has no {role}")
    if not {"source", "target"} & set(roles):
        raise InputError(f"{root / DATALIST}: patient {patient} has neither source nor target")
    paths: dict[str, str] = {}
    grid: tuple[tuple[int, ...], np.ndarray] | None = None
    for role in roles:
        relative = entry[role]
        if not isinstance(relative, str):
            raise InputError(f"{root / DATALIST}: patient {patient}: expected a path as {role}")
        path = (root / relative).resolve()
        if Path(relative).is_absolute() or not path.is_relative_to(root):
            raise InputError(f"{root / DATALIST}: patient {patient}: {role} lies outside the data set's folder")
        shape, affine = _read_grid(path, np.dtype(np.uint8 if role in INTEGER_ROLES else np.int16))
        if grid is None:
            grid = shape, affine
        elif shape != grid[0]:
            raise InputError(f"{path}: its shape {shape} differs from {grid[0]} of the patient's {roles[0]}")
        elif not np.allclose(affine, grid[1], atol=1e-3):
            raise InputError(f"{path}: its affine differs from that of the patient's {roles[0]}")
        paths[role] = str(path)
    return paths


def _contrast(root: Path, patient: str, entry: Mapping[str, Any]) -> dict[str, Any]:
    known = {key: entry[key] for key in CONTRAST if entry.get(key) is not None}
    try:
        check_contrast(**known)
    except InputError as error:
        raise InputError(f"{root / DATALIST}: patient {patient}: {error}") from error
    return known


def _read_grid(path: Path, dtype: np.dtype) -> tuple[tuple[int, ...], np.ndarray]:
    """Read shape and affine from the header alone; refuse what training could not read stack by stack."""
    if path.suffix != ".nii":
        raise InputError(f"{path}: expected an uncompressed .nii file")
    if not path.is_file():
        raise InputError(f"{path}: listed in {DATALIST} but missing")
    try:
        with open(path, "rb") as file:
            header = nib.Nifti1Header(file.read(HEADER_BYTES))
        shape, affine, slope = header.get_data_shape(), header.get_best_affine(), header.get_slope_inter()
    except (HeaderDataError, WrapStructError) as error:
        raise InputError(f"{path}: not a NIfTI file: {error}") from error
    if len(shape) != 3:
        raise InputError(f"{path}: expected three dimensions but got shape {shape}")
    stored = header.get_data_dtype()
    if stored != dtype or slope not in ((None, None), (1.0, 0.0)):
        raise InputError(f"{path}: expected unscaled {dtype} but got {stored} with slope and offset {slope}")
    if path.stat().st_size < header.get_data_offset() + dtype.itemsize * np.prod(shape):
        raise InputError(f"{path}: truncated: shorter than its header says")
    return tuple(shape), affine
