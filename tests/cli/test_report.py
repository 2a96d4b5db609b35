from __future__ import annotations

import shlex
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from monai_nce.cli.app import main
from monai_nce.data.nifti.writer import write_nifti_hu, write_nifti_labels
from monai_nce.visualize.page.embed import unpack
from tests.bundles.test_inference_dicom import scan, write
from tests.visualize.page.pages import data_of, volume_text

NECT = scan(4)  # (44, 50, 4)
CECT = np.where((NECT > 0) & (NECT < 200), NECT + 60, NECT).astype(np.int16)
MADE = np.where((NECT > 0) & (NECT < 200), NECT + 50, NECT).astype(np.int16)
AFFINE = np.array([[-2.5, 0, 0, 60], [0, -2.5, 0, 80], [0, 0, 4.0, -12], [0, 0, 0, 1.0]])
HASH = "0123456789abcdef" * 4
SAYS = "SYNTHETIC PORTAL from PLAIN by monai-nce. Weights trained on 2 phantoms (a)."
PHANTOMS = "Weights trained on phantoms alone, and this scan is none: what they add means nothing."


@pytest.fixture(autouse=True)
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_nifti_hu("made.nii.gz", MADE, AFFINE, "SYNTHETIC", f"{SAYS} {PHANTOMS} Scan SHA-256: {HASH}.")
    write_nifti_hu("nect.nii.gz", NECT, AFFINE)
    upright = nib.as_closest_canonical(nib.Nifti1Image(CECT, AFFINE))  # stored in another order
    write_nifti_hu("real.nii.gz", np.asarray(upright.dataobj), upright.affine)
    organs = np.zeros(NECT.shape, np.uint8)
    organs[20:26, 24:30] = 5
    write_nifti_labels("organs.nii.gz", organs, AFFINE)


def run(capsys: pytest.CaptureFixture[str], typed: str) -> str:
    assert main(["report", *shlex.split(typed)]) == 0
    assert capsys.readouterr().out.endswith("MB. SYNTHETIC, research use only.\n")
    page = typed.partition("-o ")[2].partition(" ")[0] or "made.html"
    return Path(page).read_text(encoding="utf-8")


def refused(capsys: pytest.CaptureFixture[str], typed: str) -> str:
    assert main(["report", *shlex.split(typed)]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ") and said.count("\n") == 1
    return said


def test_images_metrics_and_organs(capsys: pytest.CaptureFixture[str]) -> None:
    html = run(capsys, "made.nii.gz --scan nect.nii.gz --real real.nii.gz --labels organs.nii.gz")
    held = {role: unpack(volume_text(html, f"volume-0-{role}")) for role in ("scan", "change", "real")}
    for role, expected in (("scan", NECT), ("change", MADE - NECT), ("real", CECT)):
        np.testing.assert_array_equal(np.asarray(held[role].dataobj), expected)
        np.testing.assert_allclose(held[role].affine, AFFINE)
    for text in ("identity</th>", "MSE [-1, 1]", "body: PSNR dB", "liver</th>", "real HU"):
        assert text in html
    assert (data_of(html)["source"], "synthetic PORTAL" in html) == ("PLAIN", True)
    assert f"<li>{PHANTOMS}</li>" in html and SAYS in html
    assert html.count(HASH) == 1  # in the head
    assert str(Path.cwd()) not in html and "nect.nii.gz" not in html
    assert "<td>nect.nii.gz</td>" in run(capsys, "made.nii.gz --scan nect.nii.gz --keep-patient-data")


def test_the_synthetic_image_alone(capsys: pytest.CaptureFixture[str]) -> None:
    html = run(capsys, "made.nii.gz -o else/page.html")
    np.testing.assert_array_equal(np.asarray(unpack(volume_text(html, "volume-0-synthetic")).dataobj), MADE)
    assert not Path("made.html").exists()


def test_dicom_series_are_read_and_nothing_of_their_headers_told(capsys: pytest.CaptureFixture[str]) -> None:
    axial, told = [1, 0, 0, 0, 1, 0], {"PatientName": "Doe^Jane", "SeriesDescription": "Jane before"}
    write(Path("plain"), NECT, axial, **told)
    write(Path("derived"), MADE, axial, SyntheticData="YES", **told)
    html = run(capsys, "derived --scan plain -o derived.html")
    held = [np.asarray(unpack(volume_text(html, f"volume-0-{role}")).dataobj) for role in ("scan", "change")]
    np.testing.assert_array_equal(held, [NECT, MADE - NECT])
    assert "Jane" not in html


def test_what_cannot_be_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    write_nifti_hu("moved.nii.gz", NECT, AFFINE + [[0, 0, 0, 2], *[[0] * 4] * 3])
    write_nifti_hu("short.nii.gz", NECT[..., :3], AFFINE)
    assert "moved.nii.gz: expected the grid of made.nii.gz" in refused(capsys, "made.nii.gz --scan moved.nii.gz")
    assert "short.nii.gz: expected the grid of made.nii.gz" in refused(capsys, "made.nii.gz --real short.nii.gz")
    assert "page.pdf: expected a name that ends in .html" in refused(capsys, "made.nii.gz -o page.pdf")
    assert "none.nii.gz" in refused(capsys, "none.nii.gz")
    assert not list(Path().glob("*.html"))


def test_the_page_of_another_image_is_not_replaced(capsys: pytest.CaptureFixture[str]) -> None:
    run(capsys, "made.nii.gz -o page.html")
    run(capsys, "made.nii.gz --scan nect.nii.gz -o page.html")  # the same one's is
    run(capsys, "nect.nii.gz -o other.html")  # of a program that leaves no mark
    run(capsys, "nect.nii.gz -o other.html")
    for image, page in (("nect.nii.gz", "page.html"), ("made.nii.gz", "other.html")):
        assert f"{page}: is not the page of this image" in refused(capsys, f"{image} -o {page}")


def test_it_is_shown_in_the_browser(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[str] = []
    monkeypatch.setattr("webbrowser.open", lambda address: not shown.append(address))
    run(capsys, "made.nii.gz --open")
    assert shown == [(Path.cwd() / "made.html").as_uri()]
    monkeypatch.setattr("webbrowser.open", lambda address: False)
    assert main(["report", "made.nii.gz", "--open"]) == 2
    assert "made.html: is there, but no browser was found to show it" in capsys.readouterr().err
