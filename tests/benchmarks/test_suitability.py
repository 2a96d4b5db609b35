from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.suitability import main, measure


@pytest.mark.slow
def test_phantoms_and_figures_are_told_apart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["--draws", "1", "--virtual", "0", "--data", str(tmp_path), "--out", str(tmp_path / "x.json")])
    rows = json.loads((tmp_path / "x.json").read_text())["rows"]
    assert rows == measure(None, virtual=0, draws=1)
    assert {row["group"] for row in rows} == {"phantom", "ellipses"}
    assert all(row["doubted"] == 0 for row in rows if row["shows"] == "fit" and row["part"] == "whole")
    assert all(row["right"] > 0 for row in rows if row["shows"] != "fit" and row["part"] == "whole")
    assert "| shows | scans | part | doubted | for that reason |" in capsys.readouterr().out
