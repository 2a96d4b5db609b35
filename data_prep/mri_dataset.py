"""Prepare pairs of MR sequences as in the paper's second experiment (section 4.4.1), misalignment included.

In the paper T2 is the source and PD the target. The slices in the middle are kept and resized; stored values run from 0
to 1000. In training the target of each subject is then resampled through a random matrix ``I + k U`` of its own; the
source resampled through the same matrix is the aligned source. Validation and test are left as they are, so there the
source itself is.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from nibabel.affines import apply_affine, voxel_sizes
from torch.nn import functional

from monai_nce.data.dataset.splits import split_patients
from monai_nce.data.dataset.writer import REPORT, SPLITS, DatasetWriter
from monai_nce.errors import InputError
from monai_nce.transforms import AffineDistortion, distortion_matrix
from monai_nce.transforms.mri_intensity import FULL_SCALE, full_scale, scale_intensity

from .geometry import Grid
from .messages import progress_bar, warn_of_empty_splits
from .mri_regions import head_mask, label_regions

__all__ = [
    "COMMON_TOP",
    "TEST_FRACTION",
    "AcquiredPair",
    "MRISettings",
    "add_subjects",
    "central_slices",
    "check_validation_fraction",
    "grid_fault",
    "resize_in_plane",
    "say_who",
    "split_subjects",
]

TEST_FRACTION = 0.2  # decision 24
COMMON_TOP = 2 * FULL_SCALE  # the most that is stored on a common scale, which leaves room for what enhances
SHIFT = 0.25  # of a voxel: how far apart two scans' corners may be on what counts as one grid


@dataclass(frozen=True)
class AcquiredPair:
    """One subject's two scans on one grid, (H, W, D), as acquired, with axial slices along the last axis."""

    source: np.ndarray
    target: np.ndarray
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


def check_validation_fraction(fraction: float) -> None:
    """Raise an InputError unless a share of all subjects can be taken from what the test leaves."""
    if not 0 <= fraction < 1 - TEST_FRACTION:
        raise InputError(f"validation fraction: expected 0 to below 0.8 but got {fraction:g}")


def add_subjects(
    dataset: DatasetWriter,
    splits: Mapping[str, Sequence[str]],
    load: Callable[[str], AcquiredPair],
    settings: MRISettings,
    *,
    name: str,
    names: tuple[str, str] = ("T2", "PD"),
    regions: bool = False,
    common_scale: bool = False,
    progress: bool = True,
) -> list[dict[str, Any]]:
    """Load, prepare and write the subjects, one at a time.

    Args:
        dataset: where they are written.
        splits: subjects of each split.
        load: gives a subject's scans.
        settings: geometry and misalignment.
        name: of the progress bar.
        names: of source and target.
        regions: keep the slices about the middle of the head, and write label maps of :mod:`data_prep.mri_regions`.
        common_scale: store the target in the source's units, which the medians within the head tell, up to
            ``COMMON_TOP``; else each scan is on a scale of its own.
        progress: show a bar.

    Returns:
        A row of the report for each subject; ``full_scale`` is the value stored as 1000, ``distortion_matrix`` is in
        coordinates from -1 to 1 on the prepared grid, None where nothing was distorted, ``regions_cm3`` are the
        volumes of the label maps.

    Raises:
        InputError: if a scan cannot be an MR image.
    """
    split_of = {subject: split for split in SPLITS for subject in splits[split]}
    rows = []
    for subject in progress_bar(sorted(split_of), name, "subject", progress):
        pair = load(subject)
        scans = (pair.source, pair.target)
        tops, middle = [], None
        for contrast, volume in zip(names, scans, strict=True):
            try:
                tops.append(full_scale(volume))
            except InputError as error:
                raise InputError(f"{contrast} of {subject}: {error}") from error
        if regions:
            head = head_mask(*(volume * (FULL_SCALE / top) for volume, top in zip(scans, tops, strict=True)))
            middle = int(np.flatnonzero(head.any(axis=(0, 1))).mean())
            if common_scale:
                tops[1] = tops[0] * _ratio(pair, head, subject, names)
        prepared = []
        for volume, top in zip(scans, tops, strict=True):
            slab = central_slices(volume, pair.affine, settings.slices, middle)
            resized, affine = resize_in_plane(*slab, settings.size)
            prepared.append(scale_intensity(resized, top, COMMON_TOP if common_scale else FULL_SCALE))

        source, target = prepared
        aligned, matrix = source, None
        # at k = 0 resampling would still cost a rounding
        if split_of[subject] == "training" and settings.distortion > 0:
            distort = AffineDistortion(settings.distortion, settings.seed)
            aligned, target = (distort(torch.from_numpy(v)[None], subject)[0].numpy() for v in (source, target))
            matrix = distortion_matrix(settings.distortion, subject, settings.seed).tolist()
        spacing = voxel_sizes(affine)
        labels, cm3 = label_regions(aligned, target, spacing, common_scale) if regions else (None, {})
        images = {"source": source, "target": target, "aligned_source": aligned}
        dataset.add(split_of[subject], subject, affine, **images, labels=labels)
        rows.append(
            {
                "subject": subject,
                "split": split_of[subject],
                "acquired_shape": list(pair.source.shape),
                "acquired_spacing_mm": [round(float(step), 4) for step in voxel_sizes(pair.affine)],
                "full_scale": {contrast.lower(): top for contrast, top in zip(names, tops, strict=True)},
                "distortion_matrix": matrix,
                **({"regions_cm3": cm3} if regions else {}),
            }
        )
    return rows


