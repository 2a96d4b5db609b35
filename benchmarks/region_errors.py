"""Measure weights on pairs of a contrast medium, over the head and where it enhances."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import torch

from benchmarks.weights import Weights
from data_prep.mri_regions import REGIONS
from monai_nce.data import read_datalist

__all__ = ["measure_regions"]

Errors = dict[str, float | None]


def measure_regions(dataset_dir: Path, weights: Weights) -> dict[str, dict[str, Errors]]:
    """Measure the test patients of a data set of ``data_prep mr-pairs``.

    Returns:
        For each patient, for ``identity`` (the source as it is) and ``synthetic``: ``head`` and ``enhancing``, the MSE
        on [-1, 1] over all of the head and over what enhances; and ``rise``, the mean rise over what enhances as a part
        of the real one, 0 for the source and 1 for the target. None where nothing enhances.
    """
    found = {}
    for item in read_datalist(dataset_dir, "test", ("target", "aligned_source", "labels")):
        labels, source, target = (
            np.asarray(nib.Nifti1Image.from_filename(item[role]).dataobj)
            for role in ("labels", "aligned_source", "target")
        )
        made = weights.enhance(source.astype(np.float32))
        before, after, synthetic = (
            weights.window(torch.from_numpy(volume.astype(np.float32))).numpy().astype(np.float64)
            for volume in (source, target, made)
        )
        enhancing = labels == REGIONS["enhancing"]
        found[item["patient"]] = {
            name: _errors(image, before, after, labels > 0, enhancing)
            for name, image in (("identity", before), ("synthetic", synthetic))
        }
    return found


def _errors(
    image: np.ndarray, before: np.ndarray, after: np.ndarray, head: np.ndarray, enhancing: np.ndarray
) -> Errors:
    errors: Errors = {"head": float(np.square(image - after)[head].mean()), "enhancing": None, "rise": None}
    if enhancing.any():
        errors["enhancing"] = float(np.square(image - after)[enhancing].mean())
        errors["rise"] = float((image - before)[enhancing].mean() / (after - before)[enhancing].mean())
    return errors
