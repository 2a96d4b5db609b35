from __future__ import annotations

import io
import json
import sys
from typing import Any

import pytest

from monai_nce import terminal
from monai_nce.terminal import GO_ON, JSON, OUTPUT, QUIET, go_on, progress_bar, tell_event, tell_result, use_output


@pytest.fixture(autouse=True)
def as_nobody_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(OUTPUT, raising=False)
    monkeypatch.delenv(GO_ON, raising=False)


def work(**more: Any) -> None:
    assert list(progress_bar(range(3), name="work", unit="part", **more)) == [0, 1, 2]


def test_a_log_gets_one_line_of_80_columns(capfd: pytest.CaptureFixture[str]) -> None:
    bar = progress_bar(name="a stage with a long name", unit="it", total=2)
    bar.set_postfix_str("a=1.000 b=2.000 c=3.000 d=4.000", refresh=False)
    bar.update(2)
    bar.close()
    said = capfd.readouterr()
    (line,) = said.err.splitlines()
    assert line.startswith("a stage with a long name: 100%") and len(line) <= 80 and not said.out


def test_what_passes_leaves_nothing_in_a_log(capfd: pytest.CaptureFixture[str]) -> None:
    work(passing=True)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("passing", [True, False])
def test_a_terminal_gets_a_bar_that_fits(
    passing: bool, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "80")
    work(passing=passing)
    drawn = capfd.readouterr().err
    assert "work: 100%" in drawn or passing
    assert drawn.endswith("\r" if passing else "\n") and max(map(len, drawn.split("\r"))) <= 81


def test_quiet_shows_results_alone(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(OUTPUT, QUIET)
    monkeypatch.setattr(sys, "stdout", sys.stdout)  # put back in the end
    monkeypatch.setattr(sys, "__stdout__", sys.stdout)
    use_output()
    print("a note")
    work()
    tell_event("error", message="none listens")
    tell_result("done", number=1)
    assert capfd.readouterr() == ("done\n", "")


def test_a_program_gets_an_object_a_line(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(OUTPUT, JSON)
    monkeypatch.setattr(sys, "stdout", sys.stdout)
    monkeypatch.setattr(sys, "__stdout__", sys.stdout)
    monkeypatch.setattr(terminal, "JSON_SECONDS", 0.0)
    use_output()
    print("a note")
    work(passing=True)
    tell_result("done", number=1)
    said = capfd.readouterr()
    assert said.err == "a note\n"
    *progress, result = map(json.loads, said.out.splitlines())
    assert result == {"event": "result", "number": 1}
    assert {one["event"] for one in progress} == {"progress"} and {one["name"] for one in progress} == {"work"}
    assert (progress[-1]["done"], progress[-1]["total"], progress[-1]["unit"]) == (3, 3, "part")
    assert progress[-1]["seconds_left"] == 0


def test_without_nce_a_result_is_a_line_where_output_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    tell_result("done", number=1)
    assert sys.stdout.getvalue() == "done\n"


def test_how_to_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    assert go_on("--resume True") == "go on with --resume True"
    monkeypatch.setenv(GO_ON, "nce train --resume -o 'a b'")
    assert go_on("--resume True") == "go on with: nce train --resume -o 'a b'"
