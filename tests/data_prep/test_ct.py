from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from data_prep.__main__ import main
from data_prep.ct import prepare_ct
from monai_nce.data.dataset.datalist import read_datalist, read_datalist_file
from monai_nce.data.nifti.writer import write_nifti_hu
from monai_nce.errors import InputError
from monai_nce.phantom.dataset import write_phantom_dataset

Body = Callable[..., Path]
LPS = np.array([[-1.0, 0, 0, 90], [0, -1, 0, 80], [0, 0, 5, -20], [0, 0, 0, 1]])  # slices from -20 to 20 mm
CORONAL = np.array([[2.0, 0, 0, -90], [0, 0, -2, 70], [0, -4, 0, 24], [0, 0, 0, 1]])
SHAPE, CORONAL_SHAPE = (180, 160, 9), (90, 13, 70)


def test_unpaired(write_body: Body, tmp_path: Path) -> None:
    nect = [write_body(tmp_path / f"n{i}.nii.gz", LPS, SHAPE, (0, 0), i) for i in range(4)]
    cect = [write_body(tmp_path / "c.nii.gz", CORONAL, CORONAL_SHAPE, (0, 0))]
    out = prepare_ct(nect, cect, tmp_path / "out", size=128)
    items = {item["patient"]: item for item in read_datalist(out)}
    assert sorted(items) == ["cect_000", "nect_000", "nect_001", "nect_002", "nect_003"]
    assert items["cect_000"]["split"] == "training"
    assert "source" not in items["cect_000"] and "target" not in items["nect_000"]
    assert {items[f"nect_{i:03d}"]["split"] for i in range(4)} == {"training", "validation", "test"}
    assert read_datalist_file(out)["provenance"]["paired"] is False


@pytest.mark.parametrize(("affine", "shape"), [(LPS, SHAPE), (CORONAL, CORONAL_SHAPE)])
def test_values_stay_at_their_place(affine: np.ndarray, shape: tuple, write_body: Body, tmp_path: Path) -> None:
    paths = [write_body(tmp_path / f"{hu}.nii.gz", affine, shape, (20, -10), hu) for hu in (0, 1)]
    items = read_datalist(prepare_ct(paths[:1], paths[1:], tmp_path / "out", size=96, spacing=1.3333))
    for hu, (item, role) in enumerate(zip(items, ("source", "target"), strict=True)):
        image = nib.load(item[role])
        assert nib.aff2axcodes(image.affine) == ("R", "A", "S")
        assert image.shape[:2] == (96, 96)
        np.testing.assert_allclose(nib.affines.voxel_sizes(image.affine)[:2], 1.3333, rtol=1e-6)
        x, y, z = np.moveaxis(np.moveaxis(np.indices(image.shape), 0, -1) @ image.affine[:3, :3].T, -1, 0)
        x, y, z = x + image.affine[0, 3], y + image.affine[1, 3], z + image.affine[2, 3]
        assert abs(x.mean() - 20) < 1.1 and abs(y.mean() + 10) < 1.1  # half a voxel of the input
        inside = (abs(x - 20) < 52) & (abs(y + 10) < 32)
        wanted = 40 + hu + x - 2 * y + 3 * z
        np.testing.assert_allclose(np.asarray(image.dataobj)[inside], wanted[inside], atol=1)
        outside = (abs(x - 20) > 64) | (abs(y + 10) > 46)
        assert np.asarray(image.dataobj)[outside].max() <= -990


def test_pairs_share_the_grid_of_the_target(write_body: Body, tmp_path: Path) -> None:
    nect = write_body(tmp_path / "n.nii.gz", CORONAL, CORONAL_SHAPE, (0, 0))
    cect = write_body(tmp_path / "c.nii.gz", LPS, SHAPE, (0, 0))
    (item,) = read_datalist(
        prepare_ct([nect], [cect], tmp_path / "out", size=128, spacing=1.3333, paired=True), "training"
    )
    source, target = nib.load(item["source"]), nib.load(item["target"])
    np.testing.assert_array_equal(source.affine, target.affine)
    assert source.shape == target.shape == (128, 128, 9)
    inner = (slice(28, 100), slice(42, 86), slice(1, 8))
    np.testing.assert_allclose(source.dataobj[inner], target.dataobj[inner], atol=2)


def test_pairs_of_different_number_are_refused(write_body: Body, tmp_path: Path) -> None:
    path = write_body(tmp_path / "a.nii.gz", LPS, SHAPE, (0, 0))
    with pytest.raises(InputError, match="as many NECT as CECT volumes but got 2 and 1"):
        prepare_ct([path, path], [path], tmp_path / "out", paired=True)


