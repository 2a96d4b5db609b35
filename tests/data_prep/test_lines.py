from __future__ import annotations

import pytest

from data_prep.lines import MAX_LINES, Lines, one_line, say

Output = pytest.CaptureFixture[str]


def test_a_name_with_a_line_break_stays_one_line() -> None:
    assert one_line("a\nb\x1b[2J\u2028c é") == "a\ufffdb\ufffd[2J\ufffdc é"


@pytest.mark.parametrize(
    ("count", "shown", "last"), [(3, 3, "line 2"), (20, 20, "line 19"), (25, 20, "... and 6 lines more")]
)
def test_few_lines_in_full_and_many_counted(count: int, shown: int, last: str, capsys: Output) -> None:
    say([f"line {i}" for i in range(count)])
    lines = capsys.readouterr().err.splitlines()
    assert (len(lines), lines[-1]) == (shown, last)


def test_lines_that_come_bit_by_bit(capsys: Output) -> None:
    lines = Lines("report.json")
    for i in range(MAX_LINES + 2):
        lines.add([f"line\n{i}"])
    lines.close()
    shown = capsys.readouterr().err.splitlines()
    assert shown[0] == "line\ufffd0"
    assert len(shown) == MAX_LINES + 1 and shown[-1] == "... and 2 lines more, see report.json"


def test_few_lines_are_not_counted(capsys: Output) -> None:
    lines = Lines("report.json")
    lines.add(["one"])
    lines.close()
    assert capsys.readouterr().err.splitlines() == ["one"]
