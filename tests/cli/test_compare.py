from __future__ import annotations

import json
import shlex
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from monai_nce.cli.app import main
from monai_nce.data import read_ct
from monai_nce.data.nifti.writer import write_nifti_hu, write_nifti_labels
from monai_nce.errors import InputError
from monai_nce.metrics import ADDITIONAL_METRICS, METRICS
from monai_nce.metrics.compare_volumes import compare_volumes
from tests.bundles.test_inference_dicom import scan
from tests.data.scans.in_memory_kinds import oblique

NECT = scan(4)  # (44, 50, 4)
CECT = np.where((NECT > 0) & (NECT < 200), NECT + 60, NECT).astype(np.int16)
MADE = np.where((NECT > 0) & (NECT < 200), NECT + 50, NECT).astype(np.int16)
AFFINE = oblique()
LABELS = np.zeros(NECT.shape, np.uint8)
LABELS[20:26, 24:30] = 5


@pytest.fixture(autouse=True)
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_nifti_hu("made.nii.gz", MADE, AFFINE, "SYNTHETIC CECT from NECT by monai-nce")
    write_nifti_hu("real.nii.gz", CECT, AFFINE)
    write_nifti_hu("nect.nii.gz", NECT, AFFINE)
    write_nifti_labels("organs.nii.gz", LABELS, AFFINE)
    write_nifti_labels("mask.nii.gz", NECT > -500, AFFINE)


def run(capsys: pytest.CaptureFixture[str], typed: str) -> str:
    assert main(["compare", *shlex.split(typed)]) == 0
    done = capsys.readouterr()
    assert not done.err
    return done.out


