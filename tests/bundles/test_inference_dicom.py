"""The bundle's inference from DICOM to DICOM: every voxel at its own place, and nothing lost on the way."""

from __future__ import annotations

import gzip
import shutil
import warnings
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest
import torch
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, JPEG2000Lossless, generate_uid

from monai_nce.errors import InputError, find_input_error
from monai_nce.networks import Generator

CONFIG = "bundles/nce/configs/inference.json"
SECRETS = {"PatientName": "SENTINELNAME", "PatientID": "SENTINELID", "PatientBirthDate": "18990203"}
DESCRIPTIONS = {"SeriesDescription": "SENTINELTEXT", "ProtocolName": "SENTINELTEXT", "InstitutionName": "SENTINELTEXT"}
# The direction of growing columns and rows; slices follow along their cross product.
DIRECTIONS = {
    "head up": [1, 0, 0, 0, 1, 0],
    "rows leftwards, slices downwards": [-1, 0, 0, 0, 1, 0],
    "prone": [-1, 0, 0, 0, -1, 0],
    "turned by a quarter": [0, 1, 0, -1, 0, 0],
    "coronal": [1, 0, 0, 0, 0, -1],
}


@pytest.fixture(scope="session")
def identity(tmp_path_factory: pytest.TempPathFactory) -> dict:
    """Overrides that load a network which gives back what it gets."""
    torch.manual_seed(0)
    network = Generator(channels=(8, 8), hidden_channels=8, residual=True)
    path = tmp_path_factory.mktemp("weights") / "model.pt"
    torch.save(network.state_dict(), path)
    return {"checkpoint": str(path), "network_def#channels": [8, 8], "network_def#hidden_channels": 8}


@pytest.fixture(scope="session")
def brighter(tmp_path_factory: pytest.TempPathFactory) -> dict:
    """Overrides that load a network which brightens."""
    torch.manual_seed(0)
    network = Generator(channels=(8, 8), hidden_channels=8, residual=True)
    torch.nn.init.constant_(network.head.bias, 0.3)
    path = tmp_path_factory.mktemp("weights") / "model.pt"
    torch.save(network.state_dict(), path)
    return {"checkpoint": str(path), "network_def#channels": [8, 8], "network_def#hidden_channels": 8}


def scan(slices: int) -> np.ndarray:
    """(columns, rows, slices) in HU: a body with bone and gas, no two slices alike, nothing symmetric."""
    columns, rows = 44, 50
    x, y = np.meshgrid(np.arange(columns) - 20, np.arange(rows) - 24, indexing="ij")
    hu = np.full((columns, rows, slices), -1000.0)
    hu[(x / 18) ** 2 + (y / 20) ** 2 < 1] = 40
    hu[(x - 5) ** 2 + (y + 6) ** 2 < 16] = 900
    hu[(x + 3) ** 2 + (y - 7) ** 2 < 12] = -700
    noise = np.random.default_rng(0).normal(0, 30, hu.shape) + 5 * np.arange(slices)
    return np.round(np.clip(hu + noise, -1024, 3000)).astype(np.int16)


def write(
    folder: Path, hu: np.ndarray, directions: list[int], tilt: float = 0.0, compress: bool = False, **values: str
) -> Path:
    """A CT series; files are named against the order of the slices. ``tilt``: shift of rows in mm per slice."""
    folder.mkdir(parents=True)
    axes = np.array(directions, dtype=float).reshape(2, 3)
    study, series, frame = (generate_uid() for _ in range(3))
    for index in range(hu.shape[2]):
        dataset = pydicom.Dataset()
        dataset.file_meta = pydicom.dataset.FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = CTImageStorage
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.FrameOfReferenceUID = study, series, frame
        dataset.Modality, dataset.ImageType, dataset.PatientID = "CT", ["ORIGINAL", "PRIMARY", "AXIAL"], "1"
        dataset.SeriesNumber, dataset.InstanceNumber = 3, hu.shape[2] - index
        dataset.ImageOrientationPatient, dataset.PixelSpacing = directions, [2.5, 2.25]
        position = np.array([-31.5, 12.25, 100]) + index * (4 * np.cross(*axes) + tilt * axes[1])
        dataset.ImagePositionPatient = [round(float(value), 4) for value in position]
        dataset.SliceThickness = 4
        dataset.Columns, dataset.Rows = hu.shape[:2]
        dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
        dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 16, 15, 0
        dataset.RescaleSlope, dataset.RescaleIntercept, dataset.RescaleType = 1, -1024, "HU"
        dataset.PixelData = (hu[:, :, index].T.astype(int) + 1024).astype("<u2").tobytes()
        for keyword, value in values.items():
            setattr(dataset, keyword, value)
        if compress:
            dataset.compress(JPEG2000Lossless, generate_instance_uid=False)
        dataset.save_as(folder / f"{99 - index}.dcm", enforce_file_format=True)
    return folder


def refusal(infer, path: Path, output_dir: Path, **overrides: object) -> str:
    with pytest.raises(Exception) as caught:  # noqa: PT011  MONAI wraps what its configs raise
        infer(path, output_dir, **overrides)
    found = find_input_error(caught.value)
    assert isinstance(found, InputError), caught.value
    return str(found)


