"""Cut a volume into stacks of consecutive slices, as the networks take and give them (paper §3.3)."""

from __future__ import annotations

from collections.abc import Sequence

import torch

__all__ = ["StackMean", "StackSpread", "slice_stacks", "stack_centres", "stack_positions"]


def stack_positions(position: int, depth: int, slices: int = 3) -> list[int]:
    """List the ``slices`` indices centred on ``position`` in a volume of ``depth``; edges replicate.

    >>> stack_positions(0, depth=10)
    [0, 0, 1]
    """
    if slices < 1 or slices % 2 == 0:
        raise ValueError(f"expected an odd number of slices but got {slices}")
    if not 0 <= position < depth:
        raise ValueError(f"expected a position in 0...{depth - 1} but got {position}")
    reach = slices // 2
    return [min(max(position + offset, 0), depth - 1) for offset in range(-reach, reach + 1)]


def stack_centres(depth: int, slices: int = 3, stride: int = 1) -> list[int]:
    """List the centres of stacks that together cover a volume of ``depth`` slices.

    With a ``stride`` of 1 every slice is a centre. With more, the first and the last stack end at the volume's edges,
    so that nothing is replicated that need not be; the last two stacks may overlap by more than the others.

    >>> stack_centres(10, slices=3, stride=3)
    [1, 4, 7, 8]

    Raises:
        ValueError: for a stride that is not in 1...slices: slices would be left out.
    """
    if not 1 <= stride <= slices:
        raise ValueError(f"expected a stride in 1...{slices} but got {stride}")
    reach = slices // 2
    if stride == 1:
        return list(range(depth))
    if depth <= slices:
        return [min(reach, depth - 1)]
    last = depth - 1 - reach
    centres = list(range(reach, last + 1, stride))
    return centres if centres[-1] == last else [*centres, last]


def slice_stacks(volume: torch.Tensor, slices: int = 3, centres: Sequence[int] | None = None) -> torch.Tensor:
    """Cut a volume into stacks around ``centres``, by default around every slice; edges replicate.

    Shape:
        - volume: ``(1, H, W, D)``
        - output: ``(number of centres, slices, H, W)``
    """
    if volume.ndim != 4 or volume.shape[0] != 1:
        raise ValueError(f"expected a volume of shape (1, H, W, D) but got {tuple(volume.shape)}")
    depth = volume.shape[3]
    positions = [stack_positions(centre, depth, slices) for centre in (range(depth) if centres is None else centres)]
    return volume[0].permute(2, 0, 1)[torch.tensor(positions, device=volume.device)]


class StackMean:
    """Average the predictions of each slice over stacks that come one batch after the other.

    Copies of an edge slice count as predictions of it too.

    Args:
        depth: slices of the volume.
    """

    def __init__(self, depth: int) -> None:
        self.depth = depth
        self._total: torch.Tensor | None = None
        self._count: torch.Tensor | None = None

    def add(self, stacks: torch.Tensor, centres: Sequence[int]) -> None:
        """Add predictions ``(number of centres, slices, H, W)`` for ``centres`` as :func:`slice_stacks` took them."""
        if self._total is None or self._count is None:
            self._total = stacks.new_zeros((self.depth, *stacks.shape[2:]))
            self._count = torch.zeros(self.depth)
        positions = [p for centre in centres for p in stack_positions(centre, self.depth, stacks.shape[1])]
        for position, image in zip(positions, stacks.flatten(0, 1), strict=True):  # index_add_ takes five times as long
            self._total[position] += image
            self._count[position] += 1

    def volume(self) -> torch.Tensor:
        """Return the mean, ``(1, H, W, D)``; each slice must have been predicted."""
        if self._total is None or self._count is None:
            raise ValueError("expected at least one stack but got none")
        count = self._count.to(self._total)
        return (self._total / count[:, None, None]).permute(1, 2, 0)[None]


class StackSpread(StackMean):
    """Average the predictions of each slice, and say how far they are from each other.

    ``volume`` gives two channels, ``(2, H, W, D)``: the mean, and the standard deviation of the predictions of a voxel,
    0 where there is one alone.
    """

    def __init__(self, depth: int) -> None:
        super().__init__(depth)
        self._squares = StackMean(depth)

    def add(self, stacks: torch.Tensor, centres: Sequence[int]) -> None:
        super().add(stacks, centres)
        self._squares.add(stacks.square(), centres)

    def volume(self) -> torch.Tensor:
        mean = super().volume()
        return torch.cat([mean, (self._squares.volume() - mean.square()).clamp_(min=0).sqrt_()])
