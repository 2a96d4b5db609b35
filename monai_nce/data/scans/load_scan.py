"""Load a scan as the first transform of an inference."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from os import PathLike
from typing import Any

from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform

from monai_nce.data.scans.earlier_result import scan_hash
from monai_nce.data.scans.found import FoundVolume
from monai_nce.data.scans.reader import CT, one_volume, read_tensor

__all__ = ["LoadImageScand"]


class LoadImageScand(MapTransform):
    """Read volumes ``(H, W, D)`` in the order in which their voxels are stored, for MONAI's ``EnsureChannelFirstd``.

    MONAI's ``LoadImaged`` with :class:`~monai_nce.data.CTReader` gives the same values, but copies them so that
    neighbours along D lie beside each other, which makes the transforms after it several times as slow.

    Args:
        keys: a path each, a list of a series' files, or one of :func:`~monai_nce.data.find_images`; what
            :func:`~monai_nce.data.check_inference_items` has read already is not read again.
        modality: ``"CT"`` for HU, ``"MR"`` for intensities from 0 to 1000.
        source_key: for the path or the files that the volume was read from.
        hash_key: for what a result says of the scan, :func:`~monai_nce.data.scans.earlier_result.scan_hash`.
        allow_missing_keys: leave out keys that the data lacks.

    Raises:
        InputError: when called, as :func:`~monai_nce.data.read_ct` and :func:`~monai_nce.data.read_mri`.
    """

    def __init__(
        self,
        keys: KeysCollection,
        modality: str = CT,
        source_key: str = "source",
        allow_missing_keys: bool = False,
        hash_key: str = "scan_hash",
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.modality = modality
        self.source_key = source_key
        self.hash_key = hash_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        for key in self.key_iterator(d):
            source = d.get(self.source_key, d[key])
            if not isinstance(d[key], MetaTensor):
                d[key] = read_tensor(source, self.modality)
            d[self.hash_key] = scan_hash(one_volume(source), d[key].numpy(), d[key].affine.numpy())
            # as strings, which a batch can hold
            many = source.files if isinstance(source, FoundVolume) else source
            d[self.source_key] = str(many) if isinstance(many, (str, PathLike)) else [str(path) for path in many]
        return d