def test_pairs_that_do_not_overlap_are_refused(write_body: Body, tmp_path: Path) -> None:
    far = LPS.copy()
    far[2, 3] = 1000
    cect = write_body(tmp_path / "c.nii.gz", LPS, SHAPE, (0, 0))
    nect = tmp_path / "n.nii.gz"
    write_nifti_hu(nect, nib.load(cect).get_fdata() + 1, far)
    with pytest.raises(InputError, match=r"n\.nii\.gz: does not overlap"):
        prepare_ct([nect], [cect], tmp_path / "out", paired=True)
    assert not (tmp_path / "out").exists()


def test_an_image_is_not_both(write_body: Body, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Neither by its path nor as a copy that lies the other way round."""
    path, copy = write_body(tmp_path / "a.nii.gz", LPS, SHAPE, (0, 0)), tmp_path / "b.nii"
    nib.save(nib.as_closest_canonical(nib.load(path)), copy)
    for cect, message in ((path, "given as NECT and as CECT"), (copy, "the same image as")):
        given = ["ct", "--nect", str(path), "--cect", str(cect), "--output_dir", str(tmp_path / "out")]
        assert main(given) == 2
        assert message in capsys.readouterr().err.splitlines()[-1]
        assert not (tmp_path / "out").exists()


def test_pairs_by_the_numbers_of_their_names(write_body: Body, tmp_path: Path) -> None:
    for number in (1, 2, 10):
        write_body(tmp_path / "n" / f"{number}.nii", LPS, SHAPE, (0, 0), number)
        write_body(tmp_path / "c" / f"{number:02d}.nii", LPS, SHAPE, (0, 0), number + 50)
    out = prepare_ct([tmp_path / "n"], [tmp_path / "c"], tmp_path / "out", size=32, spacing=8, paired=True)
    for item in read_datalist(out):
        images = [np.asarray(nib.load(item[role]).dataobj)[16, 16, 4] for role in ("source", "target")]
        assert images[1] - images[0] == 50


def test_copies_are_in_one_split(write_body: Body, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    nect = [write_body(tmp_path / f"n{i}.nii", LPS, SHAPE, (0, 0), i % 2) for i in range(4)]
    out = prepare_ct(nect, [], tmp_path / "out", size=32, spacing=8, test_fraction=0.5)
    split = {item["patient"]: item["split"] for item in read_datalist(out)}
    assert split["nect_000"] == split["nect_002"] != split["nect_001"] == split["nect_003"]
    assert "notice: 2 of 4 patients are persons that come twice, or the same image" in capsys.readouterr().err


def damage_header(path: Path) -> None:
    path.write_text("hello")


def damage_end(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-9])


@pytest.mark.parametrize("damage", [damage_header, damage_end])
def test_nothing_is_written_when_one_input_is_bad(
    damage: Callable[[Path], None], write_body: Body, tmp_path: Path
) -> None:
    good = write_body(tmp_path / "good.nii.gz", LPS, SHAPE, (0, 0))
    bad = write_body(tmp_path / "bad.nii.gz", LPS, SHAPE, (0, 0))
    damage(bad)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(InputError, match=r"bad\.nii\.gz"):
        prepare_ct([good], [bad], tmp_path / "x" / "out")
    assert sorted(tmp_path.iterdir()) == before


def test_the_default_grid_is_the_phantom_s(write_body: Body, tmp_path: Path) -> None:
    path, other = (write_body(tmp_path / f"{hu}.nii.gz", LPS, SHAPE, (0, 0), hu) for hu in (0, 1))
    out = tmp_path / "out"
    assert main(["ct", "--nect", str(path), "--cect", str(other), "--output_dir", str(out)]) == 0
    image = nib.load(read_datalist(out, "training")[0]["source"])
    np.testing.assert_allclose(nib.affines.voxel_sizes(image.affine)[:2], 2.6667, rtol=1e-6)
    assert image.shape[0] == inspect.signature(write_phantom_dataset).parameters["size"].default == 128


def test_an_error_does_not_run_into_the_bar(write_body: Body, tmp_path: Path, on_terminal: Callable[..., str]) -> None:
    good = write_body(tmp_path / "good.nii.gz", LPS, SHAPE, (0, 0))
    air = write_body(tmp_path / "air.nii.gz", LPS, SHAPE, (5000, 0))
    given = ["ct", "--nect", str(good), "--cect", str(air), "--output_dir", str(tmp_path / "out")]
    *_, bar, error, end = on_terminal(lambda: main(given)).split("\n")
    assert "50%" in bar and error.startswith(f"error: {air}: ") and end == ""


def test_too_few_patients_are_told(write_body: Body, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, other = (write_body(tmp_path / f"{hu}.nii.gz", LPS, SHAPE, (0, 0), hu) for hu in (0, 1))
    prepare_ct([path], [other], tmp_path / "out", size=64)
    err = capsys.readouterr().err
    assert "notice: too few patients for a validation split" in err
    assert "notice: too few patients for a test split" in err


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], "expected --nect and --cect, or --studies, or --csv"),
        (["--nect", "a", "--paired"], "--cect: expected beside --nect and --paired"),
        (["--cect", "a", "--paired"], "--nect: expected beside --cect and --paired"),
        (["--nect", "a", "--cect", "b", "--studies", "c"], "--studies: does not go with --nect and --cect"),
        (["--nect", "a", "--cect", "b", "--csv", "c"], "--csv: does not go with"),
        (["--nect", "a", "--cect", "b", "--phase", "late"], "--phase: does not go with"),
        (["--nect", "a", "--cect", "b", "--min-slices", "9"], "--min_slices: does not go with"),
        (["--nect", "a", "--cect", "b", "--resume"], "--resume: does not go with"),
        (["--studies", "a", "--paired"], "--paired: goes with --nect and --cect only"),
        (["--csv", "a", "--studies", "b", "--preset", "waw-tace"], "--preset: does not go with --csv"),
        (["--preset", "waw-tace"], "expected --nect and --cect, or --studies, or --csv"),
        (["--studies", "a", "--min-overlap", "1.1"], "--min_overlap: expected a number above 0, at most 1 but got 1.1"),
        (["--studies", "nothing here"], "nothing here: no such file or folder"),
    ],
)
def test_one_way_to_say_what_is_meant(
    given: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["ct", *given, "--out-dir", str(tmp_path / "out")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {message}")
    assert not (tmp_path / "out").exists()


def test_real_scans_keep_their_hu(real_data: Path, tmp_path: Path) -> None:
    """Organ means of the originals, with the masks brought along by nearest neighbour; vessels lose at their edges."""
    out = prepare_ct(
        [real_data / "nect_abdomen" / "ct.nii.gz"],
        [real_data / "cect_abdomen_dicom" / "series"],
        tmp_path,
        size=256,
        spacing=1.3333,
    )
    nect, cect = (item.get("source") or item["target"] for item in read_datalist(out, "training"))
    for path, organs, spacing, means in (
        (nect, "nect_abdomen", 3, {5: 45, 52: 42}),
        (cect, "cect_abdomen_dicom", 2, {5: 89, 52: 177, 64: 130}),
    ):
        image, labels = nib.load(path), nib.load(real_data / organs / "organs.nii.gz")
        np.testing.assert_allclose(np.diag(image.affine)[:3], [1.3333, 1.3333, spacing], rtol=1e-5)
        move = np.linalg.inv(labels.affine) @ image.affine
        mask = ndimage.affine_transform(
            np.asarray(labels.dataobj), move[:3, :3], move[:3, 3], output_shape=image.shape, order=0
        )
        for label, mean in means.items():
            assert np.asarray(image.dataobj)[mask == label].mean() == pytest.approx(mean, abs=1.5 if label == 5 else 5)


def test_all_can_be_for_training(write_body: Body, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = [str(write_body(tmp_path / f"{hu}.nii.gz", LPS, SHAPE, (0, 0), hu)) for hu in range(6)]
    given = ["ct", "--nect", *paths[:3], "--cect", *paths[3:], "--output_dir", str(tmp_path / "out")]
    more = ["--validation-fraction", "0", "--test-fraction", "0", "--licence", "CC0, of nobody"]
    assert main([*given, "--size", "32", *more]) == 0
    assert [item["split"] for item in read_datalist(tmp_path / "out")] == ["training"] * 6
    made = read_datalist_file(tmp_path / "out")["provenance"]
    assert (made["validation_fraction"], made["test_fraction"]) == (0, 0)
    assert read_datalist_file(tmp_path / "out")["licence"] == "CC0, of nobody"
    assert "notice" not in capsys.readouterr().err


@pytest.mark.parametrize("way", [["--nect", "a", "--cect", "b"], ["--studies", "c"]])
def test_fractions_that_leave_nothing_are_refused(way: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ct", *way, "--output_dir", "out", "--test_fraction", "0.9"]) == 2
    message = "fractions of 0 or more that leave some for training but got 0.125 for validation and 0.9 for test"
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(("given", "lacks", "role"), [("nect", "cect", "source"), ("cect", "nect", "target")])
def test_one_kind_alone_makes_a_data_set_for_a_mixture(
    given: str, lacks: str, role: str, write_body: Body, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(write_body(tmp_path / "a.nii.gz", LPS, SHAPE, (0, 0)))
    wanted = ["ct", f"--{given}", path, "--output_dir", str(tmp_path / "out"), "--size", "32"]
    assert main([*wanted, "--validation_fraction", "0", "--test_fraction", "0"]) == 0
    (item,) = read_datalist(tmp_path / "out")
    assert set(item) == {"patient", "split", role}
    assert f"notice: no --{lacks}: a training can take this data set in a mixture" in capsys.readouterr().err
