"""A cell's own parts: data sets that are made once, and refusals in one line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from benchmarks.cell import folder_name, main, parse_folder_name, prepare
from monai_nce.data import read_datalist, read_datalist_file
from monai_nce.phantom import write_phantom_dataset

REPOSITORY = Path(__file__).parents[2]


def write_ixi(folder, subjects=3):
    random = np.random.default_rng(0)
    folder.mkdir()
    for subject in range(subjects):
        for kind in ("T2", "PD"):
            image = nib.Nifti1Image(random.random((8, 8, 6), dtype=np.float32) * 100, np.diag([2.0, 2.0, 2.0, 1.0]))
            nib.save(image, folder / f"IXI{subject:03d}-Guys-0700-{kind}.nii.gz")
    return str(folder)


@pytest.mark.parametrize(
    ("place", "name"),
    [
        (("joint", None, 0), "joint_s0"),
        (("single", 0.05, 12), "single_k0.05_s12"),
        (("cycle", 0.0, 1), "cycle_k0_s1"),
        (("oracle", 1e-05, 0), "oracle_k1e-05_s0"),
    ],
)
def test_a_cells_folder_says_what_it_is(place, name):
    assert folder_name(*place) == name and parse_folder_name(name) == place


@pytest.mark.parametrize("name", ["joint_s0_old", "joint", "joint_k_s0", "joint_k0.05", "copy of joint_s0"])
def test_other_folders_are_no_cells(name):
    assert parse_folder_name(name) is None


def test_ixi_is_prepared_with_its_distortion_and_once(tmp_path):
    folder = write_ixi(tmp_path / "ixi")
    settings = {"t2": folder, "pd": folder, "distortion": 0.05, "seed": 0, "size": 64, "slices": 4}
    prepare("ixi", tmp_path / "set", settings)
    items = read_datalist(tmp_path / "set")
    assert len(items) == 3 and {item["split"] for item in items} == {"training", "test"}
    written = (tmp_path / "set" / "datalist.json").stat().st_mtime_ns
    prepare("ixi", tmp_path / "set", settings)
    assert (tmp_path / "set" / "datalist.json").stat().st_mtime_ns == written


def test_registration_is_of_the_data_set_that_is_named(tmp_path):
    phantom = write_phantom_dataset(tmp_path / "set", patients=3, size=64, slices=4, progress=False)
    prepare("registered", tmp_path / "affine", {"dataset_dir": str(phantom), "method": "affine", "seed": 0})
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
