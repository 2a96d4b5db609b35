"""Cells: data sets that are made once, refusals in one line, and, of a stand-in, what is said of failures."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from benchmarks import cell
from benchmarks.cell import Cell, DataSet, Runner, _how_far, main, prepare
from monai_nce.data import read_datalist, read_datalist_file
from monai_nce.phantom import write_phantom_dataset

REPOSITORY = Path(__file__).parents[2]
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


def write_ixi(folder, subjects=3):
    random = np.random.default_rng(0)
    folder.mkdir()
    for subject in range(subjects):
        for kind in ("T2", "PD"):
            image = nib.Nifti1Image(random.random((8, 8, 6), dtype=np.float32) * 100, np.diag([2.0, 2.0, 2.0, 1.0]))
            nib.save(image, folder / f"IXI{subject:03d}-Guys-0700-{kind}.nii.gz")
    return str(folder)


def test_ixi_is_prepared_with_its_distortion(tmp_path):
    folder = write_ixi(tmp_path / "ixi")
    settings = {"t2": folder, "pd": folder, "distortion": 0.05, "seed": 0, "size": 64, "slices": 4}
    prepare("ixi", str(tmp_path / "set"), settings)
    items = read_datalist(tmp_path / "set")
    assert len(items) == 3 and {item["split"] for item in items} == {"training", "test"}


def test_registration_is_of_the_data_set_that_is_named(tmp_path):
    phantom = write_phantom_dataset(tmp_path / "set", patients=3, size=64, slices=4, progress=False)
    prepare("registered", str(tmp_path / "affine"), {"dataset_dir": str(phantom), "method": "affine", "seed": 0})
    assert "affine" in read_datalist_file(tmp_path / "affine")["name"]


def test_wrong_input_is_one_line_and_status_2(tmp_path, capsys):
    spec = {"prepare": {"kind": "ixi", "out_dir": str(tmp_path / "set"), "settings": {"t2": "no", "pd": "no"}}}
    (tmp_path / "spec.json").write_text(json.dumps(spec))
    assert main(str(tmp_path / "spec.json")) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: no") and error.count("\n") == 1
    assert not (tmp_path / "set").exists()


def test_a_cell_whose_table_is_gone_leaves_at_once(tmp_path):
    prepare = {"kind": "phantom", "out_dir": str(tmp_path / "set"), "settings": {"patients": 200, "size": 256}}
    # no process has a parent of id 0 but the first: this one's table ended while it was loading
    (tmp_path / "spec.json").write_text(json.dumps({"prepare": prepare, "parent": 0}))
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.cell", str(tmp_path / "spec.json")],
        cwd=REPOSITORY,
        timeout=120,
        capture_output=True,
    )
    assert done.returncode == 1 and not (tmp_path / "set" / "datalist.json").exists()


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cell, "CHILD", (sys.executable, "-c", CHILD))


def cells(folder: Path, count: int) -> list[Cell]:
    base = DataSet(folder / "data" / "acquired", "phantom")
    data = DataSet(folder / "data" / "moved", "registered", base=base)
    return [Cell("affine", None, seed, data, ["train"], {}, folder / f"affine_s{seed}") for seed in range(count)]


@pytest.mark.usefixtures("stand_in")
def test_a_data_set_and_its_base_are_made_once_and_a_failure_stops_no_other(tmp_path):
    finished = []
    failures = Runner(jobs=3, threads=1).run(cells(tmp_path, 3), 0, lambda: finished.append(True))
    log = tmp_path / "affine_s1" / "log.txt"
    assert failures == [f"affine_s1: no luck (status 1, {log})"]
    assert len(finished) == 3
    for name, kind in (("acquired", "phantom"), ("moved", "registered")):
        assert (tmp_path / "data" / f"{name}_log" / "log.txt").read_text().split() == ["made", kind]
    spec = json.loads((tmp_path / "affine_s0" / "spec.json").read_text())
    assert spec["train"] == cells(tmp_path, 1)[0].spec


@pytest.mark.usefixtures("stand_in")
def test_a_cell_that_a_data_set_is_made_with_is_trained_before_and_once(tmp_path, monkeypatch):
    writes = (
        CHILD + "pathlib.Path(sys.argv[1]).with_name('cell.json').write_text(json.dumps({'spec': spec.get('train')}))"
    )
    monkeypatch.setattr(cell, "CHILD", (sys.executable, "-c", writes + "\nprint('done')"))
    (teacher,) = cells(tmp_path, 1)
    data = DataSet(tmp_path / "data" / "taught", "registered", base=teacher.data.base, cell=teacher)
    taught = [Cell("registered", None, seed, data, ["train"], {}, tmp_path / f"registered_s{seed}") for seed in (0, 2)]
    assert Runner(jobs=3, threads=1).run([*taught, teacher], 0, lambda: None) == []
    assert (teacher.path / "log.txt").read_text().split() == ["done"]
    assert all((one.path / "log.txt").read_text().split() == ["done"] for one in taught)


@pytest.mark.usefixtures("stand_in")
def test_a_file_in_the_way_is_one_cells_failure(tmp_path):
    first, second = cells(tmp_path, 1)[0], cells(tmp_path, 3)[2]
    first.path.write_text("in the way")
    (failure,) = Runner(jobs=1, threads=1).run([first, second], 0, lambda: None)
    assert failure.startswith("affine_s0: ") and (second.path / "log.txt").read_text() == ""


def test_how_far_a_cell_is_says_its_last_bar(tmp_path):
    folder = tmp_path / "joint_s0"
    assert _how_far(folder) == "joint_s0"  # no log yet
    folder.mkdir()
    (folder / "log.txt").write_bytes(b"x" * 5000 + b"\n\rclassifier:   0%|  \rstage 1: epoch 2:  40%|\xe2\x96\x88 ")
    assert _how_far(folder) == "joint_s0: stage 1: epoch 2 40 %"
