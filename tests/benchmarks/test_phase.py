from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.phase import main


@pytest.mark.slow
def test_phantoms_are_decided_by_their_images(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["--phantoms", "1", "--virtual", "0", "--data", str(tmp_path), "--out", str(tmp_path / "x.json")])
    rows = json.loads((tmp_path / "x.json").read_text())["rows"]
    assert [(row["group"], row["shows"], row["scans"]) for row in rows] == [
        ("phantom", "nect", 1),
        ("phantom", "cect", 1),
    ]
    assert all(row["both"] == row["image"] == {"right": 1, "wrong": 0} for row in rows)
    assert all(row["written"] == {"right": 0, "wrong": 0} for row in rows)
    assert "| phantom | cect | 1 | 0 / 0 | 1 / 0 | 1 / 0 |" in capsys.readouterr().out
