from __future__ import annotations

from monai_nce.process_group import rank_and_count


def test_a_process_alone_is_rank_0_of_1() -> None:
    assert rank_and_count() == (0, 1)


def test_in_a_group_it_is_what_the_group_says(as_rank) -> None:
    as_rank(2, 3)
    assert rank_and_count() == (2, 3)
