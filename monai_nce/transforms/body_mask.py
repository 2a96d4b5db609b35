"""Where the body is: outside it, nothing may change."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

__all__ = ["body_mask"]

SKIN_HU = -300.0  # between air (-1000) and fat (-100), away from both by the partial volume of the skin


def body_mask(hu: torch.Tensor | np.ndarray, threshold: float = SKIN_HU, slice_axis: int = 2) -> np.ndarray:
    """Voxels of the body: the largest thing above ``threshold``, with the gas inside it.

    Each slice's holes are filled, so lung and bowel gas belong to the body; the table and blankets do not where they
    are apart from it.

    Args:
        hu: CT in HU.
        threshold: in HU.
        slice_axis: spatial axis along which axial slices follow each other.

    Shape:
        - hu: ``(1, H, W, D)``
        - output: the same, bool; all False where nothing is above the threshold.
    """
    volume = np.asarray(hu.cpu() if isinstance(hu, torch.Tensor) else hu)
    if volume.ndim != 4 or volume.shape[0] != 1:
        raise ValueError(f"expected a volume of shape (1, H, W, D) but got {volume.shape}")
    dense = np.moveaxis(volume[0] > threshold, slice_axis, 0)
    order = (0, 1, 2) if dense.strides[1] > dense.strides[2] else (0, 2, 1)  # lines that lie in one piece in memory
    body = _body(np.ascontiguousarray(dense.transpose(order)))
    return np.moveaxis(body.transpose(order), 0, slice_axis)[None]


def _body(dense: np.ndarray) -> np.ndarray:
    """The body in ``(slices, rows, columns)``."""
    # opening by one voxel in plane parts a thin table or tube from the skin
    core = _Runs.of(_dilated(_eroded(dense)))
    if not core.starts.size:
        return np.zeros(dense.shape, dtype=bool)
    things = core.components(across_slices=True)
    body = core.painted(things == np.bincount(things, core.ends - core.starts).argmax())
    body = _dilated(body) & dense  # what the opening took from the rim
    rest = _Runs.of(~body)
    parts = rest.components(across_slices=False)
    outside = np.zeros(parts.size, dtype=bool)
    outside[parts[rest.at_border()]] = True
    return np.asarray(body | rest.painted(~outside[parts]))


def _eroded(mask: np.ndarray) -> np.ndarray:
    """Voxels whose four neighbours in the slice are in the mask; beyond the slice there are none."""
    out = np.zeros_like(mask)
    inner = mask[:, 1:-1, 1:-1]
    np.logical_and(inner, mask[:, :-2, 1:-1], out=out[:, 1:-1, 1:-1])
    for neighbours in (mask[:, 2:, 1:-1], mask[:, 1:-1, :-2], mask[:, 1:-1, 2:]):
        out[:, 1:-1, 1:-1] &= neighbours
    return out


def _dilated(mask: np.ndarray) -> np.ndarray:
    """The mask with the four neighbours in the slice of each voxel."""
    out = mask.copy()
    out[:, 1:] |= mask[:, :-1]
    out[:, :-1] |= mask[:, 1:]
    out[:, :, 1:] |= mask[:, :, :-1]
    out[:, :, :-1] |= mask[:, :, 1:]
    return out


@dataclass(frozen=True)
class _Runs:
    """A mask as runs along its last axis, a few for each line of a CT, so that labelling them takes hardly any time.

    Attributes:
        shape: of the mask, ``(slices, rows, columns)``.
        starts: of the runs, as indices into a flat mask with one more row and column, which keep runs apart.
        ends: likewise, one beyond the last voxel.
    """

    shape: tuple[int, ...]
    starts: np.ndarray
    ends: np.ndarray

    @classmethod
    def of(cls, mask: np.ndarray) -> _Runs:
        padded = np.zeros([n + (axis > 0) for axis, n in enumerate(mask.shape)], dtype=bool)
        padded[:, :-1, :-1] = mask
        flat = padded.ravel()
        changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
        if flat[0]:
            changes = np.insert(changes, 0, 0)
        return cls(mask.shape, changes[::2], changes[1::2])

    def components(self, across_slices: bool) -> np.ndarray:
        """A number for each run, the same for those that hang together by faces."""
        slices, rows, columns = self.shape
        steps = [columns + 1, (rows + 1) * (columns + 1)] if across_slices else [columns + 1]
        pairs = np.concatenate([self._touching(step) for step in steps], axis=1)
        graph = coo_array((np.ones(pairs.shape[1], dtype=bool), pairs), shape=(self.starts.size,) * 2)
        return np.asarray(connected_components(graph, directed=False)[1])

    def _touching(self, step: int) -> np.ndarray:
        """Pairs of runs that touch when the first is moved on by ``step``, ``(2, N)``."""
        first = np.searchsorted(self.ends, self.starts + step, side="right")
        counts = np.searchsorted(self.starts, self.ends + step) - first
        ones = np.repeat(np.arange(self.starts.size), counts)
        return np.stack([ones, np.arange(ones.size) + np.repeat(first - np.cumsum(counts) + counts, counts)])

    def at_border(self) -> np.ndarray:
        """Which runs touch the border of their slice."""
        _, rows, columns = self.shape
        line, column = np.divmod(self.starts, columns + 1)
        row = line % (rows + 1)
        last = self.ends - self.starts + column == columns
        return np.asarray((row == 0) | (row == rows - 1) | (column == 0) | last)

    def painted(self, chosen: np.ndarray) -> np.ndarray:
        """The mask of some of the runs."""
        slices, rows, columns = self.shape
        bounds = np.stack([self.starts[chosen], self.ends[chosen]], axis=1).ravel()
        lengths = np.diff(bounds, prepend=0, append=slices * (rows + 1) * (columns + 1))
        flat = np.repeat(np.arange(lengths.size) % 2 == 1, lengths)  # outside and inside by turns
        return flat.reshape(slices, rows + 1, columns + 1)[:, :-1, :-1]