def _ratio(pair: AcquiredPair, head: np.ndarray, subject: str, names: tuple[str, str]) -> float:
    """Tell how many of the target's units are one of the source's, by what doesn't change: most of the head."""
    source, target = (float(np.median(volume[head])) for volume in (pair.source, pair.target))
    if min(source, target) <= 0:
        raise InputError(f"{' and '.join(names)} of {subject}: expected both to show the head, but half of it is empty")
    return target / source


def split_subjects(
    subjects: Iterable[str], validation_fraction: float, seed: int, hold_out: Sequence[str] = ()
) -> dict[str, list[str]]:
    """Share subjects out: those to be held out, else 20 %, are for test.

    ``validation_fraction`` is a share of all subjects where none is held out, else of the others.

    Raises:
        InputError: if nobody is left for training.
    """
    if not hold_out:
        return split_patients(subjects, validation=validation_fraction, test=TEST_FRACTION, seed=seed)
    rest = set(subjects) - set(hold_out)
    if not rest:
        raise InputError("hold out: expected a patient that is not held out, for training, but there is none")
    return {**split_patients(rest, validation=validation_fraction, test=0, seed=seed), "test": sorted(set(hold_out))}


def grid_fault(grids: Sequence[Grid], names: tuple[str, str], slices: int) -> str | None:
    """Give the reason why two scans cannot be a pair of axial slices, by shape and affine of each; else None.

    A voxel of either lies at most a quarter of a voxel from the other's. What stands before a colon counts reasons.
    """
    one, other = grids
    spacing, depth = voxel_sizes(one.affine), one.shape[2]
    corners = np.array(list(product(*((0, size - 1) for size in one.shape))))
    apart = np.linalg.norm(apply_affine(one.affine, corners) - apply_affine(other.affine, corners), axis=1)
    if one.shape != other.shape or apart.max() > SHIFT * spacing.min():
        shapes = " and ".join("x".join(map(str, grid.shape)) for grid in grids)
        shift = "" if one.shape != other.shape else f", up to {apart.max():.3g} mm apart"
        return f"{' and '.join(names)} on different grids: {shapes} voxels{shift}"
    if spacing[2] < spacing.max() * 0.99:
        return f"slices not axial: spacing {', '.join(f'{step:g}' for step in spacing)} mm"
    return f"too few slices: {depth}" if depth < slices else None


def say_who(
    tool: str, people: str, splits: Mapping[str, Sequence[str]], left_out: Sequence[Mapping[str, Any]], out_dir: Path
) -> None:
    """Print how many there are in each split, and why others were left out; warn of a split that is empty."""
    counts = ", ".join(f"{len(splits[split])} {split}" for split in SPLITS)
    reasons = Counter(row["reason"].split(":")[0] for row in left_out)
    why = "".join(f"; {count} {reason}" for reason, count in sorted(reasons.items()))
    total = sum(map(len, splits.values()))
    print(f"{tool}: {total} {people} ({counts}), {len(left_out)} left out{why}; see {out_dir / REPORT}")
    warn_of_empty_splits(splits, ("training", "test"), people)


def central_slices(
    volume: np.ndarray, affine: np.ndarray, slices: int, middle: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Keep the slices in the middle of the last axis, or about slice ``middle``; the affine follows.

    There are enough: near an end they are the last that there are.
    """
    depth = volume.shape[2]
    first = (depth - slices) // 2 if middle is None else min(max(middle - slices // 2, 0), depth - slices)
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
