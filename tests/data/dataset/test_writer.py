from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from monai_nce.data.dataset.datalist import read_datalist, read_datalist_file
from monai_nce.data.dataset.pairs import evaluation_pairs
from monai_nce.data.dataset.writer import DatasetWriter
from monai_nce.errors import InputError
from tests.data.datasets import ABOUT, AFFINE, VOLUME, make


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_round_trip(tmp_path: Path) -> None:
    folder = make(tmp_path / "x" / "set")
    items = read_datalist(folder)
    assert [(item["patient"], item["split"]) for item in items] == [
        ("a", "training"),
        ("b", "training"),
        ("c.1", "test"),
    ]
    assert items[0]["source"] == str(folder / "volumes" / "a_source.nii")
    assert set(items[1]) == {"patient", "split", "source"}
    assert read_datalist(folder, "test", require=["target", "aligned_source"]) == [items[2]]
    image = nib.load(items[0]["target"])
    np.testing.assert_array_equal(np.asarray(image.dataobj), VOLUME)
    np.testing.assert_array_equal(image.affine, AFFINE)
    about = read_datalist_file(folder)
    assert about["source_domain"] == "nect" and about["target_domain"] == "cect"
    assert (about["numTraining"], about["numValidation"], about["numTest"]) == (2, 0, 1)
    assert about["provenance"] == {"seed": 7}
    assert sorted(os.listdir(folder)) == ["datalist.json", "volumes"]


def test_a_source_that_is_aligned_is_written_once(tmp_path: Path) -> None:
    with DatasetWriter(tmp_path, **ABOUT) as dataset:
        dataset.add("training", "a", AFFINE, source=VOLUME, target=VOLUME + 1, aligned_source=VOLUME)
        dataset.add("test", "b", AFFINE, source=VOLUME, target=VOLUME + 1, aligned_source=VOLUME.copy())
    once, twice = read_datalist(tmp_path)
    assert once["aligned_source"] == once["source"] == str(tmp_path / "volumes" / "a_source.nii")
    assert twice["aligned_source"] != twice["source"]
    assert sorted(os.listdir(tmp_path / "volumes")) == [
        "a_source.nii",
        "a_target.nii",
        "b_aligned_source.nii",
        "b_source.nii",
        "b_target.nii",
    ]
    assert [pair["aligned"] for pair in evaluation_pairs([once, twice])] == [True, True]


def test_a_kind_is_listed_and_marked_in_the_headers_of_what_is_no_scan(tmp_path: Path) -> None:
    marks = {"phantom": b"PHANTOM, made by monai-nce; shows no patient", "real": b"", None: b""}
    marks["virtual"] = b"VIRTUAL, made by monai-nce; shows no patient"
    for kind, mark in marks.items():
        folder = make(tmp_path / str(kind), kind=kind)
        assert read_datalist_file(folder).get("kind") == kind and ("kind" in read_datalist_file(folder)) == bool(kind)
        volumes = list((folder / "volumes").iterdir())
        assert {nib.load(path).header["descrip"].item() for path in volumes} == {mark} and len(volumes) == 6
    with pytest.raises(ValueError, match="kind: expected one of phantom, virtual, real but got 'ghost'"):
        make(tmp_path / "ghost", kind="ghost")
    assert not (tmp_path / "ghost").exists()


def test_a_report_comes_and_goes_with_its_data_set(tmp_path: Path) -> None:
    def make_with(content: dict[str, Any] | None, spoilt: bool = False) -> None:
        with DatasetWriter(tmp_path / "x", **ABOUT, overwrite=True) as dataset:
            dataset.add("training", "a", AFFINE, source=VOLUME * np.nan if spoilt else VOLUME)
            if content is not None:
                dataset.report(content)

    with pytest.raises(ValueError):
        make_with({"left_out": []}, spoilt=True)
    with pytest.raises(ValueError):
        make_with({"k": np.nan})
    assert os.listdir(tmp_path) == []
    make_with({"left_out": ["b"]})
    with pytest.raises(ValueError):
        make_with({"left_out": []}, spoilt=True)
    assert json.loads((tmp_path / "x" / "report.json").read_text()) == {"left_out": ["b"]}
    make_with(None)
    assert sorted(os.listdir(tmp_path / "x")) == ["datalist.json", "volumes"]
    (tmp_path / "y").mkdir()
    (tmp_path / "y" / "report.json").touch()
    with pytest.raises(InputError, match=r"report\.json: already there"):
        DatasetWriter(tmp_path / "y", **ABOUT)


