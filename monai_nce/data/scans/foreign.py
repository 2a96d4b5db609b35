"""Tell what a file is that no reader takes, by its content, and what to do with it."""

from __future__ import annotations

import re
import struct
import zlib
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from monai_nce.data.scans.file_tree import files_by_folder

__all__ = ["PACKED_SLICE", "Foreign", "advice", "first_advice", "recognise"]

START = 1024  # bytes that are looked at
MAX_FILES = 2000  # that are looked at in a folder where nothing was found
NOT_DICOM = (".nii", ".mha", ".mhd", ".nrrd", ".nhdr")
PACKED_SLICE = "a DICOM file packed by gzip"
# What is read, under names in these suffixes; DICOM under any but the others'.
READABLE: dict[str, tuple[str, ...]] = {
    "a DICOM file": (),
    "a NIfTI file": (".nii",),
    "an NRRD file": (".nrrd", ".nhdr"),
    "a MetaImage file": (".mha", ".mhd"),
}
OTHER = {
    "a NIfTI image in two files": "save it as one, .nii, for instance with nibabel",
    "an Analyze image, without left and right": "convert the scan from DICOM again",
    "a tar archive": "unpack it",
}
METAIMAGE = re.compile(rb"^\s*(ObjectType|NDims)\s*=", re.MULTILINE)
CONVERT = "convert it to NIfTI with the program that wrote it"
EXPORT = "export the series as DICOM in place of pictures"
# Signatures at the start of a file, what it is, and what to do; those that may hold a scan come with True.
SIGNATURES: tuple[tuple[bytes, str, str, bool], ...] = (
    (b"PK\3\4", "a ZIP archive", "unpack it", False),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", "unpack it", False),
    (b"Rar!", "a RAR archive", "unpack it", False),
    (b"BZh", "compressed by bzip2", "unpack it (bunzip2)", True),
    (b"\xfd7zXZ\0", "compressed by xz", "unpack it (unxz)", True),
    (b"\x28\xb5\x2f\xfd", "compressed by Zstandard", "unpack it (unzstd)", True),
    (b"\x89HDF", "an HDF5 or MINC file", CONVERT, True),
    (b"CDF\1", "a MINC file", CONVERT, True),
    (b"MATLAB 5", "a MATLAB file, which does not say where its voxels lie", CONVERT, False),
    (b"\x93NUMPY", "a NumPy array, which does not say where its voxels lie", CONVERT, False),
    (b"version https://git-lfs", "a pointer to a file that was not downloaded", "run git lfs pull", True),
    (b"\x89PNG", "a picture without HU and place", EXPORT, False),
    (b"\xff\xd8\xff", "a picture without HU and place", EXPORT, False),
    (b"GIF8", "a picture without HU and place", EXPORT, False),
    (b"BM", "a picture without HU and place", EXPORT, False),
    (b"II*\0", "a picture without HU and place", EXPORT, False),
    (b"MM\0*", "a picture without HU and place", EXPORT, False),
    (b"%PDF", "a PDF document", "name a scan", False),
    (b"<!DOCTYPE", "a web page in place of a download", "download it again", False),
    (b"<html", "a web page in place of a download", "download it again", False),
)


@dataclass(frozen=True)
class Foreign:
    """Say what a file is, and what to do with it.

    Attributes:
        what: such as "an Analyze image".
        do: such as "convert it to NIfTI".
        scan: whether it is likely to hold a scan, so that leaving it out is to be told.
    """

    what: str
    do: str
    scan: bool = True

    def __str__(self) -> str:
        return f"{self.what}: {self.do}"


def recognise(path: Path) -> Foreign | None:
    """Tell what a file is that no reader takes; None where nothing is known, or where a reader does by its name."""
    try:
        with open(path, "rb") as file:
            start = file.read(START)
    except OSError:
        return None
    if not start:
        return Foreign("an empty file", "copy or export it again", scan=False)
    packed = start.startswith(b"\x1f\x8b")
    if packed:
        try:
            start = zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(start, START)
        except zlib.error:
            return Foreign("a damaged gzip file", "copy or export it again", scan=False)
    name, form = path.name.lower(), _format(start)
    if form in READABLE:
        if packed and form != "a NIfTI file":
            return Foreign(f"{form} packed by gzip", "unpack it first (gunzip)")
        right = READABLE[form] if not packed else (".nii.gz",)
        fits = name.endswith(right) if right else not name.endswith(NOT_DICOM)
        form += " packed by gzip" if packed else ""
        return None if fits else Foreign(form, f"rename it to a name in {(right or ('.dcm',))[0]}")
    if form:
        return Foreign(form, OTHER[form])
    if name.endswith(".img") and path.with_suffix(".hdr").is_file():
        return recognise(path.with_suffix(".hdr"))
    for magic, what, do, scan in SIGNATURES:
        if start.lstrip()[:32].startswith(magic):
            return Foreign(what, do, scan)
    return Foreign("packed by gzip", "unpack it first (gunzip)", scan=False) if packed else None


def advice(path: Path) -> str:
    """Return ``": it is …: do …"`` for the end of a message, or nothing."""
    found = recognise(path) if path.is_file() else None
    return f": it is {found}" if found else ""


def first_advice(path: Path) -> str:
    """Return :func:`advice` on a file, or on the first below a folder, if possible one that may hold a scan."""
    if path.is_file():
        return advice(path)
    files = islice((file for _, files in files_by_folder(path) for file in files), MAX_FILES)
    found = ((file, foreign) for file in files if (foreign := recognise(file)))
    told = sorted(found, key=lambda one: not one[1].scan)
    return f": {told[0][0].name} is {told[0][1]}" if told else ""


def _format(start: bytes) -> str:
    """Name the format of a scan, among :data:`READABLE` and :data:`OTHER`; nothing if it is none of them."""
    if start[128:132] == b"DICM":
        return "a DICOM file"
    if start.startswith(b"NRRD000"):
        return "an NRRD file"
    if METAIMAGE.search(start):
        return "a MetaImage file"
    if start[257:262] == b"ustar":
        return "a tar archive"
    size = next((n for n in (348, 540) for order in "<>" if start[:4] == struct.pack(f"{order}i", n)), 0)
    if not size or len(start) < size:
        return ""
    magic = start[344:348] if size == 348 else start[4:8]
    if magic in (b"n+1\0", b"n+2\0"):
        return "a NIfTI file"
    return "a NIfTI image in two files" if magic in (b"ni1\0", b"ni2\0") else "an Analyze image, without left and right"
