"""Cells in child processes, here of a stand-in: what is made once, what is said of a failure, and how far they are."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from benchmarks import runner
from benchmarks.plan import Cell, DataSet
from benchmarks.runner import Runner, how_far

CHILD = """
import json, os, pathlib, sys
spec = json.load(open(sys.argv[1]))
assert spec["parent"] == os.getppid() and os.environ["OMP_NUM_THREADS"] == "1"
if "prepare" in spec:
    folder = pathlib.Path(spec["prepare"]["out_dir"])
    folder.mkdir(parents=True)
    (folder / "datalist.json").touch()
    print("made", spec["prepare"]["kind"])
elif spec["train"]["seed"] == 1:
    sys.exit("error: no luck\\n")
else:
    assert pathlib.Path(spec["train"]["dataset_dir"], "datalist.json").exists()
"""


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "CHILD", (sys.executable, "-c", CHILD))


def cells(folder: Path, count: int) -> list[Cell]:
    base = DataSet(folder / "data" / "acquired", "phantom")
    data = DataSet(folder / "data" / "moved", "registered", base=base)
    return [Cell("affine", None, seed, data, ["train"], {}, folder / f"affine_s{seed}") for seed in range(count)]


@pytest.mark.usefixtures("stand_in")
def test_a_data_set_and_its_base_are_made_once_and_a_failure_stops_no_other(tmp_path):
    finished = []
    failures = Runner(jobs=3, threads=1).run(cells(tmp_path, 3), 0, lambda: finished.append(True))
    log = tmp_path / "affine_s1" / "log.txt"
    assert failures == [f"affine, seed 1: no luck (status 1, {log})"]
    assert len(finished) == 3
    for name, kind in (("acquired", "phantom"), ("moved", "registered")):
        assert (tmp_path / "data" / f"{name}_log" / "log.txt").read_text().split() == ["made", kind]
    spec = json.loads((tmp_path / "affine_s0" / "spec.json").read_text())
    assert spec["train"] == cells(tmp_path, 1)[0].spec


@pytest.mark.usefixtures("stand_in")
def test_a_file_in_the_way_is_one_cells_failure(tmp_path):
    first, second = cells(tmp_path, 1)[0], cells(tmp_path, 3)[2]
    first.path.write_text("in the way")
    (failure,) = Runner(jobs=1, threads=1).run([first, second], 0, lambda: None)
    assert failure.startswith("affine, seed 0: ") and (second.path / "log.txt").read_text() == ""


def test_how_far_a_cell_is_says_its_last_bar(tmp_path):
    folder = tmp_path / "joint_s0"
    assert how_far(folder) == "joint_s0"  # no log yet
    folder.mkdir()
    (folder / "log.txt").write_bytes(b"x" * 5000 + b"\n\rclassifier:   0%|  \rstage 1: epoch 2:  40%|\xe2\x96\x88 ")
    assert how_far(folder) == "joint_s0: stage 1: epoch 2 40 %"