def test_slices_lie_contiguously_for_a_memory_map(tmp_path: Path) -> None:
    path = read_datalist(make(tmp_path))[0]["source"]
    raw = np.memmap(path, dtype="<i2", mode="r", offset=352, shape=(6, 5, 4))  # slice, row, column
    np.testing.assert_array_equal(raw[2:5], VOLUME[:, :, 2:5].transpose(2, 1, 0))


def test_a_failure_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), DatasetWriter(tmp_path / "x" / "y", **ABOUT) as dataset:
        dataset.add("training", "a", AFFINE, source=VOLUME)
        raise RuntimeError
    assert os.listdir(tmp_path) == []


def test_a_failure_while_overwriting_leaves_the_old_set(tmp_path: Path) -> None:
    make(tmp_path)
    before = snapshot(tmp_path)
    with pytest.raises(ValueError), DatasetWriter(tmp_path, **ABOUT, overwrite=True) as dataset:
        dataset.add("training", "a", AFFINE, source=VOLUME + 1)
        dataset.add("training", "b", AFFINE, source=VOLUME * np.nan)
    assert snapshot(tmp_path) == before


def test_what_json_cannot_hold_leaves_the_old_set(tmp_path: Path) -> None:
    make(tmp_path)
    before = snapshot(tmp_path)
    with (
        pytest.raises(ValueError),
        DatasetWriter(tmp_path, **ABOUT, overwrite=True, provenance={"k": np.nan}) as dataset,
    ):
        dataset.add("training", "a", AFFINE, source=VOLUME + 1)
    assert snapshot(tmp_path) == before


def test_overwriting_is_asked_for(tmp_path: Path) -> None:
    make(tmp_path)
    before = snapshot(tmp_path)
    with pytest.raises(InputError, match="already there"):
        make(tmp_path)
    assert snapshot(tmp_path) == before
    make(tmp_path, value=3, overwrite=True)
    after = snapshot(tmp_path)
    assert before.keys() == after.keys()
    assert before["volumes/a_target.nii"] != after["volumes/a_target.nii"]


def test_volumes_of_something_else_are_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "volumes").mkdir()
    with pytest.raises(InputError, match="already there"):
        DatasetWriter(tmp_path, **ABOUT)


def test_out_dir_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "x").touch()
    with pytest.raises(InputError, match="it is a file"):
        DatasetWriter(tmp_path / "x", **ABOUT)


@pytest.mark.parametrize(
    ("arguments", "volumes"),
    [
        (("train", "b"), {"source": VOLUME}),
        (("training", "../b"), {"source": VOLUME}),
        (("training", ".."), {"source": VOLUME}),
        (("training", ""), {"source": VOLUME}),
        (("training", "Müller"), {"source": VOLUME}),
        (("training", "b\n"), {"source": VOLUME}),
        (("test", "a"), {"source": VOLUME}),
        (("test", "A"), {"source": VOLUME}),  # one file on some file systems
        (("training", "b"), {}),
        (("training", "b"), {"labels": VOLUME > 0}),
        (("training", "b"), {"source": VOLUME, "target": VOLUME[1:]}),
        (("training", "b"), {"source": VOLUME, "labels": VOLUME}),
    ],
)
def test_wrong_items_are_refused(arguments: tuple[str, str], volumes: dict, tmp_path: Path) -> None:
    dataset = DatasetWriter(tmp_path / "x", **ABOUT)
    dataset.add("training", "a", AFFINE, source=VOLUME)
    with pytest.raises(ValueError):
        dataset.add(*arguments, AFFINE, **volumes)
    dataset.discard()
    assert os.listdir(tmp_path) == []


def test_ids_that_lead_to_one_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="taken"), DatasetWriter(tmp_path, **ABOUT) as dataset:
        dataset.add("training", "a", AFFINE, source=VOLUME, aligned_source=VOLUME + 1)
        dataset.add("test", "a_aligned", AFFINE, source=VOLUME)


def test_an_empty_set_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least one"), DatasetWriter(tmp_path / "x", **ABOUT):
        pass
    assert os.listdir(tmp_path) == []


