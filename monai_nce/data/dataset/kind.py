"""Tell phantoms, virtual patients and real ones apart by what is written with their images, never by pixels."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import nibabel as nib

from monai_nce.data.dataset.datalist import read_datalist_file
from monai_nce.data.dataset.writer import DATALIST, KINDS, MARKS, ROLES, SPLITS
from monai_nce.data.nifti.reader import UNREADABLE, is_nifti_name
from monai_nce.errors import InputError

__all__ = ["dataset_kind", "scan_kind"]

# what data sets of version 0.1.0, which name no kind, were made by
MADE_BY = {
    "monai_nce.data.phantom": "phantom",
    "data_prep.ixi_like_brain": "virtual",
    "data_prep ct": "real",
    "data_prep ixi": "real",
}


def dataset_kind(content: Mapping[str, Any]) -> str | None:
    """Return the kind of a data set, one of :data:`~monai_nce.data.dataset.writer.KINDS`, or None if it is not said.

    Args:
        content: of ``datalist.json``; where it names no kind, the provenance tells, if the tool is this project's.
    """
    if "kind" in content:
        return content["kind"] if content["kind"] in KINDS else None
    made = content.get("provenance")
    if not isinstance(made, Mapping):
        return None
    if isinstance(original := made.get("original"), Mapping):  # of a registered data set
        return dataset_kind({"provenance": original})
    return MADE_BY.get(str(made.get("generator") or made.get("tool")))


def scan_kind(path: str | PathLike[str]) -> str | None:
    """Return the kind of a scan, or None if nothing says it, as for DICOM.

    A NIfTI file says it in its header, where this project made it; else the data set that lists it does.
    """
    path = Path(path).resolve()
    if not (is_nifti_name(path) and path.is_file()):
        return None
    try:
        image = nib.load(path)
    except UNREADABLE:
        return None
    description = image.header["descrip"].tobytes().rstrip(b"\0") if isinstance(image, nib.Nifti1Pair) else b""
    marked = next((kind for kind, mark in MARKS.items() if description == mark.encode()), None)
    return marked or _kind_by_list(path, path.parent.parent)


def _kind_by_list(path: Path, folder: Path) -> str | None:
    """Return the kind of the data set in ``folder`` if it lists the file."""
    if not (folder / DATALIST).is_file():
        return None
    try:
        content = read_datalist_file(folder)
    except (InputError, OSError):
        return None
    listed = {str(item.get(role)) for split in SPLITS for item in content[split] for role in ROLES}
    return dataset_kind(content) if path.relative_to(folder).as_posix() in listed else None
