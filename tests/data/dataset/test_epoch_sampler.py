from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator

import pytest
from torch.utils.data import DataLoader, DistributedSampler

from monai_nce.data import EpochIndex, EpochSampler
from monai_nce.errors import InputError

AsRank = Callable[[int, int], None]


def each(count: int, as_rank: AsRank) -> Iterator[int]:
    """One process after another of so many."""
    for rank in range(count):
        as_rank(rank, count)
        yield rank
    as_rank(0, 1)


def order(length: int, epoch: int, seed: int = 0) -> list[int]:
    sampler = EpochSampler(range(length), seed)
    sampler.set_epoch(epoch)
    return [int(index) for index in sampler]


def batches(length: int, batch_size: int, epoch: int = 1) -> list[list[int]]:
    sampler = EpochSampler(range(length))
    sampler.set_epoch(epoch)
    loader = DataLoader(range(length), batch_size, sampler=sampler, drop_last=True)  # type: ignore[arg-type]
    assert len(list(loader)) == len(loader)
    return [batch.tolist() for batch in loader]


def test_each_epoch_has_every_item_in_another_order() -> None:
    orders = [order(50, epoch) for epoch in range(1, 4)]
    assert all(sorted(items) == list(range(50)) for items in orders)
    assert orders[0] != orders[1] != orders[2] != list(range(50))
    assert orders[1] == order(50, 2) != order(50, 2, seed=1)
    assert order(50, 1, seed=1) != orders[1]  # seed and epoch aren't added up


def test_items_are_spread_evenly() -> None:
    first = [order(5, epoch)[0] for epoch in range(500)]
    assert all(70 < first.count(item) < 130 for item in range(5))


def test_the_order_is_that_of_earlier_versions() -> None:
    assert order(10, 1) == [7, 4, 5, 1, 9, 8, 6, 2, 0, 3]


def test_an_index_knows_its_epoch_in_other_processes_too() -> None:
    sampler = EpochSampler(range(4))
    sampler.set_epoch(7)
    assert [index.epoch for index in sampler] == [7] * 4
    again = pickle.loads(pickle.dumps(EpochIndex(3, 7)))
    assert (again, again.epoch, type(again)) == (3, 7, EpochIndex)


def test_it_goes_on_where_it_stopped_and_starts_the_next_epoch_at_its_beginning() -> None:
    sampler = EpochSampler(range(20))
    sampler.set_epoch(3)
    whole = list(sampler)
    sampler.skip(8)
    assert len(sampler) == 20  # the loader's number of batches is that of a whole epoch
    assert list(sampler) == whole[8:]
    assert list(sampler) == whole


@pytest.mark.parametrize("length", [24, 27])
def test_a_global_batch_is_the_same_however_many_share_it(as_rank: AsRank, length: int) -> None:
    alone = [sorted(batch) for batch in batches(length, 12, epoch=2)]
    for count in (2, 3, 4):
        shares = [batches(length, 12 // count, epoch=2) for _ in each(count, as_rank)]
        assert [sorted(sum(parts, [])) for parts in zip(*shares, strict=True)] == alone


@pytest.mark.parametrize("length", range(3, 14))
def test_all_processes_have_as_many_items(as_rank: AsRank, length: int) -> None:
    shares = [order(length, 1) for _ in each(3, as_rank)]
    assert {len(share) for share in shares} == {length // 3}
    seen = sum(shares, [])
    assert len(set(seen)) == len(seen)


def test_what_is_left_over_changes(as_rank: AsRank) -> None:
    left_over = set()
    for epoch in range(20):
        left_over |= set(range(5)) - set(sum((order(5, epoch) for _ in each(2, as_rank)), []))
    assert left_over == set(range(5))


def test_fewer_items_than_processes_are_refused(as_rank: AsRank) -> None:
    for _ in each(4, as_rank):
        with pytest.raises(InputError, match="at least one slice stack per process but got 3 for 4 processes"):
            len(EpochSampler(range(3)))


def test_engines_tell_it_the_epoch() -> None:
    assert isinstance(EpochSampler(range(3)), DistributedSampler)


def test_a_part_is_gone_through_before_it_begins_again() -> None:
    sampler = EpochSampler(range(30), parts=[(range(10), 10), (range(10, 30), 8)])
    drawn: list[EpochIndex] = []
    for epoch in range(5):  # twice the 20 of the second part
        sampler.set_epoch(epoch)
        assert len(sampler) == 18
        epoch_s = list(sampler)
        assert sorted(index for index in epoch_s if index < 10) == list(range(10))
        assert {index.epoch for index in epoch_s if index < 10} == {epoch}
        drawn += [index for index in epoch_s if index >= 10]
    rounds = [sorted(index for index in drawn if index.epoch == number) for number in (0, 1)]
    assert rounds == [list(range(10, 30))] * 2


def test_a_part_can_come_several_times_in_an_epoch() -> None:
    sampler = EpochSampler(range(13), parts=[(range(10), 4), (range(10, 13), 6)])
    sampler.set_epoch(2)
    drawn = [(int(index), index.epoch) for index in sampler if index >= 10]
    assert sorted(drawn) == [(index, number) for index in range(10, 13) for number in (4, 5)]


def test_what_a_part_gives_changes_with_seed_and_epoch() -> None:
    def some(seed: int, epoch: int) -> list[int]:
        sampler = EpochSampler(range(50), seed, [(range(50), 10)])
        sampler.set_epoch(epoch)
        return sorted(sampler)

    assert some(0, 1) == some(0, 1)
    assert some(0, 1) != some(0, 6) != some(1, 6)
    assert not set(some(0, 1)) & set(some(0, 2))  # of one round