def test_two_files_with_the_floor_and_organs(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    typed = "made.nii.gz real.nii.gz --scan nect.nii.gz --organs organs.nii.gz --mask mask.nii.gz"
    out = run(capsys, typed)
    lines = [line.split() for line in out.splitlines()]
    assert lines[0][:6] == ["4", "slices", "of", "44", "×", "50"]
    head, synthetic, identity = out.splitlines()[1:4]
    assert head.split("  ")[-1].strip() == "mask: PSNR dB" and "MSE [-1, 1]" in head
    assert synthetic.startswith("synthetic") and identity.startswith("identity")
    assert float(synthetic.split()[1]) < float(identity.split()[1])
    assert any(line[:2] == ["liver", f"{144 * abs(np.linalg.det(AFFINE)) / 1000:.0f}"] for line in lines)
    assert "hold motion between them as well as error. Research use only." in out
    assert len(list(tmp_path.iterdir())) == 5  # and nothing is written
    found = json.loads(run(capsys, f"{typed} --json -o out.json"))
    assert json.loads(Path("out.json").read_text()) == found
    expected = compare_volumes(MADE, CECT, NECT > -500, NECT)
    assert found["methods"]["synthetic"]["within"] == pytest.approx(expected["synthetic"]["within"])
    assert found["methods"]["identity"]["slices"] == pytest.approx(expected["identity"]["slices"])
    (liver,) = found["organs"]
    where = LABELS == 5
    for key, volume in (("before", NECT), ("after", MADE), ("real", CECT)):
        assert liver[key] == pytest.approx(volume[where].mean())
    assert (found["within"], found["slices"], "motion" in found["note"]) == ("mask", 4, True)


def test_metrics_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    """Beside the standard ones, and the floor beside the synthetic image."""
    typed = "made.nii.gz real.nii.gz --scan nect.nii.gz --json --metrics"
    some = json.loads(run(capsys, f"{typed} cw_ssim,tolerant_mae_hu"))["methods"]
    assert set(some["identity"]["slices"]) == {*METRICS, "cw_ssim", "tolerant_mae_hu"}
    methods = json.loads(run(capsys, f"{typed} all"))["methods"]
    assert set(methods["synthetic"]["slices"]) == {*METRICS, *ADDITIONAL_METRICS}
    assert methods["identity"]["slices"]["source_nmi"] == pytest.approx(2)
    spacing = np.linalg.norm(AFFINE[:3, :3], axis=0)  # here the scan's own axes are those of the file
    expected = compare_volumes(MADE, CECT, NECT > -500, NECT, additional=["tolerant_mae_hu"], spacing=spacing)
    of = "synthetic", "slices", "tolerant_mae_hu"
    assert methods[of[0]][of[1]][of[2]] == pytest.approx(expected[of[0]][of[1]][of[2]], abs=1e-6)
    head = run(capsys, "made.nii.gz real.nii.gz --metrics all").splitlines()[1]
    assert "CW-SSIM" in head and "NMI" not in head  # the scan is not given


def test_what_lies_alike_may_be_stored_in_another_order(capsys: pytest.CaptureFixture[str]) -> None:
    plain = json.loads(run(capsys, "made.nii.gz real.nii.gz --mask mask.nii.gz --json"))
    assert list(plain["methods"]) == ["synthetic"] and plain["organs"] is None
    for name in ("real", "mask"):
        image = nib.load(f"{name}.nii.gz")
        turned = image.as_reoriented(np.array([[2, -1], [0, -1], [1, 1]]))
        nib.save(turned, f"turned_{name}.nii.gz")
    again = json.loads(run(capsys, "made.nii.gz turned_real.nii.gz --mask turned_mask.nii.gz --json"))
    assert again["methods"]["synthetic"]["within"] == pytest.approx(plain["methods"]["synthetic"]["within"])
    assert again["methods"]["synthetic"]["slices"] == pytest.approx(plain["methods"]["synthetic"]["slices"])


def test_without_a_scan_organs_have_no_before_and_the_body_is_compared(capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads(run(capsys, "made.nii.gz real.nii.gz --organs organs.nii.gz --json"))
    assert found["within"] == "body" and found["organs"][0]["before"] is None and found["organs"][0]["change"] is None
    inside = found["methods"]["synthetic"]
    assert inside["within"]["mae_hu"] > inside["slices"]["mae_hu"]  # without the air around


def test_organs_on_another_grid_are_resampled_and_it_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    nib.save(nib.load("organs.nii.gz").slicer[10:40], "cut.nii.gz")
    assert main(["compare", "made.nii.gz", "real.nii.gz", "--organs", "cut.nii.gz", "--json"]) == 0
    done = capsys.readouterr()
    assert done.err.startswith("WARNING: cut.nii.gz: lies on another grid") and done.err.count("\n") == 1
    assert json.loads(done.out)["organs"][0]["real"] == pytest.approx(CECT[LABELS == 5].mean())


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("made.nii.gz made.nii.gz", "made.nii.gz: the image is synthetic already"),
        ("made.nii.gz real.nii.gz --scan made.nii.gz", "made.nii.gz: the image is synthetic already"),
        (
            "made.nii.gz cut.nii.gz",
            "expected the grid of made.nii.gz, 44 × 50 × 4 voxels, but got 43 × 50 × 4",
        ),
        (
            "made.nii.gz moved.nii.gz",
            "expected the grid of made.nii.gz but its voxels lie up to 3.0 mm elsewhere",
        ),
        ("made.nii.gz real.nii.gz --mask cut_mask.nii.gz", "cut_mask.nii.gz: expected the grid of made.nii.gz"),
        ("made.nii.gz real.nii.gz --mask empty.nii.gz", "mask: expected voxels to compare but it is empty"),
        (
            "made.nii.gz real.nii.gz --organs organs.nii.gz --naming x",
            "expected naming to be totalsegmentator, spl",
        ),
        ("made.nii.gz real.nii.gz --window-width 0", "expected a positive window_width in HU but got 0"),
        ("made.nii.gz none.nii.gz", "none.nii.gz: no such file"),
        ("made.nii.gz organs.nii.gz", "organs.nii.gz: values from 0 to 5 cannot be Hounsfield units"),
        (
            "made.nii.gz real.nii.gz -o made.nii.gz/a.json",
            "made.nii.gz: expected a folder for the results",
        ),
        ("made.nii.gz", "Missing argument 'REAL'"),
        ("made.nii.gz real.nii.gz --metrics ssim", "metrics: expected one of tolerant_mae_hu, cw_ssim"),
        ("made.nii.gz real.nii.gz --metrics source_nmi", "--metrics source_nmi: expected --scan"),
    ],
)
def test_wrong_input_is_one_line(typed: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    write_nifti_hu("cut.nii.gz", CECT[1:], AFFINE)
    write_nifti_hu("moved.nii.gz", CECT, AFFINE + np.outer([3, 0, 0, 0], [0, 0, 0, 1]))
    write_nifti_labels("cut_mask.nii.gz", LABELS[1:], AFFINE)
    write_nifti_labels("empty.nii.gz", LABELS * 0, AFFINE)
    assert main(["compare", *shlex.split(typed)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1 and said in error


def test_synthetic_images_stay_refused_elsewhere(capsys: pytest.CaptureFixture[str]) -> None:
    run(capsys, "made.nii.gz real.nii.gz")
    with pytest.raises(InputError, match="synthetic already"):
        read_ct("made.nii.gz")
