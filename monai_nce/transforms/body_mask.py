"""Find the body in a CT: outside it, nothing may change."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

__all__ = ["body_mask"]

WORD = 64  # bits
SKIN_HU = -300.0  # between air (-1000) and fat (-100), away from both by the partial volume of the skin


def body_mask(hu: torch.Tensor | np.ndarray, threshold: float = SKIN_HU, slice_axis: int = 2) -> np.ndarray:
    """Mark the voxels of the body: the largest thing above ``threshold``, with the gas inside it.

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
    return np.moveaxis(_body(dense.transpose(order)).transpose(order), 0, slice_axis)[None]


def _body(mask: np.ndarray) -> np.ndarray:
    """The body in ``(slices, rows, columns)``."""
    layout = _Layout(*mask.shape)
    dense = layout.packed(mask)
    # opening by one voxel in plane parts a thin table or tube from the skin
    core = _Runs.of(layout, layout.dilated(layout.eroded(dense)))
    if not core.starts.size:
        return np.zeros(mask.shape, dtype=bool)
    things = core.components(across_slices=True)
    body = core.painted(things == np.bincount(things, core.ends - core.starts).argmax())
    body = layout.dilated(body) & dense  # what the opening took from the rim
    rest = _Runs.of(layout, ~body & layout.everywhere())
    parts = rest.components(across_slices=False)
    outside = np.zeros(parts.size, dtype=bool)
    outside[parts[rest.at_border()]] = True
    return ~layout.unpacked(rest.painted(outside[parts]))


@dataclass(frozen=True)
class _Layout:
    """Pack a mask into a flat array of 64 voxels a word, which is fast to go through.

    Each slice has one more row and each line some more columns, which are empty: what is one voxel, one line or one
    slice away is a fixed number of bits away, and beyond the edges there is nothing.
    """

    slices: int
    rows: int
    columns: int

    @property
    def line(self) -> int:
        """Return the bits from one line to the next."""
        return (self.columns // WORD + 1) * WORD

    @property
    def slice(self) -> int:
        """Return the bits from one slice to the next."""
        return (self.rows + 1) * self.line

    def packed(self, mask: np.ndarray) -> np.ndarray:
        octets = np.zeros((len(mask), self.rows + 1, self.line // 8), dtype=np.uint8)
        octets[:, :-1, : -(-self.columns // 8)] = np.packbits(mask, axis=2, bitorder="little")
        return octets.ravel().view("<u8")

    def everywhere(self) -> np.ndarray:
        """Mask all voxels."""
        return np.tile(self.packed(np.ones((1, self.rows, self.columns), dtype=bool)), self.slices)

    def unpacked(self, words: np.ndarray) -> np.ndarray:
        octets = words.view(np.uint8).reshape(self.slices, self.rows + 1, -1)[:, :-1]
        return np.unpackbits(octets, axis=2, count=self.columns, bitorder="little").view(bool)

    def eroded(self, words: np.ndarray) -> np.ndarray:
        """Keep voxels whose four neighbours in the slice are in the mask; beyond the slice there are none."""
        step = self.line // WORD
        out = words & _before(words) & _behind(words)
        out[step:] &= words[:-step]
        out[:step] = 0
        out[:-step] &= words[step:]
        return out

    def dilated(self, words: np.ndarray) -> np.ndarray:
        """Add the four neighbours in the slice of each voxel, those beyond its edges too."""
        step = self.line // WORD
        out = words | _before(words) | _behind(words)
        out[step:] |= words[:-step]
        out[:-step] |= words[step:]
        return out


def _before(words: np.ndarray) -> np.ndarray:
    """Take at each bit the one before it."""
    moved = words << np.uint64(1)
    moved[1:] |= words[:-1] >> np.uint64(WORD - 1)
    return moved


def _behind(words: np.ndarray) -> np.ndarray:
    """Take at each bit the one behind it."""
    moved = words >> np.uint64(1)
    moved[:-1] |= words[1:] << np.uint64(WORD - 1)
    return moved


@dataclass(frozen=True)
class _Runs:
    """Hold a mask as runs along its last axis, so few in a CT that labelling them is fast.

    Starts and ends are positions of bits, the ends one beyond the last voxel.
    """

    layout: _Layout
    starts: np.ndarray
    ends: np.ndarray

    @classmethod
    def of(cls, layout: _Layout, words: np.ndarray) -> _Runs:
        starts, last = (_positions(words & ~neighbour) for neighbour in (_before(words), _behind(words)))
        return cls(layout, starts, last + 1)

    def components(self, across_slices: bool) -> np.ndarray:
        """Number the runs, alike for those that touch by faces."""
        steps = [self.layout.line, self.layout.slice] if across_slices else [self.layout.line]
        pairs = np.concatenate([self._touching(step) for step in steps], axis=1)
        graph = coo_array((np.ones(pairs.shape[1], dtype=bool), pairs), shape=(self.starts.size,) * 2)
        return np.asarray(connected_components(graph, directed=False)[1])

    def _touching(self, step: int) -> np.ndarray:
        """List pairs of runs that touch when the first is moved on by ``step``, ``(2, N)``."""
        first = np.searchsorted(self.ends, self.starts + step, side="right")
        counts = np.searchsorted(self.starts, self.ends + step) - first
        ones = np.repeat(np.arange(self.starts.size), counts)
        return np.stack([ones, np.arange(ones.size) + np.repeat(first - np.cumsum(counts) + counts, counts)])

    def at_border(self) -> np.ndarray:
        """Tell which runs touch the border of their slice."""
        line, column = np.divmod(self.starts, self.layout.line)
        row = line % (self.layout.rows + 1)
        last = self.ends - self.starts + column == self.layout.columns
        return np.asarray((row == 0) | (row == self.layout.rows - 1) | (column == 0) | last)

    def painted(self, chosen: np.ndarray) -> np.ndarray:
        """Mask some of the runs."""
        bounds = np.stack([self.starts[chosen], self.ends[chosen]], axis=1).ravel()
        lengths = np.diff(bounds, prepend=0, append=self.layout.slices * self.layout.slice)
        flat = np.repeat(np.arange(lengths.size) % 2 == 1, lengths)  # outside and inside by turns
        return np.packbits(flat, bitorder="little").view("<u8")


def _positions(words: np.ndarray) -> np.ndarray:
    """List the positions of the bits that are set, which are few."""
    octets = words.view(np.uint8)
    where = np.flatnonzero(octets.view(bool))
    bits = np.flatnonzero(np.unpackbits(octets[where], bitorder="little").view(bool))
    return where[bits >> 3] * 8 + (bits & 7)
