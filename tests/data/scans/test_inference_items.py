from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from monai.data import MetaTensor

from benchmarks.suitability import arm
from monai_nce.data import (
    AddProvenanced,
    FoundVolume,
    LoadImageScand,
    ReaderWarning,
    SaveImageNiftid,
    check_inference_items,
    inference_items,
)
from monai_nce.data.nifti import reader as nifti_reader
from monai_nce.errors import InputError
from monai_nce.phantom import make_phantom_patient
from monai_nce.visualize import DrawImagePreviewd, SaveImagePreviewd, SaveReportd
from tests.data.itk.itk_files import save_itk


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"not read here")
    return root


def outputs(root: Path, out: Path, **options: str) -> dict[str, str]:
    """Names of inputs to names of outputs, relative to their folders."""
    return {
        str(item["image"].path.relative_to(root)): str(Path(item["output"]).relative_to(out))
        for item in inference_items(root, out, **options)
    }


@pytest.mark.parametrize("name", ["scan.nii", "scan.nii.gz"])
def test_a_file(tmp_path: Path, name: str) -> None:
    path = touch(tmp_path, name) / name
    out = tmp_path / "out"
    expected = {"image": FoundVolume("nifti", path, (path,)), "output": str(out / "scan_synthetic_cect.nii.gz")}
    assert inference_items(path, str(out)) == [expected]


@pytest.mark.parametrize("name", ["scan.mha", "scan.mhd", "scan.nrrd"])
def test_a_file_of_itk(tmp_path: Path, name: str) -> None:
    path = save_itk(tmp_path / "in" / name, np.zeros((2, 3, 4), np.int16), np.eye(4))
    for source in (path, path.parent):
        (item,) = inference_items(source, tmp_path / "out")
        assert (item["image"].path, item["output"]) == (path, str(tmp_path / "out" / "scan_synthetic_cect.nii.gz"))


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
    assert item["image"].path == root / "series1" and set(item["image"].files) == set((root / "series1").iterdir())
    assert item["output"] == str(out / "series1_synthetic_cect.nii.gz")


def test_series_that_share_a_folder(tmp_path: Path, write_series: Callable[..., Path]) -> None:
    """Named by their files, and their results by a hash: a description could be a path or hold a name."""

    def secret(index: int, dataset: Any) -> None:
        dataset.SeriesDescription, dataset.SeriesInstanceUID = "../../secret", "1.2.3/../4"

    folder = write_series(tmp_path / "in" / "both")
    for path in write_series(tmp_path / "other", secret).iterdir():
        path.rename(folder / f"other-{path.name}")
    items = inference_items(tmp_path / "in", tmp_path / "out")
    assert sorted(len(item["image"].files) for item in items) == [5, 5]
    assert {path for item in items for path in item["image"].files} == set(folder.iterdir())
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
        items = inference_items(tmp_path, tmp_path / "out")
        check_inference_items(items)
    assert [str(item.message).split(":")[0] for item in caught] == [str(tmp_path / "a")]
    assert [item["doubts"] for item in items] == [
        "seems to show contrast medium already, by its header (SeriesDescription)",
        "",
    ]
    with pytest.raises(
        InputError, match=r"already, by its header \(SeriesDescription\) \(refused because of --strict\)"
    ):
        check_inference_items(inference_items(tmp_path / "a", tmp_path / "out"), strict=True)
    write_series(tmp_path / "c", described("nativ", "YES"))
    with pytest.raises(InputError, match="synthetic already"):
        check_inference_items(inference_items(tmp_path / "c", tmp_path / "out"))


def saved(path: Path, hu: np.ndarray, affine: np.ndarray) -> Path:
    nib.save(nib.Nifti1Image(hu, affine), path)
    return path


