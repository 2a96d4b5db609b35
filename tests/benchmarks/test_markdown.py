"""Tests of tables in Markdown."""

from __future__ import annotations

from benchmarks.markdown import markdown_table


def test_a_head_and_its_rows() -> None:
    assert markdown_table(["a", "b"], [["1", ""], ["2", "x"]]) == "| a | b |\n| --- | --- |\n| 1 |  |\n| 2 | x |"
