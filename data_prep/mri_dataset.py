"""Pairs of T2 and PD become a data set with the paper's simulated misalignment (section 4.4.1; decisions 22 to 24).

T2 is the source, PD the target. In training the PD of each subject is resampled through a random matrix ``I + k U`` of
its own, after the resizing; the T2 resampled through the same matrix is the aligned source. Validation and test are
left as they are, so there the T2 itself is the aligned source.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from nibabel.affines import voxel_sizes
from tqdm import tqdm

from data_prep.mri_volume import central_slices, full_scale, resize_in_plane, scale_intensity
from monai_nce.data.dataset.writer import SPLITS, DatasetWriter
from monai_nce.errors import InputError
from monai_nce.transforms import AffineDistortion, distortion_matrix

__all__ = ["AcquiredPair", "MRISettings", "add_subjects"]


@dataclass(frozen=True)
class AcquiredPair:
    """One subject's two scans, as acquired, with axial slices along the last axis.

    Attributes:
        t2: (H, W, D).
        pd: (H, W, D), on the same grid.
        affine: 4×4 matrix from voxel indices to RAS millimetres, of both.
    """

    t2: np.ndarray
    pd: np.ndarray
    affine: np.ndarray


@dataclass(frozen=True)
class MRISettings:
    """What is done to every subject.

    Attributes:
        size: pixels along both in-plane axes.
        slices: slices of each volume, those in the middle.
        distortion: the k of the paper; 0 for none.
        seed: seed of the split and of the distortions.

    Raises:
        InputError: if ``distortion`` is negative or not finite.
    """

    size: int = 128
    slices: int = 64
    distortion: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        if not (self.distortion >= 0 and math.isfinite(self.distortion)):
            raise InputError(f"distortion: expected 0 or more but got {self.distortion:g}")

    def as_json(self) -> dict[str, Any]:
        """For the data set's provenance."""
        return {"size": self.size, "slices": self.slices, "distortion": self.distortion, "seed": self.seed}


def add_subjects(
    dataset: DatasetWriter,
    splits: Mapping[str, Sequence[str]],
    load: Callable[[str], AcquiredPair],
    settings: MRISettings,
    *,
    name: str,
    progress: bool = True,
) -> list[dict[str, Any]]:
    """Load, prepare and write the subjects, one at a time.

    Args:
        dataset: where they go.
        splits: the subjects' ids under ``training``, ``validation`` and ``test``.
        load: gives a subject's scans.
        settings: what is done to them.
        name: of the progress bar.
        progress: show it.

    Returns:
        For the report, one dictionary per subject: ``subject``, ``split``, ``acquired_shape``,
        ``acquired_spacing_mm``, ``full_scale`` (the value stored as 1000, of each scan) and ``distortion_matrix``
        (on the prepared grid, in coordinates from -1 to 1; None where nothing was distorted).

    Raises:
        InputError: if a scan cannot be an MR image.
    """
    split_of = {subject: split for split in SPLITS for subject in splits[split]}
    rows = []
    for subject in tqdm(sorted(split_of), desc=name, unit="subject", disable=not progress):
        pair = load(subject)
        prepared, tops = {}, {}
        for contrast, volume in (("t2", pair.t2), ("pd", pair.pd)):
            try:
                tops[contrast] = full_scale(volume)
            except InputError as error:
                raise InputError(f"{contrast.upper()} of {subject}: {error}") from error
            resized, affine = resize_in_plane(*central_slices(volume, pair.affine, settings.slices), settings.size)
            prepared[contrast] = scale_intensity(resized, tops[contrast])

        source, target = prepared["t2"], prepared["pd"]
        aligned, matrix = source, None
        # at k = 0 resampling would still cost a rounding
        if split_of[subject] == "training" and settings.distortion > 0:
            distort = AffineDistortion(settings.distortion, settings.seed)
            aligned, target = (distort(torch.from_numpy(v)[None], subject)[0].numpy() for v in (source, target))
            matrix = distortion_matrix(settings.distortion, subject, settings.seed).tolist()
        dataset.add(split_of[subject], subject, affine, source=source, target=target, aligned_source=aligned)
        rows.append(
            {
                "subject": subject,
                "split": split_of[subject],
                "acquired_shape": list(pair.t2.shape),
                "acquired_spacing_mm": [round(float(step), 4) for step in voxel_sizes(pair.affine)],
                "full_scale": tops,
                "distortion_matrix": matrix,
            }
        )
    return rows
