from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from data_prep.messages import MAX_LINES, MessageLog, one_line, progress_bar, redact, say
from monai_nce.data.scans.found import FoundVolume

Output = pytest.CaptureFixture[str]


def test_a_name_with_a_line_break_stays_one_line() -> None:
    assert one_line("a\nb\x1b[2J\u2028c é") == "a\ufffdb\ufffd[2J\ufffdc é"


@pytest.mark.parametrize(
    ("count", "shown", "last"), [(3, 3, "line 2"), (20, 20, "line 19"), (25, 20, "... and 6 lines more")]
)
def test_few_lines_in_full_and_many_counted(count: int, shown: int, last: str, capsys: Output) -> None:
    say(*[f"line {i}" for i in range(count)])
    lines = capsys.readouterr().err.splitlines()
    assert (len(lines), lines[-1]) == (shown, last)


def test_lines_that_come_bit_by_bit(capsys: Output) -> None:
    lines = MessageLog("report.json")
    for i in range(MAX_LINES + 2):
        lines.add([f"line\n{i}"])
    lines.close()
    shown = capsys.readouterr().err.splitlines()
    assert shown[0] == "line\ufffd0"
    assert len(shown) == MAX_LINES + 1 and shown[-1] == "... and 2 lines more, see report.json"


def test_few_lines_are_not_counted(capsys: Output) -> None:
    lines = MessageLog("report.json")
    lines.add(["one"])
    lines.close()
    assert capsys.readouterr().err.splitlines() == ["one"]


FOLDER = Path("/archive/DOE^JANE/nativ")
SERIES = FoundVolume(
    "dicom", FOLDER, (FOLDER / "DOE 001.dcm", FOLDER / "7"), patient_id="X-4711", series_uid="1.2.3", study_uid="1.2"
)


@pytest.mark.parametrize(
    ("text", "left"),
    [
        (f"{FOLDER}: slices not axial", "slices not axial"),
        (f"{FOLDER}/DOE 001.dcm: has no Rows", "has no Rows"),
        (f"{FOLDER}: two different slices at position 27.50 mm: DOE 001.dcm and 7", "two different slices at position"
         " 27.50 mm: … and …"),
        ("patient X-4711 has 17 slices", "patient … has 17 slices"),
        ("series 1.2.3", "series …"),
        (f"{FOLDER.parent}: 3 of 9", "3 of 9"),
    ],
)  # fmt: skip
def test_nothing_says_who_it_is(text: str, left: str) -> None:
    assert redact(text, [SERIES]) == left


def test_messages_stand_above_a_bar_that_fits_80_columns(on_terminal: Callable[..., str]) -> None:
    def work() -> None:
        for number in progress_bar(range(3), "register, voxelmorph", "patient", total=1000):
            say(f"warning: {number}")

    rows = [line.rstrip("\r").split("\r") for line in on_terminal(work).split("\n")]
    # each message is alone on its row: what the bar drew there before was overwritten by blanks
    assert [(row[-2].strip(), row[-1]) for row in rows[:3]] == [("", f"warning: {number}") for number in range(3)]
    assert rows[3][-1].startswith("register, voxelmorph: ")
    assert max(len(text) for row in rows for text in row) <= 80
