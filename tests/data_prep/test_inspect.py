from __future__ import annotations

import json
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from data_prep import inspect
from data_prep.__main__ import main
from monai_nce.data.nifti.writer import write_nifti_hu
from tests.data_prep.dicom_samples import AFFINE, HU, SENTINELS, at, write_ct

Output = pytest.CaptureFixture[str]
FIELDS = ["kind", "path", "modality", "description", "shape", "spacing_mm", "affine", "phase_hint", "phase_evidence"]


def run(path: Path, capsys: Output, *options: str) -> tuple[int, list[dict[str, Any]], list[str]]:
    """Exit code, list, and lines on stderr."""
    code = main(["inspect", str(path), "--json", *options])
    out, err = capsys.readouterr()

    def no_constant(name: str) -> None:
        raise AssertionError(f"{name} is not JSON")

    assert "Traceback" not in err and len(err.splitlines()) <= 20
    return code, json.loads(out, parse_constant=no_constant), err.splitlines()


def test_an_accepted_series_and_file(tmp_path: Path, capsys: Output) -> None:
    write_ct(tmp_path / "a", "Abdomen portal\n3.0\x1b[0m")
    write_nifti_hu(tmp_path / "b.nii.gz", HU, AFFINE, description="text")
    code, (dicom, nifti), err = run(tmp_path, capsys)
    assert (code, err) == (0, [])
    assert list(dicom) == list(nifti) == [*FIELDS, "accepted", "reason", "warnings"]
    assert (dicom["kind"], dicom["path"], dicom["modality"]) == ("dicom", str(tmp_path / "a"), "CT")
    assert (dicom["description"], dicom["phase_hint"]) == ("Abdomen portal 3.0 [0m", "cect")
    assert dicom["warnings"] == [f"{tmp_path / 'a'}: seems to show contrast medium already"]
    assert (nifti["kind"], nifti["path"], nifti["modality"]) == ("nifti", str(tmp_path / "b.nii.gz"), None)
    assert (nifti["description"], nifti["phase_hint"], nifti["warnings"]) == ("", "unknown", [])
    for volume in (dicom, nifti):
        assert (volume["shape"], volume["accepted"], volume["reason"]) == ([24, 20, 6], True, None)
        np.testing.assert_allclose(volume["affine"], AFFINE, atol=1e-5)
        np.testing.assert_allclose(volume["spacing_mm"], [0.8, 0.7, 2.5], rtol=1e-6)


def test_exit_codes(tmp_path: Path, capsys: Output) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "notes.txt").write_text("hello")
    assert run(tmp_path / "empty", capsys) == (
        2,
        [],
        [f"warning: {tmp_path / 'empty'}: 1 of 1 files are no images; left out",
         f"error: {tmp_path / 'empty'}: no image found"],
    )  # fmt: skip
    assert run(tmp_path / "none", capsys) == (2, [], [f"error: {tmp_path / 'none'}: no such file or folder"])
    write_ct(tmp_path / "bad", edit=at(2, RescaleSlope=None))
    code, (bad,), (line,) = run(tmp_path / "bad", capsys)
    assert (code, bad["accepted"], bad["shape"], bad["spacing_mm"], bad["affine"]) == (3, False, None, None, None)
    assert line == f"refused: {bad['reason']}" == f"refused: {tmp_path / 'bad' / 'slice1-2.dcm'}: has no RescaleSlope"
    write_ct(tmp_path / "good")
    code, volumes, err = run(tmp_path, capsys)
    assert code == 0 and [volume["accepted"] for volume in volumes] == [False, True]
    assert err[1:] == [line]


def test_stderr_is_short(tmp_path: Path, capsys: Output) -> None:
    for index in range(30):
        (tmp_path / f"{index}.nii").write_text("nothing")
    code, volumes, err = run(tmp_path, capsys)
    assert (code, len(volumes), len(err), err[-1]) == (3, 30, 20, "... and 11 lines more")


