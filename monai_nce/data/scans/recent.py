"""What a run has listed and read already, so that its check and its work do not read the same files twice.

It holds the last listing's paths and at most one volume, and gives nothing out once a file has changed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from os import PathLike
from pathlib import Path

import numpy as np

from monai_nce.data.scans.found import FoundVolume

__all__ = ["keep_listing", "keep_volume", "listed_volume", "take_volume"]

Image = str | PathLike[str] | Sequence[str | PathLike[str]]
Stamp = tuple[tuple[str, int, int], ...]

_listing: dict[tuple[str, ...], tuple[Stamp, FoundVolume]] = {}
_volume: dict[tuple[str, ...], tuple[Stamp, np.ndarray, np.ndarray]] = {}


def keep_listing(found: Iterable[tuple[Image, FoundVolume]]) -> None:
    """Keep what was found, and forget the listing before it and its volume.

    Args:
        found: what names a volume, a path or the files of a series, and the volume.
    """
    _listing.clear()
    _volume.clear()
    _listing.update((_key(image), (_stamp(volume), volume)) for image, volume in found)


def listed_volume(image: Image) -> FoundVolume | None:
    """What the last listing found under this name; None if nothing did, or its files are not the same any more."""
    stamp, volume = _listing.get(_key(image), ((), None))
    return volume if volume is not None and _stamp(volume) == stamp else None


def keep_volume(image: Image, volume: np.ndarray, affine: np.ndarray) -> None:
    """Keep one volume of the last listing, in place of the one before; :func:`take_volume` gives it back once.

    Args:
        image: what names it.
        volume: (H, W, D) in HU.
        affine: 4×4 matrix from voxel indices to RAS millimetres.
    """
    _volume.clear()
    if _key(image) in _listing:
        _volume[_key(image)] = (_listing[_key(image)][0], volume, affine)


def take_volume(image: Image) -> tuple[np.ndarray, np.ndarray] | None:
    """The volume and affine that were kept, which are then forgotten; None if there are none, or files changed."""
    stamp, *kept = _volume.pop(_key(image), ((),))
    return (kept[0], kept[1]) if kept and _stamp(_listing[_key(image)][1]) == stamp else None


def _key(image: Image) -> tuple[str, ...]:
    return (str(Path(image)),) if isinstance(image, (str, PathLike)) else tuple(str(Path(path)) for path in image)


def _stamp(volume: FoundVolume) -> Stamp:
    """Time and size of its files and of the folders that hold them; empty where one is gone."""
    paths = {volume.path, *volume.files, *(file.parent for file in volume.files if volume.kind == "dicom")}
    try:
        states = [(path, path.stat()) for path in sorted(paths)]
    except OSError:
        return ()
    return tuple((str(path), state.st_mtime_ns, state.st_size) for path, state in states)
