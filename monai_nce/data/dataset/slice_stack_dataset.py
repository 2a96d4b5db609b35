"""Read every slice stack of a data set straight from the files, in any order."""

from __future__ import annotations

import hashlib
import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

import nibabel as nib
import numpy as np
import torch
from monai.transforms import Randomizable
from nibabel.affines import voxel_sizes
from nibabel.arrayproxy import ArrayProxy
from torch.utils.data import Dataset

from monai_nce.errors import InputError
from monai_nce.transforms import stack_positions

__all__ = ["SliceStackDataset"]

ALIKE = 0.01  # spacings that differ by a smaller share are one


class SliceStackDataset(Dataset):
    """Serve every slice stack of every patient, edges replicated (paper §3.3; decisions 17 and 18).

    Stacks are read from the files each time, and the operating system caches them: a data set larger than memory works.

    The first key leads: there is one item per slice of its volumes. Another key gives the stack at the same position of
    the same patient where that patient has it, else a random stack of that role, which depends on seed, index and, with
    :class:`EpochSampler`, epoch alone. In a mixture it is of the same data set, or of the main one where that has none.

    Args:
        data: items with paths to unscaled ``.nii`` files under their roles, as ``read_datalist`` gives them,
            or ``mixed_items``.
        keys: roles to read, such as ``("target", "source")``.
        slices: slices of a stack, odd; or those of each key.
        transform: applied to each item, a dictionary transform; the random numbers of a ``Randomizable`` one, such as
            MONAI's ``Compose``, depend on seed, index and epoch alone.
        seed: of the random stacks and of the ``condition``.
        condition: called with the patient's item of ``data`` and a random generator, which depends on seed, index and
            epoch alone; gives tensors that an item has besides, such as
            :meth:`monai_nce.contrast.ContrastCondition.sample`.

    Raises:
        InputError: when the volumes differ in their in-plane size, or in a mixture in that of their pixels, one is
            compressed, no item has one of the ``keys``, or none of a data set of a mixture has the first; and when an
            item is read, if its file is cut off.

    Attributes:
        parts: indices of each data set's stacks, and how many of them an epoch has: all of them, but in a mixture as
            many in all as the main data set has.

    Shape:
        - each key of an item: float32 tensor ``(slices, H, W)`` in HU
    """

    def __init__(
        self,
        data: Sequence[Mapping[str, Any]],
        keys: Sequence[str] = ("target", "source"),
        slices: int | Mapping[str, int] = 3,
        transform: Callable[[dict[str, Any]], Any] | None = None,
        seed: int = 0,
        condition: Callable[[Mapping[str, Any], np.random.Generator], Mapping[str, torch.Tensor]] | None = None,
    ) -> None:
        self.data = list(data)
        self.keys = tuple(keys)
        self.slices = slices
        self.transform = transform
        self.condition = condition
        self.seed = seed
        self._index: dict[str, np.ndarray] = {}
        self._rows: dict[tuple[str, str], range] = {}  # of the index, by role and data set
        self._volumes = {item[key]: _volume(item[key]) for item in self.data for key in self.keys if key in item}
        mixed = any("share" in item for item in self.data)
        for path, volume in self._volumes.items():
            first = next(iter(self._volumes.values()))
            if volume.shape[:2] != first.shape[:2]:
                raise InputError(
                    f"{path}: expected slices of {first.shape[0]} x {first.shape[1]} but got "
                    f"{volume.shape[0]} x {volume.shape[1]}; prepare all volumes at one size"
                )
            if mixed and not np.allclose(volume.spacing, first.spacing, rtol=ALIKE, atol=0):
                raise InputError(f"{path}: expected pixels of {first.spacing[0]:g} mm but got {volume.spacing[0]:g} mm")
        names = list(dict.fromkeys(map(_data_set, self.data))) or [""]  # the main data set first
        for key in self.keys:
            pairs: list[tuple[int, int]] = []
            for name in names:
                items = [(i, item) for i, item in enumerate(self.data) if key in item and _data_set(item) == name]
                if not items and name != names[0] and key != self.keys[0]:
                    self._rows[key, name] = self._rows[key, names[0]]
                    continue
                if not items:
                    raise InputError(f"no patient of {name or 'the data set'} has a {key} image")
                first_row = len(pairs)
                pairs += [(i, z) for i, item in items for z in range(self._volumes[item[key]].shape[2])]
                self._rows[key, name] = range(first_row, len(pairs))
            self._index[key] = np.array(pairs, dtype=np.int32)
        self.parts = self._share_out()

    def fingerprint(self) -> str:
        """Return 16 hexadecimal digits that stand for the volumes' names and sizes, their order and their shares."""
        volumes = [(Path(path).name, volume.shape) for path, volume in self._volumes.items()]
        slices = self.slices if isinstance(self.slices, int) else [*map(self._slices, self.keys)]
        mixed = (self.parts,) if len(self.parts) > 1 else ()
        return hashlib.sha256(repr((self.keys, slices, volumes, *mixed)).encode()).hexdigest()[:16]

    @property
    def in_plane_size(self) -> tuple[int, int]:
        """Return the pixels along both in-plane axes, which are the same in all volumes."""
        return next(iter(self._volumes.values())).shape[:2]

    @property
    def spacing(self) -> float | None:
        """Return that of the pixels in plane in mm, or None where volumes or axes differ by more than 1 %."""
        spacings = [spacing for volume in self._volumes.values() for spacing in volume.spacing]
        middle = statistics.median(spacings)
        return round(middle, 4) if all(abs(spacing / middle - 1) < ALIKE for spacing in spacings) else None

    def __len__(self) -> int:
        return len(self._index[self.keys[0]])

    def __getitem__(self, index: int) -> Any:
        patient, position = self._index[self.keys[0]][index]
        item: dict[str, Any] = {}
        for number, key in enumerate(self.keys):
            place = patient, position
            if key not in self.data[patient]:
                rows = self._rows[key, _data_set(self.data[patient])]
                place = self._index[key][rows[self._draw(index, number) % len(rows)]]
            item[key] = self._read(self.data[place[0]][key], place[1], self._slices(key))
        if self.condition is not None:
            random = np.random.default_rng(self._draw(index, len(self.keys)))
            item |= self.condition(self.data[patient], random)
        if isinstance(self.transform, Randomizable):
            self.transform.set_random_state(seed=self._draw(index, len(self.keys) + 1) % 2**32)
        return item if self.transform is None else self.transform(item)

    def _share_out(self) -> list[tuple[range, int]]:
        """Divide an epoch among the data sets, the first of which has what the others leave."""
        items = {_data_set(item): item for item in self.data}
        stacks = [self._rows[self.keys[0], name] for name in items]
        counts = [max(1, round(item["share"] * len(stacks[0]))) for item in list(items.values())[1:]]
        if sum(counts) >= len(stacks[0]):
            raise InputError(
                f"mixture: expected more than {sum(counts)} stacks of the main data set but it has {len(stacks[0])}"
            )
        return list(zip(stacks, [len(stacks[0]) - sum(counts), *counts], strict=True))

    def _draw(self, index: int, number: int) -> int:
        """Return a random number of 64 bits for an index with its epoch, and a key of that number."""
        # modulo, since dataset[-1] is dataset[len - 1], and entropy may not be negative
        entropy = (self.seed, getattr(index, "epoch", 0), int(index) % len(self), number)
        return int(np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0])

    def _slices(self, key: str) -> int:
        return self.slices if isinstance(self.slices, int) else self.slices[key]

    def _read(self, path: str, position: int, slices: int) -> torch.Tensor:
        voxels = self._volumes[path].voxels
        positions = stack_positions(int(position), voxels.shape[2], slices)
        try:
            stack = np.asarray(voxels[:, :, positions[0] : positions[-1] + 1], dtype=np.float32)
        except (OSError, ValueError) as error:  # nibabel's for a file that is too short
            raise InputError(f"{path}: the file ends before its last slice; copy it again") from error
        return torch.from_numpy(np.ascontiguousarray(stack.transpose(2, 0, 1))[np.array(positions) - positions[0]])


class _Volume(NamedTuple):
    """A volume's voxels, on disk until they are sliced, and their distance in plane in mm."""

    voxels: ArrayProxy
    spacing: tuple[float, float]

    @property
    def shape(self) -> tuple[int, int, int]:
        height, width, depth = self.voxels.shape
        return height, width, depth


def _data_set(item: Mapping[str, Any]) -> str:
    """Return the folder of a further data set of a mixture, or nothing for the main one."""
    return str(item.get("data_set", ""))


def _volume(path: str) -> _Volume:
    image = nib.load(path, mmap=False, keep_file_open=False)
    if not isinstance(image, nib.Nifti1Image) or not str(path).endswith(".nii") or len(image.shape) != 3:
        raise InputError(f"{path}: expected an uncompressed .nii file of three dimensions")
    height, width = map(float, voxel_sizes(image.affine)[:2])
    return _Volume(cast(ArrayProxy, image.dataobj), (height, width))
