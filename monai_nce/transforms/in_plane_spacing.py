"""In-plane resampling to the spacing that a network was trained at; slices stay as acquired (decision 19)."""

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

__all__ = ["InPlaneSpacingd"]


class InPlaneSpacingd(MapTransform, InvertibleTransform):
    """Resize each slice to ``spacing`` mm per pixel; the inverse brings the grid back exactly.

    Works on the array's own axes, so a sheared affine (gantry tilt) keeps its shear, and never mixes slices. Area
    averages where it reduces, so that noise and edges do not alias; linear where it enlarges, and on the way back.

    Args:
        keys: MetaTensors ``(C, H, W, D)``, axial slices along D.
        spacing: in-plane spacing in mm, or None to leave the grid alone.
        tolerance: relative difference of spacing below which the grid is left alone.
        allow_missing_keys: leave out keys that the data lacks.

    Raises:
        InputError: when ``spacing`` is not positive.
    """

    def __init__(
        self,
        keys: KeysCollection,
        spacing: float | None,
        tolerance: float = 0.02,
        allow_missing_keys: bool = False,
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
            reduces = any(new < old for new, old in zip(size, image.shape[1:3], strict=True))
            d[key] = self._resized(image, size, "area" if reduces else "bilinear", self._resize.get_transform_info())
        return d

    def inverse(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        for key in self.key_iterator(d):
            original_size = tuple(self._resize.pop_transform(d[key])[TraceKeys.ORIG_SIZE])
            d[key] = self._resized(d[key], original_size[:2], "bilinear", None)
        return d

    def _resized(
        self, image: MetaTensor, size: tuple[int, ...], mode: str, transform_info: dict[str, Any] | None
    ) -> MetaTensor:
        """As MONAI's ``resize`` along three axes does it, but several times as fast: it would go through all of D."""
        before, after = tuple(image.shape[1:]), (*size, image.shape[3])
        meta = self._resize.track_transform_meta(
            image,
            sp_size=after,
            affine=scale_affine(before, after),
            orig_size=before,
            transform_info=transform_info,
        )
        volume = image.as_tensor().to(torch.float32)
        if before != after:
            slices = volume.permute(0, 3, 2, 1)  # in one piece, where the volume lies in memory as in its file
            volume = functional.interpolate(slices, size=size[::-1], mode=mode).permute(0, 3, 2, 1)
        return MetaTensor(volume).copy_meta_from(meta)
