"""Data in and out: guarded readers, atomic writers, the data set on disk, the phantom."""

from __future__ import annotations

from monai_nce.data.layout import ROLES, SPLITS, DatasetWriter, read_datalist, read_datalist_file
from monai_nce.data.reader import AIR_HU, CTReader, check_volume, find_volumes, read_ct
from monai_nce.data.splits import split_patients
from monai_nce.data.writers import atomic_path, write_json, write_nifti_hu, write_nifti_labels

__all__ = [
    "AIR_HU",
    "ROLES",
    "SPLITS",
    "CTReader",
    "DatasetWriter",
    "atomic_path",
    "check_volume",
    "find_volumes",
    "read_ct",
    "read_datalist",
    "read_datalist_file",
    "split_patients",
    "write_json",
    "write_nifti_hu",
    "write_nifti_labels",
]
