"""Resample slices in plane to the spacing that a network was trained at (decision 19)."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.data.utils import affine_to_spacing
from monai.transforms import InvertibleTransform, MapTransform, Resize
from monai.transforms.utils import scale_affine
from monai.utils import convert_to_tensor
from monai.utils.enums import TraceKeys
from torch.nn import functional

from monai_nce.errors import InputError

from .resampling import resample_axis

__all__ = ["InPlaneSpacingd"]


class InPlaneSpacingd(MapTransform, InvertibleTransform):
    """Resize each slice to ``spacing`` mm per pixel; the inverse brings the grid back exactly.

    Works on the array's own axes, so a sheared affine (gantry tilt) keeps its shear, and never mixes slices. By
    :func:`~monai_nce.transforms.resample_axis`, as ``data_prep ct`` makes the training data, so that the network meets
    the same noise and edges; plainly linear on the way back.

    Args:
        keys: MetaTensors ``(C, H, W, D)``, axial slices along D.
        spacing: in-plane spacing in mm, or None to leave the grid alone.
        tolerance: relative difference of spacing below which the grid is left alone.
        allow_missing_keys: leave out keys that the data lacks.

    Raises:
        InputError: when ``spacing`` is not positive.
    """

    def __init__(
        self, keys: KeysCollection, spacing: float | None, tolerance: float = 0.02, allow_missing_keys: bool = False
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        if spacing is not None and not spacing > 0:
            raise InputError(f"expected a positive spacing in mm but got {spacing}")
        self.spacing = spacing
        self.tolerance = tolerance
        self._resize = Resize(spatial_size=-1)  # lends its name to the trace

    def _in_plane_size(self, image: MetaTensor) -> tuple[int, ...]:
        size = tuple(image.shape[1:3])
        if self.spacing is None:
            return size
        ratios = [float(mm) / self.spacing for mm in affine_to_spacing(image.affine)[:2]]
        return tuple(
            n if abs(ratio - 1) <= self.tolerance else max(round(n * ratio), 1)
            for n, ratio in zip(size, ratios, strict=True)
        )

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        for key in self.key_iterator(d):
            image = convert_to_tensor(d[key], track_meta=True)
            size = self._in_plane_size(image)
            d[key] = self._resized(image, size, self._resize.get_transform_info())
        return d

    def inverse(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        for key in self.key_iterator(d):
            original_size = tuple(self._resize.pop_transform(d[key])[TraceKeys.ORIG_SIZE])
            d[key] = self._resized(d[key], original_size[:2], None)
        return d

    def _resized(self, image: MetaTensor, size: tuple[int, ...], transform_info: dict[str, Any] | None) -> MetaTensor:
        """Resize as MONAI's ``Resize``, but not through D; on the way back there is no ``transform_info``."""
        before, after = tuple(image.shape[1:]), (*size, image.shape[3])
        meta = self._resize.track_transform_meta(
            image, sp_size=after, affine=scale_affine(before, after), orig_size=before, transform_info=transform_info
        )
        slices = image.as_tensor().to(torch.float32).permute(0, 3, 2, 1)  # as the volume lies in memory and in its file
        if transform_info is None and before != after:
            slices = functional.interpolate(slices, size=size[::-1], mode="bilinear")
        for axis in (2, 3):
            length, new = slices.shape[axis], size[3 - axis]
            if new != length:
                step = length / new
                slices = resample_axis(slices, axis, new, (step - 1) / 2, step)
        return MetaTensor(slices.permute(0, 3, 2, 1)).copy_meta_from(meta)
