"""Move scans, to see whether what a network changes follows the organ or stays where it was.

Each probe changes a scan and brings what rose back to the voxels of the scan as it was. Nothing but the probe differs:
organs, noise and slices stay the same, save that turning interpolates.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from nibabel.affines import voxel_sizes
from scipy import ndimage

from monai_nce.data import AIR_HU

__all__ = ["PROBES", "Brightened", "Cropped", "Mirrored", "Probe", "Shifted", "Turned"]

MOVED_HU, MIRRORED_HU = 15.0, 20.0
Volume = tuple[np.ndarray, np.ndarray]  # HU of shape (H, W, D), axes towards right, anterior and superior; affine in mm


class Probe(ABC):
    """Change a scan, and take a map of the changed scan's grid back."""

    @property
    def tolerance(self) -> float:
        """Return by how many HU an organ's rise may differ from that in the scan as it was."""
        return MOVED_HU

    @abstractmethod
    def apply(self, hu: np.ndarray, affine: np.ndarray) -> Volume:
        """Change a scan; its voxels keep their size."""

    @abstractmethod
    def undo(self, rise: np.ndarray, shape: Sequence[int], affine: np.ndarray) -> np.ndarray:
        """Bring a map back to a grid of this shape, that of the scan before; NaN where the changed scan lacks it."""


@dataclass(frozen=True)
class Mirrored(Probe):
    """Exchange left and right, or other ends of the array's axes; the scan says nothing of it."""

    axes: tuple[int, ...] = (0,)

    @property
    def tolerance(self) -> float:
        return MIRRORED_HU if len(self.axes) % 2 else MOVED_HU  # along two axes it is turned

    def apply(self, hu: np.ndarray, affine: np.ndarray) -> Volume:
        return np.flip(hu, self.axes), affine

    def undo(self, rise: np.ndarray, shape: Sequence[int], affine: np.ndarray) -> np.ndarray:
        return np.flip(rise, self.axes)


@dataclass(frozen=True)
class Turned(Probe):
    """Turn the body about its long axis by so many degrees; cubic, so that the noise stays what it was."""

    degrees: float

    def apply(self, hu: np.ndarray, affine: np.ndarray) -> Volume:
        return self._turned(hu, affine, self.degrees, order=3, fill=AIR_HU), affine

    def undo(self, rise: np.ndarray, shape: Sequence[int], affine: np.ndarray) -> np.ndarray:
        return self._turned(rise, affine, -self.degrees, order=1, fill=np.nan)

    def _turned(self, image: np.ndarray, affine: np.ndarray, degrees: float, order: int, fill: float) -> np.ndarray:
        sizes = voxel_sizes(affine)[:2]
        cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
        matrix = np.diag(1 / sizes) @ [[cosine, sine], [-sine, cosine]] @ np.diag(sizes)
        centre = (np.array(image.shape[:2]) - 1) / 2
        options = {"offset": centre - matrix @ centre, "order": order, "cval": fill}
        planes = [ndimage.affine_transform(plane, matrix, **options) for plane in np.moveaxis(image, 2, 0)]
        return np.maximum(np.stack(planes, axis=2), AIR_HU)


@dataclass(frozen=True)
class Shifted(Probe):
    """Move the body by so many mm from the image's middle, by air at one side; nothing is lost."""

    mm: float
    axis: int = 0

    def apply(self, hu: np.ndarray, affine: np.ndarray) -> Volume:
        widths = [(0, 0)] * 3
        added = self._added(affine)
        widths[self.axis] = (added, 0) if self.mm > 0 else (0, added)
        moved = affine.copy()
        moved[:3, 3] -= affine[:3, self.axis] * widths[self.axis][0]
        return np.pad(hu, widths, constant_values=AIR_HU), moved

    def undo(self, rise: np.ndarray, shape: Sequence[int], affine: np.ndarray) -> np.ndarray:
        start = self._added(affine) if self.mm > 0 else 0
        return rise.take(range(start, start + shape[self.axis]), axis=self.axis)

    def _added(self, affine: np.ndarray) -> int:
        # air of twice the shift moves the middle by the shift
        return round(2 * abs(self.mm) / float(voxel_sizes(affine)[self.axis]))


@dataclass(frozen=True)
class Cropped(Probe):
    """Keep so much of the middle along each axis: a smaller field of view that cuts the body, fewer slices."""

    share: tuple[float, float, float]

    def apply(self, hu: np.ndarray, affine: np.ndarray) -> Volume:
        window = self._window(hu.shape)
        moved = affine.copy()
        moved[:3, 3] += affine[:3, :3] @ [part.start for part in window]
        return hu[window], moved

    def undo(self, rise: np.ndarray, shape: Sequence[int], affine: np.ndarray) -> np.ndarray:
        whole = np.full(tuple(shape), np.nan, dtype=np.float32)
        whole[self._window(shape)] = rise
        return whole

    def _window(self, shape: Sequence[int]) -> tuple[slice, ...]:
        kept = [max(round(n * share), 1) for n, share in zip(shape, self.share, strict=True)]
        return tuple(slice((n - k) // 2, (n - k) // 2 + k) for n, k in zip(shape, kept, strict=True))


@dataclass(frozen=True)
class Brightened(Probe):
    """Add so many HU to every voxel but air, as scanners that are calibrated differently do."""

    hu: float

    def apply(self, hu: np.ndarray, affine: np.ndarray) -> Volume:
        return np.where(hu > AIR_HU, hu + self.hu, hu), affine

    def undo(self, rise: np.ndarray, shape: Sequence[int], affine: np.ndarray) -> np.ndarray:
        return rise


PROBES: dict[str, Probe] = {
    "mirrored": Mirrored(),
    "turned by 15°": Turned(15.0),
    "turned by 180°": Mirrored((0, 1)),
    "upside down": Mirrored((1,)),
    "feet first": Mirrored((2,)),
    "40 mm to the right": Shifted(40.0),
    "40 mm to the left": Shifted(-40.0),
    "40 mm to the front": Shifted(40.0, axis=1),
    "cropped": Cropped((0.8, 0.8, 1.0)),
    "fewer slices": Cropped((1.0, 1.0, 1 / 3)),
    "+10 HU": Brightened(10.0),
    "-10 HU": Brightened(-10.0),
}
