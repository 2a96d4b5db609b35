"""Predict a whole volume with a network that takes slice stacks (paper §3.3; decision 18)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import pairwise
from typing import Any, TypeVar

import torch
from monai.data import MetaTensor
from monai.inferers import Inferer
from torch.nn import functional

from monai_nce.contrast import append_condition
from monai_nce.errors import InputError
from monai_nce.terminal import progress_bar
from monai_nce.transforms import StackBlend, StackMean, StackSpread, slice_stacks, stack_centres, stack_positions

from .runtime import Runtime

__all__ = ["SliceStackInferer", "even_batches", "run_batches"]

T = TypeVar("T")


class SliceStackInferer(Inferer):
    """Run a network over the slice stacks of a volume and average or blend the predictions.

    Edge slices replicate, so volumes of one or two slices work. In-plane sizes that the network cannot take are padded
    and cropped again. A MetaTensor comes back as one. Beyond the volume, memory holds the batches at work.

    Args:
        slices: slices of a stack, odd.
        batch_size: stacks per forward pass at most.
        stride: slices from one stack to the next: 1 predicts each slice ``slices`` times, ``slices`` once.
        size_divisor: what in-plane sizes must be divisible by; None asks the network for its ``size_factor``, and
            takes 1 if it has none.
        padding_value: intensity of the padding; -1 is air in a windowed CT.
        progress: show a bar per volume, on a terminal.
        runtime: what computes the forward passes; None calls the network as it is.
        condition: ``(C,)``, told to a network that takes one (``condition_channels``) behind the slices of each stack;
            None tells it zeros, that nothing is known.
        blend: with a stride above 1, blend what stacks change in the volume, so that there are no steps from slice
            to slice; meant for predictions in the unit of the volume. False takes them as they are.
        spread: give the standard deviation of each voxel's overlapping predictions as a second channel; takes a stride
            of 1.

    Raises:
        InputError: for a count below 1, a stride that would leave slices out, or one above 1 with ``spread``; when
            called, for a condition of other channels than the network takes.
        ValueError: for an even number of slices, or a volume that is not ``(B, 1, H, W, D)``.

    Example:
        >>> SliceStackInferer()(torch.zeros(1, 1, 20, 30, 5), torch.nn.Identity()).shape
        torch.Size([1, 1, 20, 30, 5])
    """

    def __init__(
        self,
        slices: int = 3,
        batch_size: int = 8,
        stride: int = 1,
        size_divisor: int | None = None,
        padding_value: float = -1.0,
        progress: bool = False,
        runtime: Runtime | None = None,
        condition: torch.Tensor | None = None,
        blend: bool = True,
        spread: bool = False,
    ) -> None:
        super().__init__()
        if batch_size < 1:
            raise InputError(f"expected a batch_size of at least 1 but got {batch_size}")
        if size_divisor is not None and size_divisor < 1:
            raise ValueError(f"expected a size_divisor of at least 1 but got {size_divisor}")
        stack_positions(0, 1, slices)  # refuses an even number
        if not 1 <= stride <= slices:
            raise InputError(f"expected a stride in 1...{slices}, the slices of a stack, but got {stride}")
        if spread and stride != 1:
            raise InputError(f"expected a stride of 1 for the spread of overlapping predictions but got {stride}")
        self.slices = slices
        self.spread = spread
        self.batch_size = batch_size
        self.stride = stride
        self.size_divisor = size_divisor
        self.padding_value = padding_value
        self.progress = progress
        self.runtime = runtime
        self.condition = condition
        self.blend = blend

    def __call__(
        self,
        inputs: torch.Tensor,
        network: Callable[..., torch.Tensor],
        *args: Any,
        condition: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> torch.Tensor:
        """
        Args:
            inputs: volumes in [-1, 1].
            network: takes ``(N, slices, H, W)`` and gives the same shape; ``args`` and ``kwargs`` are passed on. With a
                ``runtime`` a :class:`torch.nn.Module` that takes nothing else.
            condition: of these volumes, in place of the constructor's.

        Shape:
            - inputs and output: ``(B, 1, H, W, D)``; with ``spread`` the output is ``(B, 2, H, W, D)``
            - condition: ``(B, C)``
        """
        if inputs.ndim != 5 or inputs.shape[1] != 1:
            raise ValueError(f"expected volumes of shape (B, 1, H, W, D) but got {tuple(inputs.shape)}")
        divisor = self.size_divisor
        if divisor is None:
            divisor = int(getattr(getattr(network, "module", network), "size_factor", 1))
        plain = inputs.as_tensor() if isinstance(inputs, MetaTensor) else inputs
        conditions = self._conditions(condition, network, plain)
        compute = partial(network, *args, **kwargs)

        volumes = [self._one(*volume, divisor, network, compute) for volume in zip(plain, conditions, strict=True)]
        output = volumes[0][None] if len(volumes) == 1 else torch.stack(volumes)  # without a copy, slices stay whole
        return MetaTensor(output).copy_meta_from(inputs) if isinstance(inputs, MetaTensor) else output

    def _conditions(
        self, condition: torch.Tensor | None, network: Callable[..., torch.Tensor], volumes: torch.Tensor
    ) -> torch.Tensor:
        """Return a condition ``(B, C)`` for the volumes, C being 0 for a network that takes none."""
        channels = int(getattr(getattr(network, "module", network), "condition_channels", 0))
        given = self.condition if condition is None else condition
        if given is None:
            return volumes.new_zeros(len(volumes), channels)
        if given.shape[-1] != channels:
            raise InputError(f"expected a condition of {channels} numbers for this network but got {given.shape[-1]}")
        return given.to(volumes).expand(len(volumes), -1)

    def _one(
        self,
        volume: torch.Tensor,
        condition: torch.Tensor,
        divisor: int,
        network: Callable[..., torch.Tensor],
        compute: Callable[[torch.Tensor], torch.Tensor],
    ) -> torch.Tensor:
        height, width, depth = volume.shape[1:]
        pad_h, pad_w = -height % divisor, -width % divisor
        top, left = pad_h // 2, pad_w // 2
        padding = (left, pad_w - left, top, pad_h - top)
        centres = stack_centres(depth, self.slices, self.stride)

        def stacks_at(centres: Sequence[int]) -> torch.Tensor:
            stacks = slice_stacks(volume, self.slices, centres)
            if any(padding):
                stacks = functional.pad(stacks, padding, value=self.padding_value)
            return append_condition(stacks, condition[None]) if len(condition) else stacks

        workers = threads = sharing = 1
        if self.runtime is not None:
            samples = sorted({depth * quarter // 4 for quarter in (1, 2, 3)})
            compute = backend = self.runtime.prepare(network, stacks_at(samples), self.batch_size, len(centres))
            workers, threads, sharing = backend.workers, backend.threads, backend.sharing

        def predict(centres: Sequence[int]) -> torch.Tensor:
            return compute(stacks_at(centres)).float()[:, :, top : top + height, left : left + width]

        batches = even_batches(centres, self.batch_size, sharing)
        predictions = run_batches(predict, batches, workers, threads)
        apart = self.blend and self.stride > 1
        mean: StackBlend | StackMean
        if apart:
            mean = StackBlend(volume, self.slices, centres)
        else:
            mean = StackSpread(depth) if self.spread else StackMean(depth)
        bar = progress_bar(batches, name="slices", unit="batch", show=self.progress, passing=True)
        for batch, prediction in zip(bar, predictions, strict=True):
            mean.add(prediction, batch)
        return mean.volume()


def even_batches(items: Sequence[T], most: int, workers: int = 1) -> list[Sequence[T]]:
    """Divide items into batches of nearly equal size, at most ``most``, the same number of them for each worker.

    >>> even_batches([1, 2, 3, 4, 5], most=4, workers=2)
    [[1, 2, 3], [4, 5]]
    """
    rounds = -(-len(items) // (most * workers))
    count = min(rounds * workers, len(items))
    starts = [-(-len(items) * i // count) for i in range(count + 1)]
    return [items[start:end] for start, end in pairwise(starts)]


def run_batches(
    work: Callable[[T], torch.Tensor], batches: Sequence[T], workers: int, threads: int = 1
) -> Iterator[torch.Tensor]:
    """Yield the results of ``work`` for the batches in their order, in ``workers`` with ``threads`` of PyTorch each.

    PyTorch's own threads wait for each other by spinning. Meanwhile they would take the cores from the workers, so the
    caller's thread has only one until all is done.
    """
    workers = min(workers, len(batches))
    if workers <= 1:
        yield from map(work, batches)
        return
    before = torch.get_num_threads()
    pool = ThreadPoolExecutor(workers, "inference", initializer=_use_threads, initargs=(threads,))
    results = pool.map(work, batches)
    try:
        torch.set_num_threads(1)
        yield from results
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(before)


def _use_threads(threads: int) -> None:
    torch.get_num_threads()  # else the first operation would undo the next line
    torch.set_num_threads(threads)
