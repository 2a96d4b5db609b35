"""Know the scan behind a result, so that the result of another scan is never replaced."""

from __future__ import annotations

import hashlib
import re
from os import PathLike
from pathlib import Path

import nibabel as nib
import numpy as np
from PIL import Image

from monai_nce.data.dicom.files import open_dicom, quiet_pydicom
from monai_nce.data.dicom.writer import series_files
from monai_nce.data.files.sha256 import file_sha256
from monai_nce.data.scans.found import FoundVolume
from monai_nce.errors import InputError

__all__ = [
    "check_not_of_another_scan",
    "earlier_results",
    "half_width_file",
    "made_from",
    "page_file",
    "picture_file",
    "result_text",
    "scan_hash",
    "series_folder",
    "settings_hash",
]

HALF_WIDTH = "_uncertainty"  # end of the name of what holds margins of error
PAGE_HEAD = 4096  # bytes of a page that hold its mark
MARK = re.compile(r"Scan SHA-256: ([0-9a-f]{64})\.")  # as Provenance writes it


def series_folder(output: str | PathLike[str]) -> Path:
    """Return the folder of the derived series that goes with a result's NIfTI file: its name without the suffix."""
    output = Path(output)
    return output.with_name(output.name.removesuffix(".gz").removesuffix(".nii"))


def picture_file(output: str | PathLike[str]) -> Path:
    """Return the picture that goes with a result's NIfTI file."""
    folder = series_folder(output)
    return folder.with_name(f"{folder.name}.png")


def page_file(output: str | PathLike[str]) -> Path:
    """Return the HTML page that goes with a result's NIfTI file."""
    folder = series_folder(output)
    return folder.with_name(f"{folder.name}.html")


def half_width_file(output: str | PathLike[str]) -> Path:
    """Return the NIfTI file of the margins of error that goes with a result's NIfTI file; a series has its name too."""
    folder = series_folder(output)
    return folder.with_name(f"{folder.name}{HALF_WIDTH}.nii.gz")


def scan_hash(found: FoundVolume, volume: np.ndarray, affine: np.ndarray) -> str:
    """Hash what makes a scan another one: its values, where they lie, and in DICOM series, study and patient.

    Args:
        found: what was read.
        volume: (H, W, D), of which whole numbers count.
        affine: 4×4 matrix from voxel indices to RAS millimetres, of which micrometres count.

    Returns:
        64 hexadecimal digits, from which no identifier can be read.
    """
    digest = hashlib.sha256(repr((volume.shape, found.series_uid, found.study_uid, found.patient_id)).encode())
    digest.update((np.rint(np.asarray(affine, np.float64) * 1000) + 0.0).tobytes())  # + 0: of -0 as of 0
    for index in range(volume.shape[2]):
        digest.update(np.rint(volume[:, :, index]).astype("<i2").tobytes())
    return digest.hexdigest()


def settings_hash(checkpoint: str | PathLike[str], *settings: object) -> str:
    """Hash what a scan's result depends on: the file of the weights, and settings that are numbers and texts.

    Raises:
        InputError: if there is no such file.
    """
    if not Path(checkpoint).is_file():
        raise InputError(f"{checkpoint}: no such checkpoint")
    return hashlib.sha256(repr((file_sha256(Path(checkpoint)), settings)).encode()).hexdigest()


def made_from(result: Path) -> str | None:
    """Return the hash of the scan that a NIfTI file, a picture, a page or a derived series says it was made from."""
    mark = MARK.search(result_text(result))
    return mark and mark[1]


def result_text(result: Path) -> str:
    """Return the text in which a NIfTI file, a picture, a page or a series says what it is; nothing if it does not."""
    try:
        if result.is_dir():
            return _contribution(series_files(result)[0])
        elif result.suffix == ".html":
            with result.open("rb") as page:
                return page.read(PAGE_HEAD).decode("utf-8", errors="ignore")
        elif result.suffix == ".png":
            with Image.open(result) as picture:
                return str(picture.info.get("Comment", ""))
        else:
            extensions = nib.Nifti1Image.from_filename(result).header.extensions
            return " ".join(part.text for part in extensions if part.get_code() == 6)  # a comment
    except Exception:  # of many kinds, for a file that is no result or is damaged
        return ""


def earlier_results(output: str | PathLike[str]) -> list[Path]:
    """List what is there of a result, given its NIfTI file: that, its margins of error, picture, page and series."""
    margins = half_width_file(output)
    files = [file for file in (Path(output), margins, picture_file(output), page_file(output)) if file.exists()]
    return [*files, *(folder for folder in map(series_folder, (output, margins)) if series_files(folder))]


def check_not_of_another_scan(output: str | PathLike[str], scan: str) -> None:
    """Refuse a result's name under which there is one of another scan: volume, picture, page or series.

    Args:
        output: the result's NIfTI file, whether or not it is to be written.
        scan: hash of the scan that it is made from, by :func:`scan_hash`.

    Raises:
        InputError: naming what is there, and what to do.
    """
    for there in earlier_results(output):
        known = made_from(there)
        if known != scan:
            what = "is the result of another scan" if known else "does not say which scan it was made from"
            raise InputError(f"{there}: {what}, and is not replaced: name another --output_dir, or move it away")


def _contribution(file: Path) -> str:
    with quiet_pydicom(file):
        header = open_dicom(file, ["ContributingEquipmentSequence"], stop_before_pixels=True)
        items = header.get("ContributingEquipmentSequence") or ()
        return " ".join(str(item.get("ContributionDescription") or "") for item in items)
