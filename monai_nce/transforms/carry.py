"""Return from the network's window to HU without losing what the window hides (decision 21)."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform

from monai_nce.errors import InputError

from .body_mask import body_mask

__all__ = ["CarryHU", "CarryHUd"]

MODES = ("carry", "clamp")


class CarryHU:
    """Compute ``input + (prediction - windowed input)``, all in HU (decision 21).

    With ``carry``, bone and air beyond the window survive, and so does detail finer than the network's grid. With
    ``clamp`` the prediction stands as it is, limited to the window. Either way nothing outside the body changes: the
    network has nothing to say there.

    Args:
        mode: "carry" or "clamp".

    Raises:
        InputError: for another mode.
        ValueError: for shapes that differ.
    """

    def __init__(self, mode: str = "carry") -> None:
        if mode not in MODES:
            raise InputError(f"expected mode to be one of {MODES} but got {mode!r}")
        self.mode = mode

    def __call__(self, pred_hu: torch.Tensor, windowed_hu: torch.Tensor, input_hu: torch.Tensor) -> torch.Tensor:
        """
        Args:
            pred_hu: the network's prediction, windowed HU.
            windowed_hu: what the network was given, on the same grid, windowed HU.
            input_hu: the scan as it was read, HU.

        Shape:
            - each argument and the output: ``(1, H, W, D)``
        """
        shapes = [tuple(volume.shape) for volume in (pred_hu, windowed_hu, input_hu)]
        if len(set(shapes)) > 1:
            raise ValueError(f"expected one shape but got {shapes[0]}, {shapes[1]} and {shapes[2]}")
        pred_hu, windowed_hu = _laid_out_like(input_hu, pred_hu), _laid_out_like(input_hu, windowed_hu)
        # the scan may have come with its axes in any order
        affine = getattr(input_hu, "affine", None)
        slice_axis = 2 if affine is None else int(affine[2, :3].abs().div(affine[:3, :3].norm(dim=0)).argmax())
        inside = torch.from_numpy(body_mask(input_hu, slice_axis=slice_axis)).to(input_hu.device)
        if self.mode == "clamp":
            return torch.where(inside, pred_hu, input_hu)  # in the finer of the number types
        change = (pred_hu - windowed_hu).to(torch.promote_types(pred_hu.dtype, input_hu.dtype))
        return change.mul_(inside).add_(input_hu)  # in place: taking new memory would be most of the time


def _laid_out_like(scan: torch.Tensor, image: torch.Tensor) -> torch.Tensor:
    """Bring an image to the scan's device and order of voxels, which is faster."""
    if image.device == scan.device and image.stride() == scan.stride():
        return image
    return torch.empty_like(scan, dtype=image.dtype).copy_(image)


class CarryHUd(MapTransform):
    """Apply :class:`CarryHU` to a dictionary, after ``Invertd`` took prediction and input back to the scan's grid.

    Args:
        keys: predictions in windowed HU.
        windowed_key: the network's input in windowed HU.
        input_key: the scan in HU.
        mode: "carry" or "clamp".
        allow_missing_keys: leave out keys that the data lacks.
    """

    def __init__(
        self,
        keys: KeysCollection,
        windowed_key: str,
        input_key: str,
        mode: str = "carry",
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.carry = CarryHU(mode)
        self.windowed_key = windowed_key
        self.input_key = input_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        for key in self.key_iterator(d):
            d[key] = self.carry(d[key], d[self.windowed_key], d[self.input_key])
        return d
