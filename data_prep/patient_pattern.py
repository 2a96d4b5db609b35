"""Find the scans of many patients by one path in which ``{patient}`` stands for the patient's name."""

from __future__ import annotations

import glob
import os
import re
from pathlib import Path

from monai_nce.data.dataset.writer import PATIENT, ROLES
from monai_nce.errors import InputError

__all__ = ["FIELD", "find_scans"]

FIELD = "{patient}"


def find_scans(pattern: str) -> dict[str, Path]:
    """List the files that fit ``pattern``, by patient, sorted.

    Args:
        pattern: such as ``scans/{patient}/t1.nii.gz``, or ``{patient}/{patient}_t1.nii.gz``, where both are one name.

    Raises:
        InputError: if ``pattern`` does not say where the name stands, nothing fits it, a name cannot be a patient's in
            a data set, or two names give the same files there.
    """
    parts = os.path.normpath(pattern).split(FIELD)
    if len(parts) < 2:
        raise InputError(f"{pattern}: expected {FIELD} where the patient's name stands in the path")
    name = re.compile(
        "([^/]+)".join(map(re.escape, parts[:2])) + "".join(rf"\1{re.escape(part)}" for part in parts[2:])
    )
    found = {
        fit.group(1): Path(path)
        for path in sorted(glob.glob("*".join(map(glob.escape, parts))))
        if (fit := name.fullmatch(path)) and Path(path).is_file()
    }
    if not found:
        raise InputError(f"{pattern}: no such file for any patient")
    taken: dict[str, str] = {}
    for patient, path in found.items():
        if not PATIENT.fullmatch(patient):
            raise InputError(
                f"{path}: expected a patient's name of at most 64 letters, digits, '.', '_' and '-' but got {patient!r}"
            )
        for file in (f"{patient}_{role}".lower() for role in ROLES):
            if (other := taken.setdefault(file, patient)) != patient:
                raise InputError(f"{path}: {patient} and {other} give the same file in a data set; rename one")
    return found