def test_the_table(tmp_path: Path, capsys: Output) -> None:
    write_ct(tmp_path / "good", "nativ")
    write_ct(tmp_path / "bad", edit=at(5, SyntheticData="YES"))
    assert main(["inspect", str(tmp_path)]) == 0
    out, err = capsys.readouterr()
    head, bad, good, more = out.splitlines()
    assert head.split()[:3] == ["kind", "modality", "shape"]
    assert bad.startswith("refused") and bad.endswith(str(tmp_path / "bad"))
    assert good.startswith("accepted") and "24 × 20 × 6" in good and "0.8 × 0.7 × 2.5  nect" in good
    assert err.count("\n") == 1 and "synthetic already" in err


def test_a_cut_slice_in_a_shared_folder_and_one_beside_it(tmp_path: Path, capsys: Output) -> None:
    """Cut at its end, a slice still says whose it is."""
    write_ct(tmp_path, "one", 1)
    write_ct(tmp_path, "two", 2)
    cut = tmp_path / "slice1-5.dcm"
    cut.write_bytes(cut.read_bytes()[:-100])
    code, (one, two), (line,) = run(tmp_path, capsys)
    assert (code, one["accepted"], two["accepted"]) == (0, False, True)
    assert "slice1-5.dcm: its voxels cannot be decoded" in line
    assert one["shape"] == [24, 20, 6]  # as the headers have it


def test_a_slice_without_pixels_at_the_end(tmp_path: Path, capsys: Output) -> None:
    write_ct(tmp_path, edit=at(5, PixelData=None))
    code, (volume,), (line,) = run(tmp_path, capsys)
    assert code == 3 and "slice1-5.dcm: has no pixel data" in line
    write_ct(tmp_path, edit=at(5, PixelData=None, Rows=None, Columns=None))
    code, (volume,), (line,) = run(tmp_path, capsys)
    assert code == 3 and "slice1-5.dcm: a CT image without Rows" in line


def nifti(edit: Callable[[bytearray], None]) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        write_nifti_hu(folder / "a.nii", HU, AFFINE)
        content = bytearray((folder / "a.nii").read_bytes())
        edit(content)
        (folder / "a.nii").write_bytes(content)

    return write


def put(offset: int, form: str, *values: float) -> Callable[[bytearray], None]:
    return lambda content: struct.pack_into(form, content, offset, *values)


