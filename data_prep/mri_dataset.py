"""Prepare pairs of T2 and PD as in the paper's second experiment (section 4.4.1), misalignment included.

T2 is the source, PD the target. The slices in the middle are kept and resized; stored values run from 0 to 1000. In
training the PD of each subject is then resampled through a random matrix ``I + k U`` of its own; the T2 resampled
through the same matrix is the aligned source. Validation and test are left as they are, so there the T2 itself is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from nibabel.affines import voxel_sizes
from torch.nn import functional

from data_prep.messages import progress_bar
from monai_nce.data.dataset.writer import SPLITS, DatasetWriter
from monai_nce.errors import InputError
from monai_nce.transforms import AffineDistortion, distortion_matrix
from monai_nce.transforms.mri_intensity import full_scale, scale_intensity

__all__ = ["AcquiredPair", "MRISettings", "add_subjects", "central_slices", "resize_in_plane"]


@dataclass(frozen=True)
class AcquiredPair:
    """One subject's two scans on one grid, (H, W, D), as acquired, with axial slices along the last axis."""

    t2: np.ndarray
    pd: np.ndarray
    affine: np.ndarray


@dataclass(frozen=True)
class MRISettings:
    """Geometry and misalignment, for all subjects.

    Raises:
        InputError: if ``distortion`` is negative or not finite.
    """

    size: int = 128  # pixels along both in-plane axes
    slices: int = 64  # of each volume, those in the middle
    distortion: float = 0.0  # the k of the paper; 0 for none
    seed: int = 0  # of the split and of the distortions

    def __post_init__(self) -> None:
        if not (self.distortion >= 0 and math.isfinite(self.distortion)):
            raise InputError(f"distortion: expected 0 or more but got {self.distortion:g}")


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

    Returns:
        A row of the report for each subject; ``full_scale`` is the value stored as 1000, ``distortion_matrix`` is in
        coordinates from -1 to 1 on the prepared grid, None where nothing was distorted.

    Raises:
        InputError: if a scan cannot be an MR image.
    """
    split_of = {subject: split for split in SPLITS for subject in splits[split]}
    rows = []
    for subject in progress_bar(sorted(split_of), name, "subject", progress):
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


def central_slices(volume: np.ndarray, affine: np.ndarray, slices: int) -> tuple[np.ndarray, np.ndarray]:
    """Keep the slices in the middle of the last axis, of which there are enough; the affine follows."""
    first = (volume.shape[2] - slices) // 2
    moved = affine.copy()
    moved[:3, 3] += first * affine[:3, 2]
    return volume[:, :, first : first + slices], moved


def resize_in_plane(volume: np.ndarray, affine: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Resize each slice to ``size`` × ``size`` pixels, bilinearly, with antialiasing where pixels become larger.

    A field of view that is not square is padded with zeros on both sides, so that pixels stay square. The field keeps
    its outer faces, so the centre of the first pixel moves, and the affine with it.
    """
    spacing = voxel_sizes(affine)[:2]
    padding = np.rint((volume.shape[:2] * spacing).max() / spacing).astype(int) - volume.shape[:2]
    before, after = padding // 2, padding - padding // 2
    padded = np.pad(volume.astype(np.float32), [*zip(before, after, strict=True), (0, 0)])
    as_channels = torch.from_numpy(np.ascontiguousarray(padded.transpose(2, 0, 1)))[None]
    resized = functional.interpolate(as_channels, size=(size, size), mode="bilinear", antialias=True)

    step = np.array(padded.shape[:2]) / size  # in voxels of the volume
    to_voxels = np.diag([*step, 1.0, 1.0])
    to_voxels[:2, 3] = (step - 1) / 2 - before
    return resized[0].numpy().transpose(1, 2, 0), affine @ to_voxels