def by_position(folder: Path) -> dict[tuple[float, ...], pydicom.Dataset]:
    datasets = [pydicom.dcmread(path) for path in folder.iterdir()]
    return {tuple(dataset.ImagePositionPatient): dataset for dataset in datasets}


def assert_same_hu_everywhere(source: Path, result: Path) -> None:
    before, after = by_position(source), by_position(result)
    assert before.keys() == after.keys()
    for position, dataset in before.items():
        made = after[position]
        assert made.ImageOrientationPatient == dataset.ImageOrientationPatient
        assert made.PixelSpacing == dataset.PixelSpacing
        np.testing.assert_array_equal(made.pixel_array, dataset.pixel_array.astype(int) - 1024)
        assert made.SourceImageSequence[0].ReferencedSOPInstanceUID == dataset.SOPInstanceUID
        assert made.SeriesInstanceUID != dataset.SeriesInstanceUID
        assert made.StudyInstanceUID == dataset.StudyInstanceUID
        assert made.SyntheticData == "YES"
        assert not [element for element in made if element.keyword.startswith("ContrastBolus")]


@pytest.mark.parametrize("name", DIRECTIONS)
def test_with_an_identity_network_every_voxel_comes_back_to_its_place(infer, identity, tmp_path, name):
    source = write(tmp_path / "series", scan(5), DIRECTIONS[name], ContrastBolusAgent="an agent")
    infer(source, tmp_path / "out", output_format="both", **identity)
    result = tmp_path / "out" / "series_synthetic_cect"
    assert_same_hu_everywhere(source, result)
    # the NIfTI file is the same volume
    image = nib.load(tmp_path / "out" / "series_synthetic_cect.nii.gz")
    values = np.asarray(image.dataobj)
    for position, made in by_position(result).items():
        index = np.linalg.inv(image.affine) @ [-position[0], -position[1], position[2], 1]
        np.testing.assert_allclose(index[:2], 0, atol=1e-3)
        np.testing.assert_array_equal(values[:, :, round(index[2])], made.pixel_array.T)


@pytest.mark.parametrize("slices", [1, 2])
@pytest.mark.parametrize("compress", [False, True])
def test_thin_and_compressed_series(infer, identity, tmp_path, slices, compress):
    source = write(tmp_path / "series", scan(slices), DIRECTIONS["prone"], compress=compress)
    infer(source, tmp_path / "out", output_format="dicom", **identity)
    assert_same_hu_everywhere(source, tmp_path / "out" / "series_synthetic_cect")
    assert not list((tmp_path / "out").glob("*.nii.gz"))


def test_a_gantry_tilt_is_kept(infer, identity, tmp_path):
    source = write(tmp_path / "series", scan(5), DIRECTIONS["head up"], tilt=0.9, GantryDetectorTilt="12.7")
    infer(source, tmp_path / "out", output_format="dicom", **identity)
    assert_same_hu_everywhere(source, tmp_path / "out" / "series_synthetic_cect")


def test_clamp_is_done_and_said(infer, identity, tmp_path):
    source = write(tmp_path / "series", scan(3), DIRECTIONS["head up"])
    infer(source, tmp_path / "out", output_format="dicom", mode="clamp", window_width=400, **identity)
    for made in by_position(tmp_path / "out" / "series_synthetic_cect").values():
        assert made.pixel_array.max() == 250
        assert "[-150, 250] HU" in made.DerivationDescription and "lost" in made.DerivationDescription
        assert (made.WindowCenter, made.WindowWidth) == (50, 400)


def test_a_change_is_written_and_a_second_run_replaces_the_first(infer, identity, brighter, tmp_path):
    source = write(tmp_path / "series", scan(3), DIRECTIONS["head up"])
    for network in (identity, brighter):
        infer(source, tmp_path / "out", output_format="dicom", **network)
    before, after = by_position(source), by_position(tmp_path / "out" / "series_synthetic_cect")
    position = min(before)
    change = after[position].pixel_array - (before[position].pixel_array.astype(int) - 1024)
    assert len(after) == 3 and np.median(change[20:30, 18:24]) > 20


def test_by_default_no_dicom_is_written(infer, identity, tmp_path):
    infer(write(tmp_path / "series", scan(2), DIRECTIONS["head up"]), tmp_path / "out", **identity)
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["series_synthetic_cect.nii.gz", "series_synthetic_cect.png"]


def test_several_series_each_get_their_own(infer, identity, tmp_path):
    sources = [write(tmp_path / "in" / name / "ct", scan(2), DIRECTIONS["head up"]) for name in ("one", "two")]
    infer(tmp_path / "in", tmp_path / "out", output_format="both", **identity)
    for source, name in zip(sources, ("one", "two"), strict=True):
        assert_same_hu_everywhere(source, tmp_path / "out" / name / "ct_synthetic_cect")


