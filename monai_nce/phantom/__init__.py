"""Ellipsoid phantom patients, for demos and tests without any patient's data."""

from __future__ import annotations

from monai_nce.phantom.dataset import ensure_phantom_dataset, write_phantom_dataset
from monai_nce.phantom.patient import LABELS, PhantomPatient, make_phantom_patient

__all__ = ["LABELS", "PhantomPatient", "ensure_phantom_dataset", "make_phantom_patient", "write_phantom_dataset"]
