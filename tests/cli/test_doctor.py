from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from monai_nce.cli import machine_checks
from monai_nce.cli.app import main
from monai_nce.cli.machine_checks import MISSING, OK, WARNING, Finding


def checks(monkeypatch: pytest.MonkeyPatch, *statuses: str) -> None:
    def check() -> Iterator[Finding]:
        for status in statuses:
            yield Finding("thing", status, f"it is [bold]{status}[/bold]")

    monkeypatch.setattr(machine_checks, "CHECKS", {"thing": check})
    monkeypatch.setattr(machine_checks, "check_speed", lambda weights: iter([Finding("speed", OK, weights)]))


@pytest.mark.parametrize(("statuses", "exit_status"), [((OK, WARNING), 0), ((OK, MISSING), 1)])
def test_one_line_each_and_status_1_if_something_is_missing(
    statuses: tuple[str, ...], exit_status: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    checks(monkeypatch, *statuses)
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["doctor"]) == exit_status
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines == [
        *([status, "thing", "it", "is", f"[bold]{status}[/bold]"] for status in statuses),
        [OK, "speed", "default"],
    ]


def test_json_and_no_speed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    checks(monkeypatch, OK)
    assert main(["doctor", "--json", "--no-speed"]) == 0
    assert json.loads(capsys.readouterr().out) == [{"name": "thing", "status": "ok", "text": "it is [bold]ok[/bold]"}]
