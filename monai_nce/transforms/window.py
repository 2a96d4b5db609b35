"""Map the paper's window (§4.3.1), [-100, 200] HU, to [-1, 1] and back."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import torch
from monai.config import KeysCollection
from monai.transforms import InvertibleTransform, MapTransform
from monai.utils import convert_to_tensor

from monai_nce.errors import InputError

__all__ = ["WindowHU", "WindowHUd"]

ABDOMEN_LEVEL_HU = 50.0
ABDOMEN_WIDTH_HU = 300.0


class WindowHU(InvertibleTransform):
    """Map the window linearly to [-1, 1] and clamp what lies beyond (paper §4.3.1; decision 20).

    ``intensity = clamp((hu - level) / (width / 2), -1, 1)``. The inverse, ``hu = intensity * width / 2 + level``, gives
    back what lay inside the window; :class:`CarryHU` restores the rest.

    Args:
        window_level: centre of the window in HU.
        window_width: width of the window in HU, positive.

    Raises:
        InputError: when ``window_width`` is not positive.

    Example:
        >>> WindowHU()(torch.tensor([[-1000.0, -100.0, 50.0, 125.0, 700.0]]))
        tensor([[-1.0000, -1.0000,  0.0000,  0.5000,  1.0000]])
    """

    def __init__(self, window_level: float = ABDOMEN_LEVEL_HU, window_width: float = ABDOMEN_WIDTH_HU) -> None:
        if not window_width > 0:
            raise InputError(f"expected a positive window_width in HU but got {window_width}")
        self.window_level = window_level
        self.window_width = window_width

    def __call__(self, hu: Any) -> torch.Tensor:
        """Map ``hu`` of any shape to float32 in [-1, 1]; a MetaTensor stays one."""
        hu = convert_to_tensor(hu, dtype=torch.float32, track_meta=hasattr(hu, "meta"))
        # in place: taking new memory would be most of the time
        intensity = (hu - self.window_level).div_(self.window_width / 2).clamp_(-1.0, 1.0)
        if hasattr(intensity, "applied_operations"):
            self.push_transform(intensity)
        return intensity

    def inverse(self, intensity: torch.Tensor) -> torch.Tensor:
        """Map ``intensity`` back to HU; values beyond [-1, 1] are continued linearly."""
        if hasattr(intensity, "applied_operations"):
            self.pop_transform(intensity)
        return (intensity * (self.window_width / 2)).add_(self.window_level)


class WindowHUd(MapTransform, InvertibleTransform):
    """Apply :class:`WindowHU` to a dictionary.

    Args:
        keys: images in HU.
        window_level: centre of the window in HU.
        window_width: width of the window in HU.
        allow_missing_keys: leave out keys that the data lacks.
    """

    def __init__(
        self,
        keys: KeysCollection,
        window_level: float = ABDOMEN_LEVEL_HU,
        window_width: float = ABDOMEN_WIDTH_HU,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.window = WindowHU(window_level, window_width)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        for key in self.key_iterator(d):
            d[key] = self.window(d[key])
        return d

    def inverse(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        for key in self.key_iterator(d):
            d[key] = self.window.inverse(d[key])
        return d
