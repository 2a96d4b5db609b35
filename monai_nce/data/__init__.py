"""Data in and out: guarded readers, atomic writers, the data set on disk, the phantom."""

from __future__ import annotations

from monai_nce.data.layout import ROLES, SPLITS, DatasetWriter, read_datalist, read_datalist_file
from monai_nce.data.writers import atomic_path, write_json, write_nifti_hu, write_nifti_labels

__all__ = [
    "ROLES",
    "SPLITS",
    "DatasetWriter",
    "atomic_path",
    "read_datalist",
    "read_datalist_file",
    "write_json",
    "write_nifti_hu",
    "write_nifti_labels",
]
