"""Take prediction and half-widths apart again, on the scan's grid."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform

from monai_nce.transforms import body_mask

__all__ = ["LEAST_HU", "SplitHalfWidthd"]

LEAST_HU = 1.0  # no voxel is ever said to be right


class SplitHalfWidthd(MapTransform):
    """Take the second channel off, the half-widths of a :class:`~monai_nce.uncertainty.HalfWidthInferer`.

    Half-widths become whole HU, rounded up, of at least 1. That is what voxels outside the body have: there the image
    is the scan, and nothing is promised.

    Args:
        keys: volumes ``(2, H, W, D)`` in HU on the scan's grid; they become ``(1, H, W, D)``.
        input_key: the scan in HU, ``(1, H, W, D)``.
        half_width_key: for the half-widths, ``(1, H, W, D)``.
    """

    def __init__(self, keys: KeysCollection, input_key: str, half_width_key: str = "half_width") -> None:
        super().__init__(keys)
        self.input_key = input_key
        self.half_width_key = half_width_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        for key in self.key_iterator(d):
            both, scan = d[key], d[self.input_key]
            if both.ndim != 4 or both.shape[0] != 2:
                raise ValueError(f"expected a volume of shape (2, H, W, D) but got {tuple(both.shape)}")
            slice_axis = int(scan.affine[2, :3].abs().div(scan.affine[:3, :3].norm(dim=0)).argmax())
            inside = torch.from_numpy(body_mask(scan, slice_axis=slice_axis)).to(both.device)
            plain = both.as_tensor()
            # resampling and number formats leave what is not quite the whole number that it should be
            width = torch.where(inside, (plain[1:].float() - 1e-3).ceil().clamp(min=LEAST_HU), LEAST_HU)
            d[self.half_width_key] = MetaTensor(width).copy_meta_from(both)
            d[key] = MetaTensor(plain[:1]).copy_meta_from(both)
        return d
