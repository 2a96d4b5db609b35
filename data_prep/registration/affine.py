"""Register by an affine transform with SimpleITK, coarse to fine (Fig. 2a of the paper)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import SimpleITK as sitk

from . import SIMILARITIES, Registration, grid_points

__all__ = ["AffineRegistration", "apply"]

LEVELS_MM = (10.0, 5.0)  # size of the voxels at each level; the Gaussian before has half of it as its sigma
BINS = 32
SAMPLES = 0.5  # share of a level's voxels
STEPS = 60  # at most, at each level
FIRST_STEP_MM = 1.0
LAST_STEP_MM = 0.01


class AffineRegistration(Registration):
    """Find twelve parameters by gradient descent with regular steps, from the grids' common centre."""

    def points(self, fixed: np.ndarray, moving: np.ndarray, spacing: Sequence[float]) -> np.ndarray:
        return apply(*self.matrix(fixed, moving, spacing), grid_points(fixed.shape, spacing))

    def matrix(self, fixed: np.ndarray, moving: np.ndarray, spacing: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
        """Find the 3×3 matrix and the offset of ``moving_point = matrix @ fixed_point + offset``, in mm."""
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)  # sums in another order would change the last digits
        pair = [_image(self.window(np.asarray(volume)).numpy(), spacing) for volume in (fixed, moving)]
        transform = sitk.AffineTransform(3)
        extent = (np.array(fixed.shape) - 1) * np.array(spacing, dtype=float)
        transform.SetCenter((extent / 2).tolist())
        for size in LEVELS_MM:
            method = sitk.ImageRegistrationMethod()
            self._set_metric(method)
            method.SetMetricSamplingStrategy(method.RANDOM)
            method.SetMetricSamplingPercentage(SAMPLES, self.seed + 1)  # 0 would mean the clock
            method.SetInterpolator(sitk.sitkLinear)
            method.SetOptimizerAsRegularStepGradientDescent(
                FIRST_STEP_MM, LAST_STEP_MM, STEPS, gradientMagnitudeTolerance=1e-6
            )
            method.SetOptimizerScalesFromPhysicalShift()
            method.SetInitialTransform(transform, inPlace=True)
            method.Execute(*(_coarser(image, size) for image in pair))
        offset = np.array(transform.TransformPoint([0.0, 0.0, 0.0]))
        return np.array(transform.GetMatrix()).reshape(3, 3), offset

    def _set_metric(self, method: sitk.ImageRegistrationMethod) -> None:
        if self.similarity == "mutual_information":
            method.SetMetricAsMattesMutualInformation(BINS)
        elif self.similarity == "correlation":
            method.SetMetricAsCorrelation()
        else:
            method.SetMetricAsMeanSquares()

    def method_settings(self) -> dict[str, Any]:
        return {
            "tool": f"SimpleITK {sitk.Version.VersionString()}",
            "metric": SIMILARITIES[self.similarity],
            **({"bins": BINS} if self.similarity == "mutual_information" else {}),
            "levels_mm": list(LEVELS_MM),
            "samples": SAMPLES,
            "optimiser": "regular-step gradient descent",
            "steps_per_level": STEPS,
        }


def apply(matrix: np.ndarray, offset: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Compute ``matrix @ point + offset`` for each of the points (3, H, W, D), in float32."""
    turned = np.tensordot(matrix.astype(np.float32), points, axes=1)
    return np.asarray(turned + offset.astype(np.float32).reshape(3, 1, 1, 1))


def _image(volume: np.ndarray, spacing: Sequence[float]) -> sitk.Image:
    # ITK's x is the fastest axis of its arrays, and the first of ours
    image = sitk.GetImageFromArray(np.ascontiguousarray(volume.transpose(2, 1, 0)))
    image.SetSpacing([float(side) for side in spacing])
    return image


def _coarser(image: sitk.Image, size: float) -> sitk.Image:
    """Smooth, and thin out each axis by itself: slices are far apart already."""
    sides = zip(image.GetSpacing(), image.GetSize(), strict=True)
    factors = [max(1, min(round(size / side), n // 4)) for side, n in sides]
    # along few slices the recursive filter cannot start
    for axis, n in enumerate(image.GetSize()):
        if n >= 4:
            image = sitk.RecursiveGaussian(image, sigma=size / 2, direction=axis)
    return sitk.Shrink(image, factors)
