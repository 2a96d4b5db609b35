from __future__ import annotations

import pytest
import torch

from monai_nce.data import EpochSampler, SliceStackDataset, StackLoader, read_datalist
from monai_nce.phantom import write_phantom_dataset


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> SliceStackDataset:
    folder = write_phantom_dataset(
        tmp_path_factory.mktemp("set") / "set", patients=1, size=64, slices=5, progress=False
    )
    return SliceStackDataset(read_datalist(folder, "training"), seed=3)


def test_stacks_come_in_batches_in_the_sampler_s_order_and_the_odd_ones_are_left_out(
    dataset: SliceStackDataset,
) -> None:
    loader = StackLoader(dataset, batch_size=2)
    batches = list(loader)
    assert [batch["target"].shape for batch in batches] == [(2, 3, 64, 64)] * 2
    order = list(EpochSampler(dataset, seed=3))
    for number, batch in enumerate(batches):
        for position, stack in enumerate(batch["target"]):
            assert torch.equal(stack, dataset[order[2 * number + position]]["target"])


def test_a_data_set_smaller_than_a_batch_is_one_batch(dataset: SliceStackDataset) -> None:
    assert [len(batch["source"]) for batch in StackLoader(dataset, batch_size=8)] == [5]


def test_workers_read_the_same_and_stay(dataset: SliceStackDataset) -> None:
    loader = StackLoader(dataset, batch_size=2, num_workers=1)
    assert loader.persistent_workers
    for one, other in zip(StackLoader(dataset, batch_size=2), loader, strict=True):
        assert torch.equal(one["target"], other["target"])


@pytest.mark.parametrize(("device", "pinned"), [("cpu", False), ("cuda:0", True)])
def test_memory_is_pinned_for_a_gpu(dataset: SliceStackDataset, device: str, pinned: bool) -> None:
    assert StackLoader(dataset, device=device).pin_memory == pinned