def test_two_series_in_one_folder_each_get_their_own(infer, identity, tmp_path):
    (tmp_path / "in").mkdir()
    for number in range(2):
        for path in write(tmp_path / f"s{number}", scan(3) + number, DIRECTIONS["head up"]).iterdir():
            shutil.copy(path, tmp_path / "in" / f"{number}_{path.name}")
    infer(tmp_path / "in", tmp_path / "out", output_format="both", **identity)
    results = sorted(path for path in (tmp_path / "out").iterdir() if path.is_dir())
    assert len(results) == 2
    referred = [next(iter(by_position(path).values())).SourceImageSequence[0] for path in results]
    assert len({item.ReferencedSOPInstanceUID for item in referred}) == 2
    made = [{made.pixel_array.max() for made in by_position(path).values()} for path in results]
    assert made[0] != made[1]


@pytest.mark.parametrize("output_format", ["dicom", "both"])
def test_a_nifti_file_is_refused_before_any_work(infer, identity, tmp_path, output_format):
    nib.save(nib.Nifti1Image(scan(3), np.diag([2.5, 2.5, 4, 1])), tmp_path / "a.nii.gz")
    message = refusal(infer, tmp_path / "a.nii.gz", tmp_path / "out", output_format=output_format, **identity)
    assert "a.nii.gz: output_format" in message and "needs a DICOM series" in message
    assert not (tmp_path / "out").exists()


def test_a_folder_with_both_kinds_is_refused_before_any_work(infer, identity, tmp_path):
    write(tmp_path / "in" / "series", scan(3), DIRECTIONS["head up"])
    nib.save(nib.Nifti1Image(scan(3), np.diag([2.5, 2.5, 4, 1])), tmp_path / "in" / "a.nii.gz")
    for output_format in ("nifti", "dicom", "both"):
        message = refusal(infer, tmp_path / "in", tmp_path / "out", output_format=output_format, **identity)
        assert "holds NIfTI files and DICOM" in message
        assert not (tmp_path / "out").exists()


def test_an_unknown_format_is_refused(infer, identity, tmp_path):
    source = write(tmp_path / "series", scan(2), DIRECTIONS["head up"])
    assert "'nrrd'" in refusal(infer, source, tmp_path / "out", output_format="nrrd", **identity)
    assert not (tmp_path / "out").exists()


def test_a_derived_series_is_not_taken_for_a_scan(infer, identity, tmp_path):
    source = write(tmp_path / "series", scan(2), DIRECTIONS["head up"])
    infer(source, tmp_path / "out", output_format="dicom", **identity)
    renamed = (tmp_path / "out" / "series_synthetic_cect").rename(tmp_path / "scan")
    assert "synthetic already" in refusal(infer, renamed, tmp_path / "again", output_format="dicom", **identity)
    assert not (tmp_path / "again").exists()


def test_patient_data_go_into_the_dicom_series_alone(infer, brighter, tmp_path, capfd, caplog):
    source = write(tmp_path / "series", scan(3), DIRECTIONS["head up"], **SECRETS, **DESCRIPTIONS)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        infer(source, tmp_path / "out", output_format="both", **brighter)
    out = capfd.readouterr()
    written = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert sorted(path.suffix for path in written) == [".dcm", ".dcm", ".dcm", ".gz", ".png"]
    for secret in ("SENTINEL", "18990203"):
        assert secret not in out.out + out.err + caplog.text
        for path in written:
            assert secret not in str(path.relative_to(tmp_path))
            content = path.read_bytes()
            content = gzip.decompress(content) if path.suffix == ".gz" else content
            assert (secret.encode() in content) == (path.suffix == ".dcm"), path.name
            assert b"SENTINELTEXT" not in content


@pytest.mark.slow
def test_the_command_line_refuses_in_one_line(run_bundle, identity, tmp_path):
    nib.save(nib.Nifti1Image(scan(3), np.diag([2.5, 2.5, 4, 1])), tmp_path / "a.nii.gz")
    overrides = {"input": tmp_path / "a.nii.gz", "output_dir": tmp_path / "out", "output_format": "dicom", **identity}
    done = run_bundle("--config_file", CONFIG, **overrides)
    assert done.returncode != 0 and "Traceback" not in done.stderr
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1 and "a.nii.gz" in errors[0], done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_kill_while_it_writes_leaves_the_earlier_results(infer, run_bundle, identity, brighter, tmp_path):
    source = write(tmp_path / "series", np.repeat(scan(5), 20, axis=2)[:, :, :60], DIRECTIONS["head up"])
    out = tmp_path / "out"
    infer(source, out, output_format="both", **identity)

    def visible() -> dict[Path, bytes]:
        files = [path for path in out.rglob("*") if path.is_file()]
        return {path: path.read_bytes() for path in files if "/." not in str(path.relative_to(tmp_path))}

    before = visible()
    assert len(before) == 60 + 2
    killed = run_bundle(
        *("--config_file", CONFIG),
        kill_when=lambda: any(out.glob(".*.partial/*/synthetic_0002.dcm")),
        **{"input": source, "output_dir": out, "output_format": "dicom", **brighter},
    )
    assert killed.returncode == -9  # while it wrote the series
    assert visible() == before
    infer(source, out, output_format="both", **brighter)
    assert not [path for path in out.iterdir() if path.name.startswith(".")]
    assert visible().keys() == before.keys() and visible() != before
