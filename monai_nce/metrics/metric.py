"""Describe a metric: how it is computed, named and printed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

__all__ = ["Metric"]


@dataclass(frozen=True)
class Metric:
    """Describe a metric of slices: how it is computed, named and printed.

    Attributes:
        name: in metrics.json and metrics.csv.
        function: called with predictions and real images ``(D, 1, H, W)`` in [-1, 1]; gives ``(D,)`` or ``(D, 1)``, as
            MONAI's metrics do with ``reduction="none"``.
        title: of the column; the name if empty.
        format: of a value in the tables.
        lower_is_better: as for an error.
        shown: in the tables on the screen and in the preview; the files hold all.
        hu_power: values are multiplied by this power of the window's half width, which takes them from [-1, 1] to HU;
            images in other units do not have such a metric.
        takes: what else the function is called with, by name: ``source``, the image before, as the predictions;
            ``spacing``, three sides of a voxel in mm, along H, W and D.
        ideal: the best value, where neither the lowest nor the highest is.
    """

    name: str
    function: Callable[..., torch.Tensor]
    title: str = ""
    format: str = ".4f"
    lower_is_better: bool = True
    shown: bool = True
    hu_power: int = 0
    takes: tuple[str, ...] = ()
    ideal: float | None = None

    def __str__(self) -> str:
        return self.title or self.name

    def badness(self, value: float) -> float:
        """Return a number that is lower for better values."""
        if self.ideal is not None:
            return abs(value - self.ideal)
        return value if self.lower_is_better else -value
