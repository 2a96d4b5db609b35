from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
import torch
from ignite.engine import Engine
from monai.data import DataLoader, Dataset, MetaTensor, decollate_batch
from monai.transforms import Compose, Orientationd

from monai_nce.data import FinishBehind, VolumeLoader
from monai_nce.errors import InputError, find_input_error

Numbers = list[int]


class Counted(Dataset):
    """Items that note when they are read."""

    def __init__(self, count: int, bad: int = -1) -> None:
        super().__init__([{"number": number} for number in range(count)])
        self.read: Numbers = []
        self.threads: list[tuple[str, int]] = []
        self.bad = bad

    def __getitem__(self, index: int) -> dict[str, Any]:
        self.read.append(index)
        self.threads.append((threading.current_thread().name, torch.get_num_threads()))
        if index == self.bad:
            raise RuntimeError("wrapped") from InputError(f"{index}: cannot be read")
        return {"number": index}


def until(condition: Callable[[], bool]) -> bool:
    end = time.monotonic() + 10
    while not condition() and time.monotonic() < end:
        time.sleep(0.005)
    return condition()


def numbers(loader: VolumeLoader) -> Numbers:
    return [int(batch["number"][0]) for batch in loader]


def test_one_volume_is_read_ahead_and_no_more() -> None:
    dataset = Counted(5)
    volumes = iter(VolumeLoader(dataset))
    next(volumes)
    assert until(lambda: dataset.read == [0, 1])
    time.sleep(0.05)
    assert dataset.read == [0, 1]
    next(volumes)
    assert until(lambda: dataset.read == [0, 1, 2])
    assert [int(batch["number"][0]) for batch in volumes] == [2, 3, 4]


def test_reading_ahead_uses_one_core_and_leaves_the_callers_alone() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        dataset = Counted(3)
        assert numbers(VolumeLoader(dataset)) == [0, 1, 2]
        assert [name.startswith("reading") for name, _ in dataset.threads] == [False, True, True]
        assert [threads for _, threads in dataset.threads] == [2, 1, 1]
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(("count", "ahead"), [(1, True), (3, False), (0, True)])
def test_without_reading_ahead_all_is_done_in_place(count: int, ahead: bool) -> None:
    dataset = Counted(count)
    assert numbers(VolumeLoader(dataset, ahead)) == list(range(count))
    assert not any(name.startswith("reading") for name, _ in dataset.threads)


def test_a_volume_that_cannot_be_read_ends_the_run_with_its_error() -> None:
    seen = []
    with pytest.raises(RuntimeError) as caught:
        for batch in VolumeLoader(Counted(4, bad=2)):
            seen.append(int(batch["number"][0]))
    assert seen == [0, 1]
    assert str(find_input_error(caught.value)) == "2: cannot be read"


def test_collation_is_monais_without_the_copy() -> None:
    stored = torch.arange(2 * 3 * 4, dtype=torch.float32).reshape(1, 4, 3, 2).permute(0, 3, 2, 1)
    affine = torch.diag(torch.tensor([-2.0, 1.0, 3.0, 1.0], dtype=torch.float64))
    turned = Compose(Orientationd("image", axcodes="RAS", labels=None))
    item = {"image": MetaTensor(stored, affine=affine), "source": ["a", "b"], "output": "c"}
    (ours,) = VolumeLoader(Dataset([item], turned))
    (monais,) = DataLoader(Dataset([item], turned), batch_size=1)
    assert ours.keys() == monais.keys() and ours["output"] == monais["output"] and ours["source"] == monais["source"]
    one, other = ours["image"], monais["image"]
    assert torch.equal(one.as_tensor(), other.as_tensor()) and torch.equal(one.affine, other.affine)
    assert one.stride()[1:] == turned(item)["image"].stride() != other.stride()[1:]
    (single,), (expected,) = decollate_batch(ours), decollate_batch(monais)
    assert str(single["image"].applied_operations) == str(expected["image"].applied_operations)
    assert single["source"] == expected["source"]
    back = turned.inverse(single)["image"]
    np.testing.assert_array_equal(back, turned.inverse(expected)["image"])
    assert torch.equal(back.affine, affine)


class Slow:
    """A post-processing that notes what it did, and where, and fails at one item."""

    def __init__(self, bad: int = -1) -> None:
        self.started: Numbers = []
        self.done: Numbers = []
        self.threads: list[str] = []
        self.bad = bad
        self.go = threading.Event()
        self.go.set()

    def __call__(self, data: Mapping[str, Any]) -> dict[str, Any]:
        self.started.append(data["number"])
        self.go.wait(10)
        self.threads.append(threading.current_thread().name)
        if data["number"] == self.bad:
            raise InputError(f"{self.bad}: cannot be written")
        self.done.append(data["number"])
        return {**data, "finished": True}


def run(count: int, finishing: FinishBehind, step: Callable[[Engine, int], None] | None = None) -> list[dict[str, Any]]:
    outputs: list[dict[str, Any]] = []

    def process(engine: Engine, number: int) -> None:
        outputs.append(finishing({"number": number}))
        if step is not None:
            step(engine, number)

    engine = Engine(process)
    finishing.attach(engine)
    engine.run(range(count))
    return outputs


def test_the_last_volume_is_finished_while_the_next_is_computed_and_before_the_run_ends() -> None:
    slow = Slow()
    slow.go.clear()

    def step(engine: Engine, number: int) -> None:
        if number == 0:  # the network goes on although nothing is finished
            assert until(lambda: slow.started == [0]) and slow.done == []
            slow.go.set()
        else:
            assert slow.done[:number] == list(range(number))  # one volume behind, never two

    assert run(4, FinishBehind([slow]), step) == [{"number": number} for number in range(4)]
    assert slow.done == [0, 1, 2, 3]
    assert all(name.startswith("finishing") for name in slow.threads)


@pytest.mark.parametrize(("count", "behind"), [(1, True), (3, False)])
def test_one_volume_is_finished_in_place(count: int, behind: bool) -> None:
    slow = Slow()
    outputs = run(count, FinishBehind([slow], behind))
    assert all(output["finished"] for output in outputs) and len(outputs) == count
    assert set(slow.threads) == {threading.current_thread().name}


def test_outside_a_run_it_is_the_transform() -> None:
    assert FinishBehind([Slow()])({"number": 1}) == {"number": 1, "finished": True}


@pytest.mark.parametrize("bad", [0, 1, 2])
def test_an_error_behind_ends_the_run_and_keeps_what_is_finished(bad: int) -> None:
    slow = Slow(bad)
    finishing = FinishBehind([slow])
    with pytest.raises(RuntimeError) as caught:
        run(3, finishing)
    assert str(find_input_error(caught.value)) == f"{bad}: cannot be written"
    assert slow.done == list(range(bad))
    slow.bad = -1
    run(2, finishing)  # and the next run knows nothing of it
    assert slow.done[bad:] == [0, 1]


@pytest.mark.skipif(sys.platform != "linux", reason="priorities of threads")
def test_background_threads_give_way() -> None:
    own = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    seen: list[int] = []

    def transform(data: Mapping[str, Any]) -> dict[str, Any]:
        seen.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))
        return dict(data)

    run(2, FinishBehind([transform]))
    assert min(seen) > own or own >= 10
    assert os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) == own
