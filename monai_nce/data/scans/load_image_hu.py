"""The first transform of an inference: a scan to a volume in HU, in the order in which its voxels were stored."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform

from monai_nce.data.scans.reader import CTReader

__all__ = ["LoadImageHUd"]


class LoadImageHUd(MapTransform):
    """Read CT volumes ``(H, W, D)`` in HU by :class:`CTReader`, for MONAI's ``EnsureChannelFirstd``.

    MONAI's ``LoadImaged`` with that reader gives the same values, but copies them so that neighbours along D lie beside
    each other. Files have it the other way round, and so does what slices are cut from; on a large scan that copy, and
    the transforms after it, take several times as long.

    Args:
        keys: a path each, or the list of a series' files.
        allow_missing_keys: leave out keys that the data lacks.

    Raises:
        InputError: when called, as :func:`monai_nce.data.read_ct`.
    """

    def __init__(self, keys: KeysCollection, allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)
        self._reader = CTReader()

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        for key in self.key_iterator(d):
            volume, meta = self._reader.get_data(self._reader.read(d[key]))
            # nothing of the file but its geometry
            d[key] = MetaTensor.ensure_torch_and_prune_meta(torch.from_numpy(volume), meta)
        return d