def begin(folder: Path, error: BaseException | None, **options: Any) -> None:
    with DatasetWriter(folder, **ABOUT, work="w", **options) as dataset:
        dataset.add("training", "a", AFFINE, source=VOLUME, note={"n": 1})
        (dataset.volume_paths()["a"]["source"].parent / ".0123-b_source.nii.partial").mkdir()
        if error is not None:
            raise error


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(28, "full"), RuntimeError()])
def test_a_long_run_goes_on_where_it_stopped(error: BaseException, tmp_path: Path) -> None:
    with pytest.raises(type(error)):
        begin(tmp_path / "set", error)
    assert os.listdir(tmp_path / "set") == [".unfinished"]
    with pytest.raises(InputError, match="unfinished run"):
        begin(tmp_path / "set", None)
    with pytest.raises(InputError, match=r"no datalist\.json"):
        read_datalist(tmp_path / "set")
    with DatasetWriter(tmp_path / "set", **ABOUT, work="w", resume=True) as dataset:
        assert dataset.finished == {"a": {"n": 1}}
        with pytest.raises(ValueError, match="added before"):
            dataset.add("test", "a", AFFINE, source=VOLUME)
        dataset.add("training", "b", AFFINE, target=VOLUME)
        dataset.resplit({"training": ["b"], "test": ["a"]})
    assert [(item["patient"], item["split"]) for item in read_datalist(tmp_path / "set")] == [
        ("b", "training"),
        ("a", "test"),
    ]
    assert sorted(os.listdir(tmp_path / "set")) == ["datalist.json", "volumes"]
    assert sorted(os.listdir(tmp_path / "set" / "volumes")) == ["a_source.nii", "b_target.nii"]


def test_a_patient_whose_file_is_gone_is_not_finished(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        begin(tmp_path, KeyboardInterrupt())
    (tmp_path / ".unfinished" / "volumes" / "a_source.nii").unlink()
    dataset = DatasetWriter(tmp_path, **ABOUT, work="w", resume=True)
    assert dataset.finished == {}
    dataset.discard()


def test_another_writer_joins_and_the_first_takes_over_what_it_added(tmp_path: Path) -> None:
    with DatasetWriter(tmp_path / "set", **ABOUT, work="w") as dataset:
        dataset.add("training", "a", AFFINE, source=VOLUME, note=1)
        joined = DatasetWriter.join(tmp_path / "set")
        joined.add("test", "b", AFFINE, target=VOLUME, note=2)
        assert dataset.finished == {}
        dataset.take_over()
        assert dataset.finished == {"a": 1, "b": 2}
    assert [(item["patient"], item["split"]) for item in read_datalist(tmp_path / "set")] == [
        ("a", "training"),
        ("b", "test"),
    ]


def test_what_a_joined_writer_finished_is_kept_when_the_first_fails_before_its_own_first_patient(
    tmp_path: Path,
) -> None:
    with pytest.raises(OSError, match="full"), DatasetWriter(tmp_path / "set", **ABOUT, work="w"):
        DatasetWriter.join(tmp_path / "set").add("test", "b", AFFINE, target=VOLUME)
        raise OSError(28, "full")
    dataset = DatasetWriter(tmp_path / "set", **ABOUT, work="w", resume=True)
    assert dataset.finished == {"b": None}
    dataset.discard()


def test_a_folder_that_is_not_shared_cannot_be_joined(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is the folder shared"):
        DatasetWriter.join(tmp_path)


@pytest.mark.parametrize("error", [InputError("bad"), None])
def test_bad_input_and_success_leave_no_unfinished_run(error: BaseException | None, tmp_path: Path) -> None:
    if error is None:
        begin(tmp_path / "set", None)
        assert sorted(os.listdir(tmp_path / "set")) == ["datalist.json", "volumes"]
    else:
        with pytest.raises(InputError):
            begin(tmp_path / "set", error)
        assert os.listdir(tmp_path) == []


def test_overwriting_keeps_the_old_set_until_the_new_one_is_complete(tmp_path: Path) -> None:
    make(tmp_path)
    before = snapshot(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        begin(tmp_path, KeyboardInterrupt(), overwrite=True)
    assert {name: data for name, data in snapshot(tmp_path).items() if not name.startswith(".unf")} == before
    begin_again = {"overwrite": True, "resume": True}
    with DatasetWriter(tmp_path, **ABOUT, work="w", **begin_again) as dataset:
        assert list(dataset.finished) == ["a"]
    assert [item["patient"] for item in read_datalist(tmp_path)] == ["a"]


def test_splits_must_hold_everyone_once(tmp_path: Path) -> None:
    with DatasetWriter(tmp_path, **ABOUT) as dataset:
        dataset.add("training", "a", AFFINE, source=VOLUME)
        for wrong in ({"training": []}, {"training": ["a"], "test": ["a"]}, {"train": ["a"]}, {"test": ["a", "b"]}):
            with pytest.raises(ValueError, match="each patient"):
                dataset.resplit(wrong)


def test_pages_of_the_contact_sheet_come_and_go_with_their_data_set(tmp_path: Path) -> None:
    for pages in (2, 1):
        with DatasetWriter(tmp_path, **ABOUT, overwrite=True) as dataset:
            dataset.add("training", "a", AFFINE, source=VOLUME)
            for page in range(pages):
                dataset.sheet().write_text(str(page))
        assert len(list(tmp_path.glob("contact_sheet*.png"))) == pages
    with pytest.raises(InputError, match="already there"):
        make(tmp_path)
