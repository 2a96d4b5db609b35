"""Simulate the misalignment of the paper's IXI experiment (§4.4.1; decision 22)."""

from __future__ import annotations

import hashlib

import numpy as np
import torch
from monai.data import MetaTensor
from monai.utils import convert_to_tensor
from torch.nn import functional

__all__ = ["AffineDistortion", "distortion_matrix"]


def distortion_matrix(distortion: float, subject: str, seed: int = 0) -> np.ndarray:
    """Draw ``I + k U`` of §4.4.1, the same whenever it is asked for.

    U's elements are uniform in [-1, 1]; the last row is left alone, since a disturbed one is projective.

    Args:
        distortion: the k of the paper, at least 0.
        subject: name; the matrix depends on it and ``seed`` alone.
        seed: seed of the data set.

    Returns:
        ``(4, 4)`` float64 matrix on the centred grid in normalised coordinates.
    """
    if not distortion >= 0:
        raise ValueError(f"expected a distortion of at least 0 but got {distortion}")
    name = int.from_bytes(hashlib.sha256(subject.encode()).digest()[:8], "little")
    u = np.random.default_rng([seed, name]).uniform(-1.0, 1.0, size=(4, 4))
    matrix = np.eye(4) + distortion * u
    matrix[3] = (0.0, 0.0, 0.0, 1.0)
    return matrix


class AffineDistortion:
    """Resample a volume through ``I + k U``, one matrix per subject (paper §4.4.1; decision 22).

    The matrix takes a point of the output to the point of the input whose value it gets, in coordinates that run from
    -1 at the outer face of the first voxel to 1 at the outer face of the last, along the array's own axes in order.
    Linear interpolation.

    Args:
        distortion: the k of the paper.
        seed: seed of the data set.
        fill: value beyond the volume.

    Raises:
        ValueError: for a negative ``distortion`` or a volume that is not ``(C, H, W, D)``.
    """

    def __init__(self, distortion: float, seed: int = 0, fill: float = 0.0) -> None:
        distortion_matrix(distortion, "", seed)  # refuses a negative distortion here and not at the first volume
        self.distortion = distortion
        self.seed = seed
        self.fill = fill

    def __call__(self, volume: torch.Tensor, subject: str) -> torch.Tensor:
        """
        Shape:
            - volume and output: ``(C, H, W, D)``
        """
        matrix = distortion_matrix(self.distortion, subject, self.seed)
        volume = convert_to_tensor(volume, dtype=torch.float32, track_meta=isinstance(volume, MetaTensor))
        if volume.ndim != 4:
            raise ValueError(f"expected a volume of shape (C, H, W, D) but got {tuple(volume.shape)}")
        # affine_grid counts its axes from the last to the first
        reverse = np.array([2, 1, 0, 3])
        theta = torch.as_tensor(matrix[reverse][:, reverse][:3], dtype=torch.float32, device=volume.device)
        plain = torch.as_tensor(volume).as_subclass(torch.Tensor)[None] - self.fill
        grid = functional.affine_grid(theta[None], list(plain.shape), align_corners=False)
        moved = functional.grid_sample(plain, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
        moved = moved[0] + self.fill
        return MetaTensor(moved).copy_meta_from(volume) if isinstance(volume, MetaTensor) else moved
