"""The vocabulary of label maps: values that fit into uint8 and stay where files have them."""

from __future__ import annotations

from monai_nce.virtual.structures import STRUCTURES


def test_values_count_from_zero() -> None:
    assert list(STRUCTURES.values()) == list(range(len(STRUCTURES)))
    assert len(STRUCTURES) <= 256


def test_values_that_files_rely_on() -> None:
    assert STRUCTURES["background"] == 0
    assert STRUCTURES["body"] == 1
    assert STRUCTURES["effusion"] == len(STRUCTURES) - 1