def test_what_the_weights_were_not_made_for_is_warned_of_or_refused(tmp_path: Path) -> None:
    patient = make_phantom_patient(0, size=64, slices=16)
    nect = saved(tmp_path / "nect.nii.gz", patient.nect, patient.affine)
    cect = saved(tmp_path / "cect.nii.gz", patient.cect, patient.affine)
    arm_ = saved(tmp_path / "arm.nii.gz", *arm(np.random.default_rng(0)))

    def check(path: Path, **options: Any) -> list[str]:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            check_inference_items(inference_items(path, tmp_path / "out"), **options)
        return [str(item.message) for item in caught if issubclass(item.category, ReaderWarning)]

    assert check(nect, strict=True) == []
    (said,) = check(cect)
    assert said.startswith(f"{cect}: seems to show contrast medium already: ")
    assert check(cect, source="CECT", strict=True) == []
    (said,) = check(arm_)
    assert said.startswith(f"{arm_}: seems to show an arm or a leg")
    for path in (cect, arm_):
        with pytest.raises(InputError, match=rf"{path}: seems to show .* \(refused because of --strict\)"):
            check(path, strict=True)
    assert not (tmp_path / "out").exists()


def test_the_current_folder_as_a_series_has_its_name(
    tmp_path: Path, write_series: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(write_series(tmp_path / "series"))
    assert [item["output"] for item in inference_items(".", "out")] == ["out/series_synthetic_cect.nii.gz"]


def test_a_link_is_called_as_it_is_and_not_as_its_target(
    tmp_path: Path, write_series: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = tmp_path / "surname_first"
    touch(secret, "surname.nii.gz", "surname_synthetic_cect.nii.gz")
    write_series(secret / "series")
    links = tmp_path / "study"
    links.mkdir()
    for name, target in {"a.nii.gz": "surname.nii.gz", "b.nii.gz": "surname_synthetic_cect.nii.gz"}.items():
        (links / name).symlink_to(secret / target)
        (item,) = inference_items(links / name, tmp_path / "out")
        assert Path(item["output"]).name == name.replace(".nii.gz", "_synthetic_cect.nii.gz")
    (links / "c").symlink_to(secret / "series")
    monkeypatch.chdir(links / "c")
    monkeypatch.setenv("PWD", str(links / "c"))  # as a shell sets it
    for given in (links / "c", "."):
        (item,) = inference_items(given, "out")
        assert Path(item["output"]).name == "c_synthetic_cect.nii.gz"
    monkeypatch.setenv("PWD", str(links))  # out of date
    assert Path(inference_items(".", "out")[0]["output"]).name == "series_synthetic_cect.nii.gz"


def test_two_scans_of_one_name_do_not_replace_each_other(tmp_path: Path) -> None:
    out = tmp_path / "out"
    for name, values in (("p1", HU), ("p2", HU - 5)):
        (tmp_path / name).mkdir()
        save(tmp_path / name / "ct.nii.gz", values)
    items = inference_items(tmp_path / "p1", out)
    check_inference_items(items)
    data = LoadImageScand("image")(items[0])
    SaveImageNiftid("image")(
        {**data, "image": data["image"][None], "provenance": AddProvenanced(None)(data)["provenance"]}
    )
    check_inference_items(inference_items(tmp_path / "p1", out))
    with pytest.raises(InputError, match=r"ct_synthetic_cect\.nii\.gz: is the result of another scan"):
        check_inference_items(inference_items(tmp_path / "p2", out))


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
    with pytest.raises(InputError, match="holds neither NIfTI, MetaImage, NRRD nor DICOM"):
        inference_items(tmp_path / "in", tmp_path)
    assert inference_items("", tmp_path, empty_ok=True) == []
    assert inference_items(tmp_path / "in", tmp_path, empty_ok=True) == []
    with pytest.raises(InputError, match="no such file or folder"):
        inference_items(tmp_path / "absent", tmp_path, empty_ok=True)


def test_nothing_is_written(tmp_path: Path) -> None:
    root = touch(tmp_path / "in", "a.nii")
    inference_items(root, tmp_path / "out")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a.nii", "in"]


HU = np.round(np.linspace(-1000, 300, 8 * 8 * 4)).reshape(8, 8, 4).astype(np.int16)


def save(path: Path, values: np.ndarray = HU) -> Path:
    nib.save(nib.Nifti1Image(values, np.diag([1.0, 1, 3, 1])), path)
    return path


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The NIfTI files that were unpacked."""
    done: list[Path] = []
    whole = nifti_reader._decompressed

    def spy(path: Path, image: Any) -> Any:
        done.append(path)
        return whole(path, image)

    monkeypatch.setattr(nifti_reader, "_decompressed", spy)
    return done


def test_the_check_of_one_volume_is_its_only_reading(tmp_path: Path, reads: list[Path]) -> None:
    path = save(tmp_path / "a.nii.gz")
    items = inference_items(path, tmp_path / "out")
    check_inference_items(items)
    loaded = LoadImageScand("image")(items[0])
    np.testing.assert_array_equal(loaded["image"].numpy(), HU)
    assert reads == [path] and loaded["source"] == [str(path)]
    # a workflow that runs again has its file read again
    save(path, HU - 5)
    check_inference_items(items)
    np.testing.assert_array_equal(LoadImageScand("image")(items[0])["image"].numpy(), np.maximum(HU - 5, -1024))
    assert reads == [path, path]


def test_of_several_volumes_none_is_held(tmp_path: Path, reads: list[Path]) -> None:
    paths = [save(tmp_path / f"{name}.nii.gz") for name in ("a", "b")]
    items = inference_items(tmp_path, tmp_path / "out")
    check_inference_items(items)
    assert not any(isinstance(item["image"], MetaTensor) for item in items)
    for item in items:
        np.testing.assert_array_equal(LoadImageScand("image")(item)["image"].numpy(), HU)
    assert reads == 2 * paths


def test_paths_will_do_as_items(tmp_path: Path, write_series: Callable[..., Path]) -> None:
    save(tmp_path / "a.nii.gz")
    folder = write_series(tmp_path / "series")
    images = [str(tmp_path / "a.nii.gz"), str(folder), [str(path) for path in folder.iterdir()]]
    check_inference_items([{"image": image} for image in images])
    for image in images:
        assert LoadImageScand("image")({"image": image})["source"] == image


def test_mr_volumes_are_nifti_files_of_other_values(tmp_path: Path, write_series: Callable[..., Path]) -> None:
    save(tmp_path / "t2.nii.gz", HU + 1000)
    (item,) = items = inference_items(tmp_path, tmp_path / "out", "synthetic_pd", modality="MR")
    assert item["output"] == str(tmp_path / "out" / "t2_synthetic_pd.nii.gz")
    check_inference_items(items, "MR")
    assert float(np.percentile(item["image"].numpy(), 99.5)) == pytest.approx(1000)
    save(tmp_path / "ct.nii.gz")
    with pytest.raises(InputError, match=r"ct\.nii\.gz: expected MR intensities, from 0 up, but got values from -1000"):
        check_inference_items(inference_items(tmp_path / "ct.nii.gz", tmp_path, "synthetic_pd", modality="MR"), "MR")
    with pytest.raises(InputError, match=r"t2\.nii\.gz: values from 0 to 1300 cannot be Hounsfield units"):
        check_inference_items(inference_items(tmp_path / "t2.nii.gz", tmp_path))

    def mr(index: int, dataset: Any) -> None:
        dataset.Modality = "MR"

    with pytest.raises(InputError, match="MR is not read from DICOM; convert the series to NIfTI first"):
        inference_items(write_series(tmp_path / "mr", mr), tmp_path, "synthetic_pd", modality="MR")
    with pytest.raises(InputError, match="expected MR but found CT"):
        inference_items(write_series(tmp_path / "other"), tmp_path, "synthetic_pd", modality="MR")


def test_what_cannot_be_enhanced_is_removed_and_told(tmp_path: Path, write_series: Callable[..., Path]) -> None:
    def moved(index: int, dataset: Any) -> None:
        dataset.ImagePositionPatient[2] += 40 * (index == 2)

    write_series(tmp_path / "a")
    write_series(tmp_path / "b", moved)
    write_series(tmp_path / "c", enhanced)
    items = inference_items(tmp_path, tmp_path / "out")
    with pytest.raises(InputError, match=re.escape(f"{tmp_path / 'b'}")):
        check_inference_items(list(items), strict=True)
    left = check_inference_items(items, only="nect")
    assert [item["image"].path.name for item in items] == ["a"]
    assert [(one.path.name, one.fault) for one in left] == [("b", True), ("c", False)]
    assert left[1].why == "is CECT by its SeriesDescription, and --only is nect"
    with pytest.raises(InputError, match=r"b: .*; .*c: is CECT by .* \(none of 2 volumes can be enhanced\)"):
        check_inference_items(inference_items(tmp_path, tmp_path / "out")[1:], only="nect")
    with pytest.raises(InputError, match=r"b: (?!.*none of)"):  # by itself
        check_inference_items(inference_items(tmp_path / "b", tmp_path / "out"))


def enhanced(index: int, dataset: Any) -> None:
    dataset.SeriesDescription = "portal venous"


def test_another_phase_is_left_out_only_where_it_is_asked_for(
    tmp_path: Path, write_series: Callable[..., Path]
) -> None:
    write_series(tmp_path / "a")  # of which nothing is known
    write_series(tmp_path / "b", enhanced)
    for only, kept in (("all", "ab"), ("nect", "a"), ("cect", "ab")):
        items = inference_items(tmp_path, tmp_path / "out")
        left = check_inference_items(items, source="CECT", only=only)
        assert "".join(item["image"].path.name for item in items) == kept
        assert len(left) == 2 - len(kept) and not any(one.fault for one in left)


def test_of_several_processes_one_that_has_nothing_left_does_not_end_the_others(tmp_path: Path, as_rank: Any) -> None:
    (tmp_path / "bad.nii.gz").write_bytes(b"no scan")
    items = inference_items(tmp_path, tmp_path / "out")
    as_rank(1, 2)
    (left,) = check_inference_items(items)
    assert left.fault and items == []


def test_several_inputs_and_patterns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = touch(tmp_path / "in", "p1/ct.nii.gz", "p2/ct.nii.gz", "p2/x/a.nii", "p3/notes.txt")
    one, two = root / "p1" / "ct.nii.gz", root / "p2" / "ct.nii.gz"

    def names(given: Any) -> list[str]:
        items = inference_items(given, tmp_path / "out")
        return [
            item["output"].removeprefix(f"{tmp_path}/out/").removesuffix("_synthetic_cect.nii.gz")
            for item in items
            if "left_out" not in item
        ]

    both = ["p1/ct", "p2/ct"]
    assert names([str(one), str(two)]) == names(f"['{one}', '{two}']") == names(f"{root}/p*/ct.nii.gz") == both
    assert names(f"['{root}/p?/ct.nii.gz', '{one}']") == both  # each once
    assert names([str(root / "p1"), str(two)]) == both
    assert names(f"{root}/**/a.nii") == ["a"]  # one file, as if it were named
    assert names(f"{root}/p*") == ["p1/ct", "p2/ct", "p2/x/a"]
    monkeypatch.chdir(root)
    assert names("p*/ct.nii.gz") == both
    for given in (f"{root}/q*", [str(one), str(root / "q*")]):
        with pytest.raises(InputError, match=r"q\*: no file or folder fits"):
            names(given)
    with pytest.raises(InputError, match="absent: no such file or folder"):
        names([str(one), str(root / "absent")])
    with pytest.raises(InputError, match="p3: expected CT but holds neither .*; .*notes.txt: expected CT"):
        names([str(root / "p3"), str(root / "p3" / "notes.txt")])


def test_an_input_without_a_volume_is_left_out_and_a_fault_if_it_was_named(
    tmp_path: Path, write_series: Callable[..., Path]
) -> None:
    write_series(tmp_path / "in" / "scan")
    touch(tmp_path / "in", "notes/a.txt")
    paths = [str(tmp_path / "in" / name) for name in ("scan", "notes")]
    for given, fault in ((paths, True), (f"{tmp_path}/in/*", False)):
        items = inference_items(given, tmp_path / "out")
        left = check_inference_items(items)
        assert [Path(item["output"]).name for item in items] == ["scan_synthetic_cect.nii.gz"]
        assert [(one.path, one.fault) for one in left] == [(Path(paths[1]), fault)]
        assert left[0].why.startswith("expected CT but holds neither")
    with pytest.raises(InputError, match="notes: expected CT but holds neither"):
        check_inference_items(inference_items(paths, tmp_path / "out"), strict=True)


@pytest.mark.parametrize("name", ["[1].nii", "a[b].nii", "['a'].nii", "*.nii", "what?.nii"])
def test_a_file_of_that_name_comes_before_a_pattern(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, name, "other.nii")
    monkeypatch.chdir(tmp_path)
    assert [item["image"].path for item in inference_items(name, "out")] == [Path(name)]


def test_what_is_there_already_is_left_out_if_it_was_made_so(tmp_path: Path) -> None:
    for name, values in (("a", HU), ("b", HU - 5)):
        save(tmp_path / f"{name}.nii.gz", values)
    there, settings = tmp_path / "out" / "a_synthetic_cect.nii.gz", "0" * 64

    def left(report: bool = False) -> list[str | None]:
        items = inference_items(tmp_path, tmp_path / "out")
        done = check_inference_items(items, skip_existing=settings, report=report)
        assert len(items) + len(done) == 2
        return [one.output for one in done if not one.fault]

    assert left() == []
    data = LoadImageScand("image")({"image": str(tmp_path / "a.nii.gz"), "output": str(there)})
    data = AddProvenanced(None, settings_hash=settings)({**data, "image": data["image"][None]})
    SaveImageNiftid("image")(data)
    assert left() == []  # its picture is missing
    SaveImagePreviewd()(DrawImagePreviewd("image", "image")(data))
    assert left() == [str(there)]
    assert left(report=True) == []
    SaveReportd("image", "image", tmp_path / "a.nii.gz")(data)  # any file will do as weights
    assert left(report=True) == [str(there)]
    settings = "1" * 64
    assert left() == []
    settings = "0" * 64
    save(tmp_path / "a.nii.gz", HU - 7)
    items = inference_items(tmp_path, tmp_path / "out")
    (one,) = check_inference_items(items, skip_existing=settings)
    assert one.fault and "is the result of another scan" in one.why


def test_what_the_reader_warns_of_is_a_doubt_too_without_the_path(
    tmp_path: Path, write_series: Callable[..., Path]
) -> None:
    def unspecified(index: int, dataset: Any) -> None:
        dataset.RescaleType = "US"

    items = inference_items(write_series(tmp_path / "Doe^Jane", unspecified), tmp_path / "out")
    with pytest.warns(ReaderWarning, match="Doe.Jane: RescaleType is US"):
        check_inference_items(items)
    assert "RescaleType is US (unspecified); taken for HU" in items[0]["doubts"].splitlines()
    assert "Doe" not in items[0]["doubts"]


def test_what_the_reader_warns_of_is_said_where_it_refuses_too(
    tmp_path: Path, write_series: Callable[..., Path]
) -> None:
    def no_hu(index: int, dataset: Any) -> None:
        dataset.RescaleType, dataset.RescaleIntercept = "US", 0  # nothing is air

    items = inference_items(write_series(tmp_path / "a", no_hu), tmp_path / "out")
    with pytest.warns(ReaderWarning, match="RescaleType is US"), pytest.raises(InputError, match="Hounsfield"):
        check_inference_items(items)


def test_a_name_with_no_room_is_one_fault_among_several(tmp_path: Path) -> None:
    long = "x" * 230 + ".nii.gz"
    for name in ("a.nii.gz", long):
        save(tmp_path / name)
    items = inference_items(tmp_path, tmp_path / "out")
    (left,) = check_inference_items(items)
    assert len(items) == 1 and left.fault and "shorten it" in left.why
    with pytest.raises(InputError, match="shorten it"):
        inference_items(tmp_path / long, tmp_path / "out")