def nan(folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    volume = HU.astype(np.float32)
    volume[0, 0, 0] = np.nan
    nib.save(nib.Nifti1Image(volume, AFFINE), folder / "a.nii.gz")


def time_series(folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    nib.save(nib.Nifti1Image(np.stack([HU, HU], -1), AFFINE), folder / "a.nii.gz")


def series(edit: Callable[[int, Any], None]) -> Callable[[Path], None]:
    return lambda folder: void(write_ct(folder, edit=edit))


def void(value: object) -> None:
    """Let a value go."""


def without(name: str) -> Callable[[Path], None]:
    return lambda folder: (write_ct(folder) / name).unlink()


def two_phases(folder: Path) -> None:
    def late(index: int, dataset: Any) -> None:
        dataset.SeriesInstanceUID, dataset.StudyInstanceUID, dataset.FrameOfReferenceUID = "1.2.3", "1.2", "1.2.4"
        dataset.AcquisitionNumber = dataset.SeriesNumber

    write_ct(folder, "early", 1, late)
    write_ct(folder, "late", 2, late)


def raw_values(index: int, dataset: Any) -> None:
    del dataset.RescaleSlope, dataset.RescaleIntercept


def beyond_int16(index: int, dataset: Any) -> None:
    dataset.RescaleSlope = 40


def tilted_unevenly(index: int, dataset: Any) -> None:
    dataset.ImagePositionPatient = [-10, -20 + [0, 0, 1, 2, 2, 2][index], 30 + 2.5 * index]


REFUSED = {
    "missing slice": (without("slice1-2.dcm"), "uneven slices: 5.00 mm between the positions 32.50 and 37.50"),
    "a slice 0.5 mm off": (series(at(2, ImagePositionPatient=[-10, -20, 35.5])), "uneven slices: 3.00 mm"),
    "duplicate position": (series(at(2, ImagePositionPatient=[-10, -20, 32.5])), "two different slices at position"),
    "two phases": (two_phases, "of the acquisitions 1, 2"),
    "two patients": (series(at(3, PatientID="other")), "several patients in one series"),
    "two frames of reference": (series(at(3, FrameOfReferenceUID="1.2.3")), "differ in FrameOfReferenceUID"),
    "uneven shift in plane": (series(tilted_unevenly), "in plane"),
    "no rescaling": (series(raw_values), "has no RescaleSlope"),
    "rescaling on some": (series(at(4, RescaleIntercept=None)), "slice1-4.dcm: has no RescaleIntercept"),
    "slope 0": (series(at(4, RescaleSlope=0)), "RescaleSlope other than 0"),
    "another unit": (series(at(0, RescaleType="ED")), "RescaleType is ED"),
    "MR": (series(lambda index, dataset: setattr(dataset, "Modality", "MR")), "expected Modality CT but got MR"),
    "beyond int16": (series(beyond_int16), "cannot be Hounsfield units"),
    "no PixelSpacing": (series(at(1, PixelSpacing=None)), "slice1-1.dcm: has no PixelSpacing"),
    "multi-frame": (series(at(1, NumberOfFrames=2)), "multi-frame image without functional groups"),
    "synthetic": (series(at(0, SyntheticData="YES")), "synthetic already"),
    "NIfTI cut": (nifti(lambda content: content.__delitem__(slice(-9, None))), "truncated or damaged"),
    "NIfTI with NaN": (nan, "NaN or infinite"),
    "NIfTI 4-D": (time_series, "expected one three-dimensional volume"),
    "NIfTI without affine": (nifti(put(252, "<2h", 0, 0)), "has no orientation"),
    "NIfTI with a singular affine": (nifti(put(280, "<4f", 0, 0, 0, 0)), "singular"),
    "NIfTI in metres": (nifti(put(123, "<B", 1)), "expected millimetres but the header says meter"),
    "NIfTI that claims gigabytes": (nifti(put(42, "<3h", 30000, 30000, 30000)), "more than this program takes"),
    "NIfTI synthetic": (nifti(put(148, "<9s", b"SYNTHETIC")), "synthetic already"),
}


@pytest.mark.parametrize(("write", "message"), REFUSED.values(), ids=REFUSED)
def test_the_failure_table(write: Callable[[Path], None], message: str, tmp_path: Path, capsys: Output) -> None:
    """Refused by inspect and by convert, in one line, with nothing written."""
    write(tmp_path / "in")
    code, (volume,), (line,) = run(tmp_path / "in", capsys)
    assert (code, volume["accepted"], line) == (3, False, f"refused: {volume['reason']}")
    assert message in line
    before = sorted(tmp_path.rglob("*"))
    assert main(["convert", str(tmp_path / "in"), "-o", str(tmp_path / "new" / "out.nii.gz")]) == 3
    assert capsys.readouterr().err == line + "\n"
    assert sorted(tmp_path.rglob("*")) == before


def test_the_reader_s_own_failure_does_not_end_the_listing(
    tmp_path: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in "ab":
        write_nifti_hu(tmp_path / f"{name}.nii", HU, AFFINE)

    def explode(path: Path) -> None:
        raise RecursionError(SENTINELS[0])

    monkeypatch.setattr("monai_nce.data.scans.reader.read_file", explode)
    code, volumes, err = run(tmp_path, capsys)
    assert code == 3 and len(volumes) == 2
    assert err == [f"refused: {tmp_path / name}.nii: an unexpected RecursionError while it was read" for name in "ab"]


def test_no_patient_data(tmp_path: Path, capsys: Output) -> None:
    """In good and bad series of a person, in what is printed and what is written."""
    text = "Abdomen SENTINELNAME 19030405"
    write_ct(tmp_path / "in" / "good", text)
    for name, (edit, _) in {key: value for key, value in REFUSED.items() if "NIfTI" not in key}.items():
        edit(tmp_path / "in" / name)
    write_ct(tmp_path / "in" / "odd", edit=at(1, RescaleSlope="1", Modality="SENTINELID", RescaleType="Sentinelname"))
    outputs = []
    for arguments in (
        ["inspect", str(tmp_path / "in"), "--json"],
        ["inspect", str(tmp_path / "in")],
        ["convert", str(tmp_path / "in"), "-o", str(tmp_path / "out.nii.gz")],
        ["convert", str(tmp_path / "in" / "good"), "-o", str(tmp_path / "out.nii.gz")],
    ):
        main(arguments)
        outputs += capsys.readouterr()
    assert "Abdomen *** ***" in outputs[0]
    content = (tmp_path / "out.nii.gz").read_bytes() + nib.load(tmp_path / "out.nii.gz").header.binaryblock
    for sentinel in SENTINELS:
        assert all(sentinel.lower() not in output.lower() for output in outputs)
        assert sentinel.lower().encode() not in content.lower()


@pytest.mark.skipif(os.name != "posix", reason="names of files that other systems do not allow")
def test_a_hostile_tree(tmp_path: Path, capsys: Output) -> None:
    def hostile(index: int, dataset: Any) -> None:
        dataset.SeriesInstanceUID = dataset.StudyInstanceUID = "../../../tmp/evil"
        dataset.SeriesDescription = "/etc/passwd\r\n}]\x00\x1b]0;x\x07" + "x" * 300
        dataset.ContrastBolusAgent = "\n" * 20

    write_ct(tmp_path / "in" / "new\nline\x1b[2J", edit=hostile)
    (tmp_path / "in" / "loop").symlink_to(tmp_path / "in")
    os.mkfifo(tmp_path / "in" / "pipe.nii")
    (tmp_path / "in" / "device.nii.gz").symlink_to("/dev/zero")
    (tmp_path / "in" / os.fsdecode(b"bad\xff.nii")).write_text("no")
    before = sorted(map(str, tmp_path.rglob("*")))
    code, volumes, err = run(tmp_path / "in", capsys)
    assert code == 0 and len(volumes) == 2
    (found,) = (volume for volume in volumes if volume["accepted"])
    assert len(found["description"]) <= 64 and found["description"].isprintable()
    assert len(err) == 2 and all(line.isprintable() for line in err)
    assert main(["inspect", str(tmp_path / "in")]) == 0
    out, _ = capsys.readouterr()
    assert len(out.splitlines()) == 4 and all(line.isprintable() for line in out.splitlines())
    assert sorted(map(str, tmp_path.rglob("*"))) == before


def test_real_scans(real_data: Path, capsys: Output) -> None:
    code, volumes, err = run(real_data, capsys)
    found = {str(Path(volume["path"]).relative_to(real_data)): volume for volume in volumes}
    cect = found["cect_abdomen_dicom/series"]
    assert (code, cect["accepted"], cect["phase_hint"], cect["shape"]) == (
        0,
        True,
        "cect",
        [512, 512, 20],
    )
    np.testing.assert_allclose(cect["spacing_mm"], [0.9765625, 0.9765625, 2])
    nect = found["nect_abdomen/ct.nii.gz"]
    assert (nect["accepted"], nect["phase_hint"]) == (True, "nect")
    tilt = found["bad_dicom/gantrytilting"]
    assert tilt["accepted"] and "a gantry tilt of 14.0°" in tilt["warnings"][0]
    refusals = "\n".join(err)
    assert "bad_dicom/sliceincrement: uneven slices: 10.00 mm" in refusals
    assert "expected Modality CT but got MR" in found["bad_dicom/sliceorientation"]["reason"]
    assert sorted(v["phase_hint"] for v in volumes if "pair_2d" in v["path"]) == ["cect", "nect"]


def test_no_bar_unless_on_a_terminal(tmp_path: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch) -> None:
    write_ct(tmp_path)
    assert inspect.inspect(tmp_path)[0][0].volume is None
    assert capsys.readouterr().err == ""
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    inspect.inspect(tmp_path)
    assert "inspect" in capsys.readouterr().err
