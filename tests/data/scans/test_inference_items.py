from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from monai_nce.data import check_inference_items, inference_items
from monai_nce.errors import InputError


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"not read here")
    return root


def outputs(root: Path, out: Path, **options: str) -> dict[str, str]:
    """Names of inputs to names of outputs, relative to their folders."""
    return {
        str(Path(item["image"]).relative_to(root)): str(Path(item["output"]).relative_to(out))
        for item in inference_items(root, out, **options)
    }


@pytest.mark.parametrize("name", ["scan.nii", "scan.nii.gz"])
def test_a_file(tmp_path: Path, name: str) -> None:
    path = touch(tmp_path, name) / name
    out = tmp_path / "out"
    assert inference_items(path, str(out)) == [{"image": str(path), "output": str(out / "scan_synthetic_cect.nii.gz")}]


def test_a_folder_with_folders(tmp_path: Path) -> None:
    root = touch(tmp_path / "in", "b.nii.gz", "a.nii", "x/a.nii", "x/y/a.v2.nii.gz", "notes.txt", ".hidden/c.nii")
    assert outputs(root, tmp_path / "out") == {
        "a.nii": "a_synthetic_cect.nii.gz",
        "b.nii.gz": "b_synthetic_cect.nii.gz",
        "x/a.nii": "x/a_synthetic_cect.nii.gz",
        "x/y/a.v2.nii.gz": "x/y/a.v2_synthetic_cect.nii.gz",
    }


def test_dicom_folders(tmp_path: Path, write_series: Callable[..., Path]) -> None:
    root, out = tmp_path / "in", tmp_path / "out"
    for name in ("series1", "later/series.2"):
        write_series(root / name)
    assert outputs(root, out) == {
        "series1": "series1_synthetic_cect.nii.gz",
        "later/series.2": "later/series.2_synthetic_cect.nii.gz",
    }
    (item,) = inference_items(root / "series1", out)
    assert item == {"image": str(root / "series1"), "output": str(out / "series1_synthetic_cect.nii.gz")}


def test_series_that_share_a_folder(tmp_path: Path, write_series: Callable[..., Path]) -> None:
    """Named by their files, and their results by a hash: a description could be a path or hold a name."""

    def secret(index: int, dataset: Any) -> None:
        dataset.SeriesDescription, dataset.SeriesInstanceUID = "../../secret", "1.2.3/../4"

    folder = write_series(tmp_path / "in" / "both")
    for path in write_series(tmp_path / "other", secret).iterdir():
        path.rename(folder / f"other-{path.name}")
    items = inference_items(tmp_path / "in", tmp_path / "out")
    assert sorted(len(item["image"]) for item in items) == [5, 5]
    assert {name for item in items for name in item["image"]} == set(map(str, folder.iterdir()))
    for item in items:
        output = Path(item["output"])
        assert output.parent == tmp_path / "out"
        assert re.fullmatch(r"both_[0-9a-f]{8}_synthetic_cect\.nii\.gz", output.name)
    assert items[0]["output"] != items[1]["output"]
    assert [item["output"] for item in inference_items(tmp_path / "in", tmp_path / "out")] == [
        item["output"] for item in items
    ]


def test_contrast_is_warned_of_and_a_synthetic_image_refused(tmp_path: Path, write_series: Callable[..., Path]) -> None:
    def described(text: str, synthetic: str = "NO") -> Callable[[int, Any], None]:
        def edit(index: int, dataset: Any) -> None:
            dataset.SeriesDescription, dataset.SyntheticData = text, synthetic

        return edit

    write_series(tmp_path / "a", described("portal"))
    write_series(tmp_path / "b", described("nativ"))
    with pytest.warns(UserWarning, match="seems to show contrast medium already") as caught:
        check_inference_items(inference_items(tmp_path, tmp_path / "out"))
    assert [str(item.message).split(":")[0] for item in caught] == [str(tmp_path / "a")]
    write_series(tmp_path / "c", described("nativ", "YES"))
    with pytest.raises(InputError, match="synthetic already"):
        check_inference_items(inference_items(tmp_path / "c", tmp_path / "out"))


def test_the_current_folder_as_a_series_has_its_name(
    tmp_path: Path, write_series: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(write_series(tmp_path / "series"))
    assert [item["output"] for item in inference_items(".", "out")] == ["out/series_synthetic_cect.nii.gz"]


def test_two_volumes_that_would_become_one_file_are_refused(tmp_path: Path) -> None:
    root = touch(tmp_path / "in", "a.nii", "a.nii.gz")
    with pytest.raises(InputError) as caught:
        inference_items(root, tmp_path / "out")
    message = str(caught.value)
    assert all(str(path) in message for path in (root / "a.nii", root / "a.nii.gz"))
    assert "a_synthetic_cect.nii.gz" in message


def test_earlier_results_are_left_out(tmp_path: Path) -> None:
    root = touch(tmp_path, "a.nii", "a_synthetic_cect.nii.gz", "x/b.nii.gz", "x/b_synthetic_cect.nii.gz")
    assert outputs(root, root) == {
        "a.nii": "a_synthetic_cect.nii.gz",
        "x/b.nii.gz": "x/b_synthetic_cect.nii.gz",
    }


def test_earlier_derived_series_are_left_out(write_series: Callable[..., Path], tmp_path: Path) -> None:
    write_series(tmp_path / "a")
    write_series(tmp_path / "a_synthetic_cect")
    assert outputs(tmp_path, tmp_path) == {"a": "a_synthetic_cect.nii.gz"}
    with pytest.raises(InputError, match="nothing but results of an earlier inference"):
        inference_items(tmp_path / "a_synthetic_cect", tmp_path / "out")


def test_nothing_but_earlier_results_is_refused(tmp_path: Path) -> None:
    root = touch(tmp_path, "a_synthetic_cect.nii.gz")
    for path in (root, root / "a_synthetic_cect.nii.gz"):
        with pytest.raises(InputError, match="nothing but results of an earlier inference"):
            inference_items(path, tmp_path / "out")


def test_another_suffix(tmp_path: Path) -> None:
    root = touch(tmp_path / "in", "a.nii", "b_synthetic_nect.nii.gz")
    assert outputs(root, tmp_path / "out", suffix="synthetic_nect") == {"a.nii": "a_synthetic_nect.nii.gz"}
    with pytest.raises(InputError, match="expected one that says 'synthetic' but got 'cect'"):
        inference_items(root, tmp_path / "out", suffix="cect")


def test_no_input_is_refused_unless_the_workflow_is_only_set_up(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    with pytest.raises(InputError, match="no input given"):
        inference_items("", tmp_path)
    with pytest.raises(InputError, match="holds neither NIfTI nor DICOM"):
        inference_items(tmp_path / "in", tmp_path)
    assert inference_items("", tmp_path, empty_ok=True) == []
    assert inference_items(tmp_path / "in", tmp_path, empty_ok=True) == []
    with pytest.raises(InputError, match="no such file or folder"):
        inference_items(tmp_path / "absent", tmp_path, empty_ok=True)


def test_nothing_is_written(tmp_path: Path) -> None:
    root = touch(tmp_path / "in", "a.nii")
    inference_items(root, tmp_path / "out")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a.nii", "in"]
