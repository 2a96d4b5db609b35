"""Turn the stored values of a slice into HU, without the bits and the values that are no pixels.

Bits above BitsStored may hold an overlay, and are none of a pixel's (PS3.5, 8.1.1). pydicom clears them for native, RLE
and JPEG syntaxes, not for JPEG 2000 and JPEG-LS, so it is told to leave them, and they are cleared here for all.

PixelPaddingValue stands for "nothing was measured here" (PS3.3, C.7.5.1.1.2). Where it is low it is air anyway. Where
it lies among tissue or metal, a pixel may have the same value by chance, so only connected areas of it are padding.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from monai_nce.data.dicom.lossy import may_be_lossy
from monai_nce.data.scans.file_tree import ReaderWarning
from monai_nce.errors import InputError

if TYPE_CHECKING:
    from pydicom import Dataset

__all__ = ["NoPixels", "check_overlays", "slice_hu"]

AIR_HU = -1024.0
LOW_HU = -1000.0  # padding up to it is air, wherever it lies
CONNECTED = 16  # pixels with one and the same value that noise does not make
WIDEST_HU = 200.0  # a padding range that reaches farther above air would be tissue
OVERSHOOT = 0.05  # of the largest value: what lossy compression adds to it
OVERLAY_GROUPS = range(0x6000, 0x6020, 2)


@dataclass
class NoPixels:
    """Count what was left out of a series, for a warning each."""

    voxels: int = 0
    above: int = 0
    padding: int = 0
    padding_hu: float = AIR_HU  # the highest

    def warn(self, folder: Path) -> None:
        """Warn of bits above BitsStored, and of padding that was not low."""
        if self.above:
            share = f"{100 * self.above / self.voxels:.2g}%"
            text = f"{folder}: bits above BitsStored are set in {share} of the voxels (an overlay?); left out"
            warnings.warn(text, ReaderWarning, stacklevel=2)
        if self.padding:
            share = f"{100 * self.padding / self.voxels:.2g}%"
            text = f"{folder}: {share} of the voxels are padding of {self.padding_hu:g} HU; taken for air"
            warnings.warn(text, ReaderWarning, stacklevel=2)


def check_overlays(path: Path, dataset: Dataset) -> None:
    """Refuse an overlay whose bit BitsStored counts among the pixels'.

    Raises:
        InputError: if there is one.
    """
    for group in OVERLAY_GROUPS:
        size, bit = _number(dataset, (group, 0x0100)), _number(dataset, (group, 0x0102))
        if size is None or bit is None or size == 1 or (group, 0x3000) in dataset:
            continue  # none, or one beside the pixels
        if bit < int(dataset.BitsStored):
            raise InputError(
                f"{path}: expected overlays beside the pixels but bit {bit} is an overlay's and BitsStored is"
                f" {dataset.BitsStored}; export the series without overlays"
            )


def slice_hu(
    path: Path, dataset: Dataset, stored: np.ndarray, slope: float, intercept: float, seen: NoPixels
) -> np.ndarray:
    """Rescale the stored values of a slice, with bits above BitsStored cleared and padding as air.

    Args:
        path: for messages.
        dataset: with the elements of the image pixel module.
        stored: (rows, columns), as decoded, with all of its bits.
        slope: RescaleSlope.
        intercept: RescaleIntercept.
        seen: is added to.

    Returns:
        (rows, columns) in HU, float64.

    Raises:
        InputError: if lossy compression made an overlay and the pixels one.
    """
    seen.voxels += stored.size
    if stored.dtype.kind == "f":
        return np.asarray(stored * np.float64(slope) + intercept)
    bits = int(dataset.BitsStored)
    pixels = _low_bits(stored, bits)
    is_padding = _is_padding(dataset, stored, pixels, slope)
    above = (pixels != stored) & ((stored < 0) | (stored >= 2**bits)) & ~is_padding
    if above.any() and may_be_lossy(dataset.file_meta.TransferSyntaxUID):
        pixels = _without_overshoot(path, stored, above, _limits(dataset))
    else:
        seen.above += int(np.count_nonzero(above))
    # as float64 before the sum: unsigned voxels plus a negative intercept would wrap
    hu = np.asarray(pixels.astype(np.float64) * slope + intercept)
    high = is_padding & (hu > LOW_HU)
    if high.any():
        highest = bool(pixels[high].max() >= pixels.max())  # metal may have it, so within the image it says nothing
        high = _connected(high, at_border=highest)
        seen.padding += int(np.count_nonzero(high))
        seen.padding_hu = float(hu[high].max(initial=seen.padding_hu))
    hu[high | (is_padding & (hu <= LOW_HU))] = AIR_HU
    return hu


def _low_bits(stored: np.ndarray, bits: int) -> np.ndarray:
    """Keep so many bits, the last of which is the sign where the values are signed."""
    spare = 8 * stored.dtype.itemsize - bits
    return (stored << spare) >> spare if spare > 0 else stored


def _limits(dataset: Dataset) -> tuple[int, int]:
    """Return the smallest and the largest value that BitsStored has room for."""
    size = 2 ** int(dataset.BitsStored)
    return (-size // 2, size // 2 - 1) if dataset.get("PixelRepresentation") else (0, size - 1)


def _without_overshoot(path: Path, stored: np.ndarray, above: np.ndarray, limits: tuple[int, int]) -> np.ndarray:
    """Limit what lossy compression put a little beyond the limits; refuse an overlay, which lies far beyond."""
    low, high = limits
    margin = OVERSHOOT * (high - low)
    if np.any(above & ((stored < low - margin) | (stored > high + margin))):
        raise InputError(f"{path}: lossy compression mixed an overlay in the bits above BitsStored with the pixels")
    return np.clip(stored, low, high)


def _is_padding(dataset: Dataset, stored: np.ndarray, pixels: np.ndarray, slope: float) -> np.ndarray:
    """Find the values that PixelPaddingValue, alone or with PixelPaddingRangeLimit, names.

    Both may be written with the other sign than the pixels, or with bits above BitsStored.
    """
    found = np.zeros(stored.shape, dtype=bool)
    padding, limit = (_number(dataset, word) for word in ("PixelPaddingValue", "PixelPaddingRangeLimit"))
    if padding is None:
        return found
    signed = bool(dataset.get("PixelRepresentation"))
    for values, bits in ((stored, int(dataset.BitsAllocated)), (pixels, int(dataset.BitsStored))):
        ends = [_as_stored(value, bits, signed) for value in (padding, padding if limit is None else limit)]
        if abs((ends[1] - ends[0]) * slope) > WIDEST_HU:
            ends[1] = ends[0]
        found |= (values >= min(ends)) & (values <= max(ends))
    return found


def _as_stored(value: int, bits: int, signed: bool) -> int:
    """Read the lowest bits of a number as pixels are read."""
    value %= 2**bits
    return value - 2**bits if signed and value >= 2 ** (bits - 1) else value


def _number(dataset: Dataset, tag: str | tuple[int, int]) -> int | None:
    """Return an element's whole number; None if it is not there or holds anything else."""
    value = dataset[tag].value if tag in dataset else None
    if isinstance(value, bytes):  # of an implicit VR that is not known
        return int.from_bytes(value, "little") if len(value) == 2 else None
    return value if isinstance(value, int) else None


def _connected(mask: np.ndarray, at_border: bool) -> np.ndarray:
    """Keep areas of many pixels, or of them those that reach the image's border."""
    areas, _ = ndimage.label(mask, np.ones((3, 3)))
    large = np.bincount(areas.ravel()) >= CONNECTED
    if at_border:
        border = np.concatenate([areas[0], areas[-1], areas[:, 0], areas[:, -1]])
        large &= np.isin(np.arange(large.size), border)
    large[0] = False
    return np.asarray(large[areas])
