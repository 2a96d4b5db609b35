from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from data_prep import register
from data_prep.__main__ import main
from data_prep.register import register_dataset
from data_prep.registration import grid_points
from data_prep.synthetic_source import AuxiliaryNetwork
from monai_nce.data.dataset.datalist import read_datalist, read_datalist_file
from monai_nce.data.dataset.writer import DatasetWriter
from monai_nce.errors import InputError
from monai_nce.handlers import TrainedFor
from monai_nce.phantom.dataset import write_phantom_dataset
from monai_nce.transforms.window import WindowHU
from tests.data_prep.test_synthetic_source import weights


@pytest.fixture(scope="module")
def phantom(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_phantom_dataset(tmp_path_factory.mktemp("set"), patients=5, size=32, slices=8, progress=False)


class Plus:
    """Adds to the moving volume what it has been told, and its first spacing."""

    learns = True

    def __init__(self) -> None:
        self.seen = 0

    def fit(self, pairs):
        self.seen = len(pairs)

    def register(self, fixed, moving, spacing):
        return moving + np.float32(self.seen) + np.rint(10 * spacing[0])

    def settings(self):
        return {"plus": 1}


@pytest.fixture
def plus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(register, "make_registration", lambda *args, **kwargs: Plus())


def voxels(item: dict[str, str], role: str) -> np.ndarray:
    return register._voxels(register._open(item[role]))


def test_only_the_training_sources_change(phantom: Path, tmp_path: Path, plus: None) -> None:
    out = register_dataset(phantom, tmp_path / "out", "affine", progress=False)
    before, after = read_datalist(phantom), read_datalist(out)
    assert [(i["patient"], i["split"]) for i in after] == [(i["patient"], i["split"]) for i in before]
    for old, new in zip(before, after, strict=True):
        assert old.keys() == new.keys()
        assert Path(new["source"]).is_relative_to(out.resolve())
        for role in ("target", "aligned_source", "labels"):
            assert Path(new[role]).read_bytes() == Path(old[role]).read_bytes()
        # 3 training patients of 5; pixels of 10.67 mm
        added = 3 + 107 if old["split"] == "training" else 0
        np.testing.assert_array_equal(voxels(new, "source"), voxels(old, "source") + added)


def test_what_it_says_of_itself(phantom: Path, tmp_path: Path, plus: None) -> None:
    made = read_datalist_file(register_dataset(phantom, tmp_path / "out", "bspline", progress=False))
    original = read_datalist_file(phantom)
    assert made["name"] == "monai-nce phantom, registered (bspline)"
    for key in ("licence", "source_domain", "target_domain"):
        assert made[key] == original[key]
    provenance = made["provenance"]
    assert provenance["method"] == "bspline"
    assert provenance["settings"] == {"plus": 1}
    assert provenance["registered_patients"] == 3
    assert provenance["labels"] == original["provenance"]["labels"]
    assert provenance["original"] == {k: v for k, v in original["provenance"].items() if k != "labels"}


class Shift:
    """Takes each voxel from the next row, and remembers what it was to register to."""

    learns = False
    window = WindowHU()

    def __init__(self) -> None:
        self.fixed = []

    def points(self, fixed, moving, spacing):
        self.fixed.append(np.array(fixed))
        points = grid_points(fixed.shape, spacing)
        points[0] += np.float32(spacing[0])
        return points

    def settings(self):
        return {}


def test_with_an_auxiliary_network_sources_are_registered_to_what_it_makes_of_the_targets(
    phantom: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shift, asked = Shift(), {}
    monkeypatch.setattr(register, "make_registration", lambda method, **options: asked.update(options) or shift)
    spacing = np.abs(register._open(read_datalist(phantom)[0]["target"]).affine[0, 0])
    trained_for = TrainedFor("NECT", "CECT", 50, 300, float(spacing), 3).reversed()
    auxiliary = weights(tmp_path / "auxiliary.pt", trained_for)
    out = register_dataset(phantom, tmp_path / "out", "bspline", auxiliary=auxiliary, progress=False)
    assert asked["similarity"] == "correlation"
    before, after = read_datalist(phantom), read_datalist(out)
    network = AuxiliaryNetwork(auxiliary, WindowHU(), float(spacing))
    counted = json.loads((out / "report.json").read_text())["voxels_that_count"]
    for old, new in zip(before, after, strict=True):
        if old["split"] != "training":
            assert old.keys() == new.keys()
            continue
        synthetic, source = voxels(new, "synthetic_source"), voxels(new, "source")
        np.testing.assert_array_equal(synthetic, np.rint(network(voxels(old, "target"))))
        assert any(np.array_equal(synthetic, fixed) for fixed in shift.fixed)
        np.testing.assert_array_equal(source[:-1], voxels(old, "source")[1:])
        # the last row comes from beyond the scan; 60 HU are 0.4 on [-1, 1]
        residual = np.abs(np.clip(source, -100, 200) - synthetic.astype(float))
        residual[-1] = 300
        mask, known = voxels(new, "mask"), residual != 60
        np.testing.assert_array_equal(mask[known], residual[known] < 60)
        assert counted[new["patient"]] == pytest.approx(mask.mean(), abs=1e-4) and 0 < mask.mean() < 1
    made = read_datalist_file(out)
    assert made["name"] == "monai-nce phantom, registered (bspline, to synthetic sources)"
    assert made["provenance"]["auxiliary"] == {"source": "CECT", "target": "NECT"}
    assert made["provenance"]["largest_residual"] == 0.4
    # registered once more, by itself: what the network made is not taken over
    shift.register = lambda fixed, moving, spacing: moving
    again = register_dataset(out, tmp_path / "again", "affine", progress=False, similarity="mean_squares")
    assert asked["similarity"] == "mean_squares"
    assert all(old.keys() == new.keys() for old, new in zip(before, read_datalist(again), strict=True))


def test_weights_of_other_data_are_refused_before_anything_is_written(
    phantom: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = weights(tmp_path / "auxiliary.pt")
    given = ["--method", "affine", "--auxiliary", str(path), "--output_dir", str(tmp_path / "out")]
    assert main(["register", str(phantom), *given]) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith(f"error: {path}: trained for pixels of 2.0 mm, not for pixels of 10.6")
    assert not (tmp_path / "out").exists()


def unpaired(folder: Path, roles: dict[str, tuple[str, ...]], shape: tuple[int, int, int] = (8, 8, 8)) -> Path:
    with DatasetWriter(folder, name="set", description="d", licence="l") as dataset:
        for patient, given in roles.items():
            volumes = {role: np.zeros(shape) for role in given}
            dataset.add("training", patient, np.diag([2, 2, 2, 1]), **volumes)
    return folder


def test_patients_without_a_pair_are_left_out(tmp_path: Path, plus: None) -> None:
    given = unpaired(tmp_path / "set", {"a": ("source", "target"), "b": ("source",), "c": ("target",)})
    with pytest.warns(UserWarning, match="2 training patients without source or target are left out: b, c"):
        out = register_dataset(given, tmp_path / "out", "affine", progress=False)
    assert [item["patient"] for item in read_datalist(out)] == ["a"]


def test_bad_input_is_refused_and_leaves_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lone = unpaired(tmp_path / "lone", {"a": ("source",), "b": ("target",)})
    flat = unpaired(tmp_path / "flat", {"a": ("source", "target")}, (8, 8, 3))
    fine = unpaired(tmp_path / "fine", {"a": ("source", "target")})
    out = tmp_path / "out"
    for dataset, options, message in (
        (lone, [], "no training patient has both a source and a target"),
        (flat, [], r"a_source.nii: expected 4 voxels or more on each axis but got (8, 8, 3)"),
        (tmp_path / "none", [], "no such data set folder"),
        (fine, ["--window-width", "0"], "--window_width: expected a number above 0 but got 0"),
        (fine, ["--out-dir", str(fine), "--overwrite"], "expected another folder than that of the data set"),
    ):
        assert main(["register", str(dataset), "--method", "affine", "--out-dir", str(out), *options]) == 2
        line = capsys.readouterr().err.splitlines()[-1]
        assert line.startswith("error: ")
        assert message in line
        assert not out.exists()
    with pytest.raises(InputError, match="expected one of affine, bspline, voxelmorph but got 'rigid'"):
        register_dataset(fine, out, "rigid")


def test_a_failed_registration_names_the_patient(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    constant = unpaired(tmp_path / "set", {"a": ("source", "target")})
    out = tmp_path / "out"
    assert main(["register", str(constant), "--method", "affine", "--out-dir", str(out)]) == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith("error: patient a: cannot be registered: ")
    assert not out.exists()


def test_what_is_done_early_waits_for_its_turn(phantom: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def last_first(function, given, workers):
        return reversed([function(one) for one in given])

    class Shape(Plus):
        """Each patient's source becomes a number of its own."""

        learns = False

        def register(self, fixed, moving, spacing):
            return np.full_like(moving, int(moving.astype(np.int64).sum()) % 1000)

    monkeypatch.setattr(register, "make_registration", lambda *args, **kwargs: Shape())
    monkeypatch.setattr(register, "in_processes", last_first)
    out = register_dataset(phantom, tmp_path / "out", "affine", workers=2, progress=False)
    before, after = read_datalist(phantom, "training"), read_datalist(out, "training")
    numbers = [int(voxels(item, "source").astype(np.int64).sum()) % 1000 for item in before]
    assert len(set(numbers)) == len(numbers) == 3
    assert [voxels(item, "source").flat[0] for item in after] == numbers


def test_the_command_twice(phantom: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["register", str(phantom), "--method", "affine", "--out-dir"]
    assert main([*command, str(tmp_path / "a")]) == 0
    assert "register, affine" in capsys.readouterr().err
    assert main([*command, str(tmp_path / "b")]) == 0
    assert main([*command, str(tmp_path / "b")]) == 2
    for name in os.listdir(tmp_path / "a" / "volumes"):
        assert (tmp_path / "a" / "volumes" / name).read_bytes() == (tmp_path / "b" / "volumes" / name).read_bytes()
    assert json.loads((tmp_path / "a" / "datalist.json").read_text())["numTraining"] == 3


@pytest.mark.slow
def test_several_workers_give_the_same(phantom: Path, tmp_path: Path) -> None:
    one = register_dataset(phantom, tmp_path / "one", "affine", progress=False)
    two = register_dataset(phantom, tmp_path / "two", "affine", workers=2, progress=False)
    for a, b in zip(read_datalist(one, "training"), read_datalist(two, "training"), strict=True):
        assert Path(a["source"]).read_bytes() == Path(b["source"]).read_bytes()


@pytest.mark.slow
def test_a_failure_in_a_worker_names_the_patient(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    constant = unpaired(tmp_path / "set", {"a": ("source", "target"), "b": ("source", "target")})
    out = tmp_path / "out"
    assert main(["register", str(constant), "--method", "affine", "--workers", "2", "--out-dir", str(out)]) == 2
    assert re.match("error: patient [ab]: cannot be registered: ", capsys.readouterr().err.splitlines()[-1])
    assert not out.exists()


@pytest.mark.slow
def test_voxelmorph_through_the_command(phantom: Path, tmp_path: Path) -> None:
    assert main(["register", str(phantom), "--method", "voxelmorph", "--out-dir", str(tmp_path / "out")]) == 0
    assert read_datalist_file(tmp_path / "out")["provenance"]["method"] == "voxelmorph"


def test_phase_and_level_stay(phantom: Path, tmp_path: Path, plus: None) -> None:
    shutil.copytree(phantom, tmp_path / "set")
    path = tmp_path / "set" / "datalist.json"
    content = json.loads(path.read_text())
    content["training"][0].update(phase="portal", level=1.25)
    path.write_text(json.dumps(content))
    first, *others = read_datalist(register_dataset(tmp_path / "set", tmp_path / "out", "affine", progress=False))
    assert (first["phase"], first["level"]) == ("portal", 1.25)
    assert not any({"phase", "level"} & item.keys() for item in others)
