"""Take the text header of a MetaImage or NRRD file apart, as far as ITK does not tell what it found there."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from monai_nce.data.scans.foreign import advice
from monai_nce.errors import InputError

__all__ = ["ITK_SUFFIXES", "METAIMAGE_SUFFIXES", "ItkHeader", "is_itk_name", "read_header"]

METAIMAGE_SUFFIXES = (".mha", ".mhd")
ITK_SUFFIXES = (*METAIMAGE_SUFFIXES, ".nrrd", ".nhdr")
MAX_HEADER = 2**20  # bytes
NRRD_MAGIC = re.compile(rb"NRRD000\d\r?\n")
BIG = re.compile("true|1|big", re.IGNORECASE)


@dataclass(frozen=True)
class ItkHeader:
    """Hold the fields of a header.

    Attributes:
        fields: by name in lower case, as text.
        data: the file that holds the voxels; in a header's own file or beside it.
        offset: of the voxels' first byte in it.
        compression: ``""``, ``"gzip"`` or ``"zlib"``.
        big_endian: whether the first byte of a number is its highest.
    """

    fields: dict[str, str]
    data: Path
    offset: int
    compression: str
    big_endian: bool


def is_itk_name(path: Path) -> bool:
    """Return whether a file's name says MetaImage or NRRD."""
    return path.name.lower().endswith(ITK_SUFFIXES)


def read_header(path: Path) -> ItkHeader:
    """Read a header, and check where its voxels lie and how they are stored.

    Raises:
        InputError: if it is none, or its voxels are stored in a way that is not supported: as text, in several files,
            or in one elsewhere than beside it.
        OSError: if the file cannot be opened.
    """
    with open(path, "rb") as file:
        start = file.read(MAX_HEADER)
    return _metaimage(path, start) if path.name.lower().endswith(METAIMAGE_SUFFIXES) else _nrrd(path, start)


def _metaimage(path: Path, start: bytes) -> ItkHeader:
    # the field of the data file is the last
    end = re.search(rb"^\s*ElementDataFile\s*[=:][^\n]*\n?", start, re.MULTILINE | re.IGNORECASE)
    if end is None:
        raise InputError(f"{path}: not a readable MetaImage file{advice(path)}")
    fields = _fields(start[: end.end()], re.compile(r"\s*(\w+)\s*[=:]\s*(.*)"))
    if fields.get("binarydata", "true").lower() not in ("true", "1"):
        raise InputError(f"{path}: its voxels are stored as text, which is not supported: save it as binary")
    if fields.get("headersize", "0") != "0":
        raise InputError(f"{path}: skips a header in its data file (HeaderSize), which is not supported")
    name = fields["elementdatafile"]
    compressed = fields.get("compresseddata", "false").lower() in ("true", "1")
    order = fields.get("binarydatabyteordermsb", fields.get("elementbyteordermsb", "false"))
    local = name.upper() == "LOCAL"
    data = path if local else _beside(path, name)
    return ItkHeader(fields, data, end.end() if local else 0, "zlib" if compressed else "", bool(BIG.fullmatch(order)))


def _nrrd(path: Path, start: bytes) -> ItkHeader:
    if not NRRD_MAGIC.match(start):
        raise InputError(f"{path}: not a readable NRRD file{advice(path)}")
    blank = re.search(rb"\r?\n\r?\n", start)
    text = start[: blank.start()] if blank else start
    fields = _fields(text, re.compile(r"([\w ]+?)\s*:=?\s*(.*)"))
    encoding = fields.get("encoding", "").lower()
    if encoding not in ("raw", "gzip", "gz"):
        raise InputError(
            f"{path}: expected voxels in the encoding raw or gzip but got {encoding[:20]}: save it as either"
        )
    if any(fields.get(f"{unit} skip", "0") != "0" for unit in ("byte", "line")):
        raise InputError(f"{path}: skips a header in its data file, which is not supported")
    name = fields.get("data file", fields.get("datafile", ""))
    if not (name or blank):
        raise InputError(f"{path}: not a readable NRRD file")
    data, offset = (_beside(path, name), 0) if name or blank is None else (path, blank.end())
    return ItkHeader(
        fields, data, offset, "" if encoding == "raw" else "gzip", fields.get("endian", "").lower() == "big"
    )


def _fields(text: bytes, pattern: re.Pattern[str]) -> dict[str, str]:
    lines = text.decode("utf-8", "replace").splitlines()
    found = (pattern.fullmatch(line) for line in lines if not line.startswith("#"))
    return {match[1].strip().lower(): match[2].strip() for match in found if match}


def _beside(path: Path, name: str) -> Path:
    """Return the one data file that a header names, if it lies in the header's folder."""
    data = path.parent / name
    if "%" in name or name.upper().startswith("LIST") or name != data.name:
        raise InputError(
            f"{path}: expected its voxels in one file beside it but got {name[:40]!r}: save it as one file"
        )
    if not data.is_file():
        raise InputError(f"{path}: its voxels are missing: no file {data.name} beside it")
    return data
