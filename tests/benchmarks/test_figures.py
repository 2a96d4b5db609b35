"""Figures from finished cells: the right networks on the right patients, and clear words where there are none."""

from __future__ import annotations

import json
import shutil
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser

from benchmarks import figures
from benchmarks.cell import DataSet
from benchmarks.figures import draw_figures, main
from benchmarks.plan import plan
from data_prep.register import register_dataset
from monai_nce import visualize
from monai_nce.data import read_datalist
from monai_nce.phantom import write_phantom_dataset
from monai_nce.visualize import Display, FigureRow

TINY = {
    "network_def#channels": [8, 8],
    "network_def#hidden_channels": 8,
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table's folder whose networks are as initialised: the residual generator leaves its input as it is."""
    folder = tmp_path_factory.mktemp("figures")
    dataset = write_phantom_dataset(folder / "set", patients=4, size=64, slices=4, progress=False)
    register_dataset(dataset, folder / "registered", "affine", progress=False)
    for cell in plan(str(dataset), ["affine", "separate", "oracle"], [], [0], "small", folder, overrides=TINY):
        parser = ConfigParser(json.loads((Path(figures.CONFIGS) / "train.json").read_text()))
        parser.update(TINY)
        network = parser.get_parsed_content("network_def", instantiate=True)
        (cell.path / "models").mkdir(parents=True)
        for name in ("model.pt", "auxiliary.pt"):
            torch.save(network.state_dict(), cell.path / "models" / name)
        data = DataSet(folder / "registered") if cell.method == "affine" else cell.data
        spec = {**cell.spec, "dataset_dir": str(data.path)}
        (cell.path / "cell.json").write_text(json.dumps({"spec": spec}))
    return folder


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> dict:
    """What the drawing functions are given, in place of pictures."""
    kept: dict = {}

    def draw(name: str, rows: list[FigureRow], display: Display) -> SimpleNamespace:
        kept[name] = (rows, display)
        return SimpleNamespace(save=lambda path: None)

    for name in ("draw_registration", "draw_synthetic_source", "draw_comparison"):
        monkeypatch.setattr(visualize, name, partial(draw, name))
    return kept


def volume(path: str) -> np.ndarray:
    return np.asarray(nib.load(path).dataobj, dtype=float)


def test_methods_are_compared_on_the_aligned_source_of_test_patients(trained, drawn):
    draw_figures(trained)
    rows, display = drawn["draw_comparison"]
    item = read_datalist(trained / "set", "test")[0]
    assert rows[0].title.startswith(item["patient"]) and list(rows[0].made) == ["separate", "oracle"]
    assert (display.source_name, display.window_width, display.unit) == ("NECT", 300, "HU")
    z = int(rows[0].title.split("slice ")[1].split(" ")[0]) - 1
    source, target = volume(item["aligned_source"]), volume(item["target"])
    np.testing.assert_allclose(rows[0].source, source[..., z])
    np.testing.assert_allclose(rows[0].target, target[..., z])
    # an untrained residual generator gives its input, back in HU and within the window
    np.testing.assert_allclose(rows[0].made["separate"], source[..., z].clip(-100, 200), atol=0.01)
    change = [np.abs(target[..., i].clip(-100, 200) - source[..., i].clip(-100, 200)).mean() for i in range(4)]
    assert z == int(np.argmax(change))


def test_the_auxiliary_network_is_given_the_target(trained, drawn):
    draw_figures(trained)
    (row, *_), _ = drawn["draw_synthetic_source"]
    np.testing.assert_allclose(row.made["synthetic NECT"], row.target.clip(-100, 200), atol=0.01)
    assert not np.array_equal(row.source, row.aligned_source)


def test_registration_is_shown_on_training_patients(trained, drawn):
    draw_figures(trained)
    (row, *_), _ = drawn["draw_registration"]
    item = read_datalist(trained / "set", "training")[0]
    moved = {i["patient"]: i for i in read_datalist(trained / "registered", "training")}[item["patient"]]
    z = int(row.title.split("slice ")[1].split(" ")[0]) - 1
    np.testing.assert_allclose(row.made["affine"], volume(moved["source"])[..., z])
    np.testing.assert_allclose(row.source, volume(item["source"])[..., z])


def test_pictures_are_written(trained, tmp_path):
    shutil.copytree(trained, tmp_path / "table")
    names = [path.name for path in draw_figures(tmp_path / "table")]
    assert names == ["fig2_registration.png", "fig5_synthetic_source.png", "fig6_comparison.png"]
    for name in names:
        assert (tmp_path / "table" / "figures" / name).read_bytes().startswith(b"\x89PNG")


def test_the_largest_distortion_and_the_first_seed_are_shown(trained, tmp_path, drawn):
    spec = json.loads((trained / "cells" / "separate_s0" / "cell.json").read_text())["spec"]
    nowhere = str(tmp_path / "nowhere")  # whose networks would be missed
    places = {"separate_k0.05_s2": spec["out_dir"], "separate_k0.05_s10": nowhere, "separate_k0.01_s0": nowhere}
    for name, place in {**places, "separate_k0.5_s0_old": nowhere}.items():
        (tmp_path / "cells" / name).mkdir(parents=True)
        (tmp_path / "cells" / name / "cell.json").write_text(json.dumps({"spec": {**spec, "out_dir": place}}))
    draw_figures(tmp_path)
    _, display = drawn["draw_comparison"]
    assert display.data_name.endswith(", k = 0.05")


def test_a_folder_without_cells_gets_one_line(tmp_path, capsys):
    assert main([str(tmp_path)]) == 2
    assert capsys.readouterr().err == f"error: {tmp_path}: holds no finished cell of python -m benchmarks.table1\n"
