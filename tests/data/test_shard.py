from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monai_nce.data.shard import process_rank, shard
from monai_nce.errors import InputError


@given(count=st.integers(0, 40), world_size=st.integers(1, 12))
def test_every_item_comes_once_in_order_and_the_parts_are_even(count, world_size):
    parts = []
    for rank in range(world_size):
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("RANK", str(rank))
            patch.setenv("WORLD_SIZE", str(world_size))
            parts.append(shard(range(count)))
    assert sorted(item for part in parts for item in part) == list(range(count))
    assert all(part == sorted(part) for part in parts)
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_a_process_started_alone_has_everything(monkeypatch):
    monkeypatch.delenv("RANK", raising=False)
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert process_rank() == (0, 1)
    assert shard("abc") == ["a", "b", "c"]


@pytest.mark.parametrize(("rank", "world_size"), [("2", "2"), ("x", "2"), ("0", "0"), ("-1", "2"), ("1", "")])
def test_a_rank_that_cannot_be_is_refused(monkeypatch, rank, world_size):
    monkeypatch.setenv("RANK", rank)
    monkeypatch.setenv("WORLD_SIZE", world_size)
    with pytest.raises(InputError, match="RANK below WORLD_SIZE"):
        shard([1])
