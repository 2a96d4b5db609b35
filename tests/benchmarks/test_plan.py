"""A table's plan: which cells it has, of which data, with which settings."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from benchmarks.plan import METHODS, default_methods, folder_name, is_mri, parse_folder_name, plan
from monai_nce.errors import InputError
from monai_nce.phantom import write_phantom_dataset


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_phantom_dataset(tmp_path_factory.mktemp("plan") / "set", patients=3, size=64, slices=4, progress=False)


def changed(dataset: Path, folder: Path, without: str = "", **keys: Any) -> str:
    """A copy of the data set with other keys, whose training items lack a role."""
    shutil.copytree(dataset, folder)
    content = json.loads((folder / "datalist.json").read_text()) | keys
    content["training"] = [{key: item[key] for key in item if key != without} for item in content["training"]]
    (folder / "datalist.json").write_text(json.dumps(content))
    return str(folder)


@pytest.mark.parametrize(
    ("place", "name"),
    [
        (("joint", None, 0), "joint_s0"),
        (("single", 0.05, 12), "single_k0.05_s12"),
        (("registered_joint", 0.05, 0), "registered_joint_k0.05_s0"),
        (("cycle", 0.0, 1), "cycle_k0_s1"),
        (("oracle", 1e-05, 0), "oracle_k1e-05_s0"),
    ],
)
def test_a_cells_folder_says_what_it_is(place, name):
    assert folder_name(*place) == name and parse_folder_name(name) == place


@pytest.mark.parametrize("name", ["joint_s0_old", "joint", "joint_k_s0", "joint_k0.05", "copy of joint_s0"])
def test_other_folders_are_no_cells(name):
    assert parse_folder_name(name) is None


def test_phantom_has_every_method_once(tmp_path):
    cells = plan("phantom", list(METHODS), [0.01], [0], "small", tmp_path)
    assert sorted(cell.method for cell in cells) == sorted(set(METHODS) - {"identity"})
    by_method = {cell.method: cell for cell in cells}
    assert by_method["oracle"].configs == ["train", "regression", "oracle"]
    assert by_method["separate"].configs == ["train"]
    assert by_method["separate"].data.settings["patients"] == 24
    affine = by_method["affine"].data
    assert affine.base == by_method["separate"].data and affine.settings["method"] == "affine"
    assert len({cell.path for cell in cells}) == len(cells)
    assert all(cell.distortion is None for cell in cells)


def test_each_distortion_has_a_data_set_and_each_seed_a_cell(tmp_path):
    cells = plan("ixi-like", ["single", "affine"], [0.01, 0.05], [0, 1], "small", tmp_path)
    assert len(cells) == 8 and len({cell.path for cell in cells}) == 8
    single = [cell for cell in cells if cell.method == "single"]
    assert {cell.data.settings["distortion"] for cell in single} == {0.01, 0.05}
    assert len({cell.data.path for cell in single}) == 2
    assert all(cell.configs == ["train", "single", "ixi"] for cell in single)


def test_registration_is_in_the_window_of_the_networks(tmp_path):
    for preset in ("small", "paper"):
        (ixi,) = plan("ixi-like", ["affine"], [0.01], [0], preset, tmp_path)
        assert (ixi.data.settings["window_level"], ixi.data.settings["window_width"]) == (500, 1000)
        (phantom,) = plan("phantom", ["affine"], [], [0], preset, tmp_path)
        assert "window_level" not in phantom.data.settings  # register_dataset's own is CT's


def test_a_registered_cell_waits_for_the_separate_one_of_its_seed_and_distortion(tmp_path):
    cells = plan("ixi-like", ["registered", "separate"], [0.01, 0.05], [0, 1], "small", tmp_path)
    assert [cell.method for cell in cells] == ["separate"] * 4 + ["registered"] * 4
    separate = {(cell.distortion, cell.seed): cell for cell in cells[:4]}
    assert len({cell.data.path for cell in cells[4:]}) == 4
    for cell in cells[4:]:
        assert cell.configs == ["train", "registered", "ixi"]
        assert cell.data.cell == separate[cell.distortion, cell.seed] and cell.data.base == cell.data.cell.data
        assert cell.data.settings["auxiliary"] == str(cell.data.cell.path / "models" / "auxiliary.pt")
        assert (cell.data.settings["method"], cell.data.settings["window_width"]) == ("bspline", 1000)


def test_the_papers_preset_is_laid_over_last(tmp_path):
    (cell,) = plan("phantom", ["joint"], [], [0], "paper", tmp_path)
    assert cell.configs == ["train", "joint", "paper"] and cell.data.settings["size"] == 256
    ixi = plan("ixi", ["joint"], [0.02], [0], "paper", tmp_path, {"t2": "t2", "pd": "pd"})
    assert ixi[0].configs == ["train", "joint", "paper", "paper_ixi"]


def test_a_cell_adds_nothing_to_the_configuration_but_its_name_and_what_is_asked_for(tmp_path):
    for preset in ("small", "paper"):
        for cell in plan("phantom", list(METHODS), [], [0], preset, tmp_path):
            assert cell.overrides == {"method": cell.method}
    (asked,) = plan("phantom", ["single"], [], [0], "small", tmp_path, overrides={"seed": 1, "method": "other"})
    assert asked.overrides == {"seed": 1, "method": "single"}


def test_the_slowest_cells_are_first(tmp_path):
    cells = plan("phantom", ["joint", "separate", "voxelmorph", "cycle"], [], [0, 1], "small", tmp_path)
    assert [(cell.method, cell.seed) for cell in cells[::2]] == [
        (method, 0) for method in ("cycle", "voxelmorph", "joint", "separate")
    ]
    assert [cell.seed for cell in cells] == [0, 1] * 4


def test_a_folder_of_t2_is_mri_and_one_of_ct_is_not(dataset, tmp_path):
    mri = changed(dataset, tmp_path / "mri", source_domain="t2")
    for data, overlay in ((mri, ["ixi"]), (str(dataset), [])):
        (cell,) = plan(data, ["joint"], [0.05], [0], "small", tmp_path)
        assert cell.configs == ["train", "joint", *overlay] and is_mri(cell.configs) == bool(overlay)
        assert cell.distortion is None and cell.data.path == Path(data) and cell.data.kind is None
    assert is_mri(["train", "paper_ixi"]) and not is_mri(["train", "paper"])


def test_a_folder_of_mr_pairs_has_its_scale_and_its_names(dataset, tmp_path):
    made = {"scale": "common", "names": ["T1", "T1 Gd"]}
    folder = changed(dataset, tmp_path / "pairs", source_domain="t1", provenance=made)
    cells = plan(folder, ["separate", "affine"], [], [0], "small", tmp_path)
    for cell in cells:
        assert cell.configs[-2:] == ["ixi", "t1ce"] and is_mri(cell.configs)
        assert cell.overrides == {"method": cell.method, "target_name": "T1 Gd"}
    assert cells[0].data.settings["window_width"] == 2000


def test_a_folder_is_asked_only_for_what_it_can_give(dataset, tmp_path):
    assert default_methods("phantom") == list(METHODS) == default_methods(str(dataset))
    unaligned = changed(dataset, tmp_path / "unaligned", without="aligned_source")
    assert set(METHODS) - set(default_methods(unaligned)) == {"oracle"}
    unpaired = changed(dataset, tmp_path / "unpaired", without="source")
    lacking = {"unregistered", "affine", "bspline", "voxelmorph", "registered", "registered_joint"}
    assert set(METHODS) - set(default_methods(unpaired)) == lacking
    # what is asked for is not left out
    assert [cell.method for cell in plan(unaligned, ["oracle"], [], [0], "small", tmp_path)] == ["oracle"]


def test_a_folder_without_training_patients_is_refused(dataset, tmp_path):
    empty = changed(dataset, tmp_path / "empty", training=[])
    with pytest.raises(InputError, match="'training' is empty"):
        plan(empty, ["joint"], [], [0], "small", tmp_path)


def test_results_of_other_settings_are_not_taken(tmp_path):
    (cell,) = plan("phantom", ["joint"], [], [0], "small", tmp_path)
    cell.path.mkdir(parents=True)
    (cell.path / "cell.json").write_text(json.dumps({"spec": cell.spec, "seconds": 1.0}))
    assert cell.result() is not None
    (cell.path / "cell.json").write_text(json.dumps({"spec": {**cell.spec, "seed": 3}}))
    with pytest.raises(InputError, match=r"joint_s0: holds a result of other settings"):
        cell.result()
