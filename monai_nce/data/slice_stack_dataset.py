"""Random access to every slice stack of a data set, straight from the memory-mapped files."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import nibabel as nib
import numpy as np
import torch
from torch.utils.data import Dataset

from monai_nce.errors import InputError
from monai_nce.transforms import stack_positions

__all__ = ["SliceStackDataset"]


class SliceStackDataset(Dataset):
    """Every slice stack of every patient, edges replicated (paper §3.3; decisions 17 and 18).

    Reads the few kilobytes of a stack from the uncompressed file each time and leaves caching to the operating system,
    so that a data set larger than memory works and workers share one copy.

    The first key leads: there is one item per slice of its volumes. Another key gives the stack at the same position of
    the same patient where that patient has it (decision 17), else a random stack of that role: nothing in Eqs. 1 to 5
    uses the pairing.

    Args:
        data: items with paths to unscaled int16 ``.nii`` files under their roles, as ``read_datalist`` gives them.
        keys: roles to read, such as ``("target", "source")``.
        slices: slices of a stack, odd.
        transform: applied to each item, a dictionary transform.
        in_plane_size: pixels along both in-plane axes that the networks are configured for; None takes what is there,
            as long as it is the same in all volumes.

    Raises:
        InputError: when a volume has another in-plane size, or no item has one of the ``keys``.

    Shape:
        - each key of an item: float32 tensor ``(slices, H, W)`` in HU
    """

    def __init__(
        self,
        data: Sequence[Mapping[str, Any]],
        keys: Sequence[str] = ("target", "source"),
        slices: int = 3,
        transform: Callable[[dict[str, Any]], Any] | None = None,
        in_plane_size: int | None = None,
    ) -> None:
        self.data = list(data)
        self.keys = tuple(keys)
        self.slices = slices
        self.transform = transform
        self._index: dict[str, np.ndarray] = {}
        shapes = {item[key]: _shape(item[key]) for item in self.data for key in self.keys if key in item}
        for path, shape in shapes.items():
            wanted = next(iter(shapes.values()))[:2] if in_plane_size is None else (in_plane_size, in_plane_size)
            if shape[:2] != wanted:
                raise InputError(
                    f"{path}: expected slices of {wanted[0]} x {wanted[1]} but got {shape[0]} x {shape[1]}; "
                    "prepare the data at that size or set in_plane_size"
                )
        for key in self.keys:
            pairs = [(i, z) for i, item in enumerate(self.data) if key in item for z in range(shapes[item[key]][2])]
            if not pairs:
                raise InputError(f"no patient of the data set has a {key} image")
            self._index[key] = np.array(pairs, dtype=np.int32)
        self._volumes: dict[str, np.ndarray] = {}

    def __len__(self) -> int:
        return len(self._index[self.keys[0]])

    def __getitem__(self, index: int) -> Any:
        patient, position = self._index[self.keys[0]][index]
        item: dict[str, Any] = {}
        for key in self.keys:
            if key in self.data[patient]:
                item[key] = self._read(self.data[patient][key], position)
            else:
                other = self._index[key][int(torch.randint(len(self._index[key]), ()))]
                item[key] = self._read(self.data[other[0]][key], other[1])
        return item if self.transform is None else self.transform(item)

    def _read(self, path: str, position: int) -> torch.Tensor:
        if path not in self._volumes:
            self._volumes[path] = _map(path)
        volume = self._volumes[path]
        stack = volume[:, :, stack_positions(int(position), volume.shape[2], self.slices)]
        return torch.from_numpy(np.ascontiguousarray(stack.transpose(2, 0, 1), dtype=np.float32))

    def __getstate__(self) -> dict[str, Any]:
        # a pickled memory map would carry the voxels to each worker
        return {**self.__dict__, "_volumes": {}}


def _shape(path: str) -> tuple[int, ...]:
    return tuple(nib.load(path).shape)  # type: ignore[attr-defined]


def _map(path: str) -> np.ndarray:
    volume = nib.load(path, mmap="c").dataobj.get_unscaled()  # type: ignore[attr-defined]
    if not isinstance(volume, np.memmap):
        raise InputError(f"{path}: expected an uncompressed .nii file that can be memory-mapped")
    return volume
