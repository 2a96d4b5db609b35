from __future__ import annotations

import json
from pathlib import Path

import pytest

from monai_nce.cli.app import main
from monai_nce.weights_store import VARIABLE


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "store"))
    monkeypatch.setenv("COLUMNS", "80")
    return tmp_path / "store"


def test_weights_go_from_one_store_to_another(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    archive = str(tmp_path / "a.zip")
    assert main(["weights", "export", "default", "-o", archive, "--name", "ours"]) == 0
    assert f"{archive}: ours, 7.7 MB" in capsys.readouterr().out
    assert main(["weights", "show", archive]) == 0
    assert not store.exists()
    assert "144 virtual patients" in capsys.readouterr().out
    assert main(["weights", "import", archive]) == 0
    assert "nce enhance --weights ours" in capsys.readouterr().out
    assert main(["weights", "import", archive]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    (store / "broken").mkdir()
    (store / "broken" / "model.pt").write_text("hello")
    assert main(["weights", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in lines] == ["default", "broken", "ours"]
    assert "NECT to CECT" in lines[2] and "not a readable checkpoint" in lines[1]


def test_json_for_programs(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["weights", "list", "--json"]) == 0
    (listed,) = json.loads(capsys.readouterr().out)
    assert main(["weights", "show", "default", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert listed["path"] == shown["path"] and (shown["source"], shown["spacing"]) == ("NECT", 2.6667)
    assert main(["weights", "export", "default", "-o", str(tmp_path / "a.zip")]) == 0
    capsys.readouterr()
    assert main(["weights", "show", str(tmp_path / "a.zip"), "--json"]) == 0
    packed = json.loads(capsys.readouterr().out)
    assert packed["sha256"] == shown["sha256"] and packed["auxiliary"] == str(tmp_path / "a.zip" / "auxiliary.pt")


def test_a_licence_cannot_command_the_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    archive = str(tmp_path / "a.zip")
    licence = "free\x1b[2J\x07 [bold]of[/bold] charge"
    assert main(["weights", "export", "default", "-o", archive, "--licence", licence]) == 0
    assert main(["weights", "show", archive]) == 0
    said = capsys.readouterr().out
    assert "\x1b" not in said and "\x07" not in said and "[bold]of[/bold] charge" in said


def test_unknown_weights_are_answered_with_the_known_ones(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["weights", "show", "other"]) == 2
    assert "one of default but got other" in capsys.readouterr().err
