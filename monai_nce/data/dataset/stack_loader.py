"""Load the slice stacks of a training in batches."""

from __future__ import annotations

import torch
from monai.data import DataLoader

from monai_nce.data.dataset.epoch_sampler import EpochSampler
from monai_nce.data.dataset.loader_workers import outlast_signals
from monai_nce.data.dataset.slice_stack_dataset import SliceStackDataset

__all__ = ["StackLoader"]


class StackLoader(DataLoader):
    """Load with an :class:`EpochSampler`; leave out an incomplete last batch, unless it is the only one.

    Args:
        dataset: slice stacks; its seed is that of the order, its parts those of an epoch.
        batch_size: stacks in a batch, of each process.
        num_workers: processes that read ahead; 0 reads in the training's own.
        device: where the batches go; memory is pinned for a GPU.
    """

    def __init__(
        self, dataset: SliceStackDataset, batch_size: int = 4, num_workers: int = 0, device: str | torch.device = "cpu"
    ) -> None:
        sampler = EpochSampler(dataset, dataset.seed, dataset.parts)
        super().__init__(
            dataset,
            batch_size=batch_size,
            sampler=sampler,
            drop_last=len(sampler) >= batch_size,
            num_workers=num_workers,
            persistent_workers=num_workers > 0,
            worker_init_fn=outlast_signals,
            pin_memory=torch.device(device).type == "cuda",
        )
