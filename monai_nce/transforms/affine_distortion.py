"""The simulated misalignment of the paper's IXI experiment (§4.4.1; decision 22)."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import InvertibleTransform, MapTransform
from monai.utils import convert_to_tensor
from monai.utils.enums import TraceKeys
from torch.nn import functional

__all__ = ["AffineDistortion", "AffineDistortiond", "distortion_matrix"]


def distortion_matrix(distortion: float, subject: str, seed: int = 0) -> np.ndarray:
    """``I + k U`` of §4.4.1, the same whenever it is asked for (decision 22).

    U's elements are uniform in [-1, 1]; the last row is left alone, since a disturbed one is projective.

    Args:
        distortion: the k of the paper, at least 0.
        subject: whose matrix; drawn from ``seed`` and this name alone, whatever else the data set holds.
        seed: of the data set.

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


class AffineDistortion(InvertibleTransform):
    """Resample a volume through ``I + k U``, one matrix per subject (paper §4.4.1; decision 22).

    The matrix takes a point of the output to the point of the input whose value it gets, in coordinates that run from
    -1 at the outer face of the first voxel to 1 at the outer face of the last, along the array's own axes in order.
    Linear interpolation; what comes from beyond the volume is ``fill``. The inverse resamples through the inverse
    matrix: the geometry comes back, interpolation's smoothing stays.

    Args:
        distortion: the k of the paper.
        seed: of the data set.
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
        moved = self._resample(volume, matrix)
        if isinstance(moved, MetaTensor):
            self.push_transform(moved, extra_info={"matrix": matrix.tolist()})
        return moved

    def inverse(self, volume: torch.Tensor, subject: str | None = None) -> torch.Tensor:
        """
        Args:
            volume: ``(C, H, W, D)``; a MetaTensor that was distorted here carries its matrix with it.
            subject: whose volume it is, where it carries none.
        """
        if isinstance(volume, MetaTensor) and volume.applied_operations:
            matrix = np.array(self.pop_transform(volume)[TraceKeys.EXTRA_INFO]["matrix"])
        elif subject is not None:
            matrix = distortion_matrix(self.distortion, subject, self.seed)
        else:
            raise ValueError("expected a MetaTensor that carries its matrix, or the subject's name, but got neither")
        return self._resample(volume, np.linalg.inv(matrix))

    def _resample(self, volume: torch.Tensor, matrix: np.ndarray) -> torch.Tensor:
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
        if isinstance(volume, MetaTensor):
            return MetaTensor(moved).copy_meta_from(volume)
        return moved


class AffineDistortiond(MapTransform, InvertibleTransform):
    """Dictionary version of :class:`AffineDistortion`.

    Args:
        keys: volumes to distort; in training the target, in the test nothing.
        distortion: the k of the paper.
        subject_key: where the subject's name stands.
        seed: of the data set.
        fill: value beyond the volume.
        allow_missing_keys: leave out keys that the data lacks.
    """

    def __init__(
        self,
        keys: KeysCollection,
        distortion: float,
        subject_key: str = "subject",
        seed: int = 0,
        fill: float = 0.0,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.affine_distortion = AffineDistortion(distortion, seed, fill)
        self.subject_key = subject_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        for key in self.key_iterator(d):
            d[key] = self.affine_distortion(d[key], str(d[self.subject_key]))
        return d

    def inverse(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        for key in self.key_iterator(d):
            subject = d.get(self.subject_key)
            d[key] = self.affine_distortion.inverse(d[key], None if subject is None else str(subject))
        return d
