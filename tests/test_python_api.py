from __future__ import annotations

import os
import random
import sys
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pydicom
import pytest
import torch
from ignite.engine import Engine
from monai.bundle import ConfigWorkflow
from monai.data import MetaTensor

import monai_nce
from monai_nce import Enhanced, enhance, python_api
from monai_nce.bundle_folder import bundle_folder
from monai_nce.data import ReaderWarning, read_ct
from monai_nce.data.scans.earlier_result import result_text
from monai_nce.errors import InputError
from monai_nce.handlers import TrainedFor, WeightsSaver
from monai_nce.handlers.weights import loader
from monai_nce.inferers import Runtime
from monai_nce.networks import Generator
from monai_nce.phantom import make_phantom_patient
from tests.bundles.test_inference_dicom import scan, write
from tests.data.itk.itk_files import save_itk
from tests.data.scans.in_memory_kinds import KINDS, as_kind, oblique, voxel

EXACT: dict[str, Any] = {"backend": "torch", "precision": "fp32"}
INDICES = [(0, 0, 0), (43, 49, 4), (25, 18, 2), (17, 31, 1)]  # corners, bone, gas


def save_weights(path: Path, kind: str = "real") -> Path:
    """Weights of a small network that looks at what it is given and brightens it."""
    torch.manual_seed(0)
    network = Generator(channels=(8, 8), hidden_channels=8, residual=True)
    torch.nn.init.normal_(network.head.weight, std=0.005)
    torch.nn.init.constant_(network.head.bias, 0.3)
    data = [{"name": "some CT", "kind": kind, "patients": 2, "scans": 4}]
    trained_for = TrainedFor("NECT", "CECT", 50, 300, 2.5, slices=3, data=data)
    WeightsSaver(network, path, trained_for=trained_for)(Engine(lambda engine, batch: None))
    return path


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_weights(tmp_path_factory.mktemp("weights") / "model.pt")


@pytest.fixture(scope="module")
def infer(weights: Path) -> Callable[..., Path]:
    """The bundle's ``inferring``; returns the NIfTI file of the one scan."""

    def run(path: Path, out: Path, **overrides: Any) -> Path:
        workflow = ConfigWorkflow(
            config_file=str(bundle_folder() / "configs" / "inference.json"),
            workflow_type="inference",
            logging_file=False,
            **{**EXACT, "input": str(path), "output_dir": str(out), "checkpoint": str(weights), **overrides},
        )
        workflow.initialize()
        workflow.run()
        (made,) = out.glob("*.nii.gz")
        return made

    return run


def test_every_kind_of_image_gets_what_the_bundle_writes(
    infer: Callable[..., Path], weights: Path, tmp_path: Path
) -> None:
    hu, affine = scan(5), oblique()
    path = tmp_path / "scan.nii.gz"
    nib.save(nib.Nifti1Image(hu, affine), path)
    written = nib.load(infer(path, tmp_path / "out"))
    expected = np.asarray(written.dataobj)
    assert 15 < (expected - hu)[(hu > 0) & (hu < 100)].mean() < 60
    for kind in KINDS:
        image, given_with = as_kind(kind, hu, affine)
        made = enhance(image, weights, **given_with, **EXACT)
        np.testing.assert_array_equal(np.rint(made.numpy()), expected, err_msg=kind)
        np.testing.assert_allclose(made.affine, affine, atol=1e-5, err_msg=kind)
        for index in INDICES:
            value, place = voxel(kind, made.image, index, affine)
            assert value == expected[index], kind
            np.testing.assert_allclose(place, voxel(kind, image, index, affine)[1], atol=1e-4, err_msg=kind)
    floats, given_with = as_kind("numpy", hu.astype(np.float64), affine)
    made = enhance(floats, weights, **given_with, **EXACT)
    assert made.image.dtype == np.float32 and np.array_equal(made.image, made.numpy())
    for file in (path, str(path), save_itk(tmp_path / "scan.nrrd", hu, affine)):
        made = enhance(file, weights, **EXACT)
        assert isinstance(made.image, MetaTensor) and made.image is made.hu and made.hu.dtype == torch.float32
        np.testing.assert_array_equal(np.rint(made.numpy()), expected)
    # and what is saved is the bundle's file
    assert made.save(tmp_path / "saved.nii.gz") == tmp_path / "saved.nii.gz"
    enhance(path, weights, **EXACT).save(tmp_path / "saved.nii.gz")  # of the same scan, which is replaced
    saved = nib.load(tmp_path / "saved.nii.gz")
    assert (tmp_path / "saved.nii.gz").read_bytes() == Path(written.get_filename()).read_bytes()
    assert b"SYNTHETIC" in saved.header["descrip"].tobytes()
    in_memory = made.nibabel()
    assert in_memory.header["descrip"] == saved.header["descrip"] and in_memory.get_data_dtype() == np.int16
    np.testing.assert_array_equal(in_memory.dataobj, expected)
    with pytest.raises(InputError, match="saved.nii.gz: is the result of another scan"):
        enhance(hu[::-1].copy(), weights, affine=affine, **EXACT).save(tmp_path / "saved.nii.gz")


def test_a_dicom_series_becomes_one(infer: Callable[..., Path], weights: Path, tmp_path: Path) -> None:
    turned = [0.8, 0.6, 0.0, -0.6, 0.8, 0.0]
    series = write(tmp_path / "series", scan(5), turned, tilt=0.7)
    expected = nib.load(infer(series, tmp_path / "out", output_format="both"))
    made = enhance(series, weights, **EXACT)
    np.testing.assert_array_equal(np.rint(made.numpy()), expected.dataobj)
    np.testing.assert_allclose(made.affine, expected.affine, atol=1e-4)
    hu, affine = read_ct(series)
    np.testing.assert_array_equal(enhance(hu, weights, affine=affine, **EXACT).numpy(), made.numpy())
    saved = made.save(tmp_path / "synthetic")
    theirs = tmp_path / "out" / "series_synthetic_cect"
    pairs = list(zip(sorted(saved.iterdir()), sorted(theirs.iterdir()), strict=True))
    assert len(pairs) == 5
    for ours, bundles in pairs:
        one, other = pydicom.dcmread(ours), pydicom.dcmread(bundles)
        np.testing.assert_array_equal(one.pixel_array, other.pixel_array)
        assert one.ImagePositionPatient == other.ImagePositionPatient
        for keyword in ("SeriesDescription", "ImageComments", "DerivationDescription", "SyntheticData"):
            assert one[keyword].value == other[keyword].value
    assert result_text(saved) == result_text(theirs)
    positions = [pydicom.dcmread(file).ImagePositionPatient for file in made.series_files]
    assert positions == [pydicom.dcmread(file).ImagePositionPatient for file in sorted(saved.iterdir())]
    assert made.derivation.description(False) == pydicom.dcmread(sorted(saved.iterdir())[0]).DerivationDescription
    assert made.save(tmp_path / "a.nii.gz", "nifti").is_file()
    alone = enhance(hu, weights, affine=affine, **EXACT)
    assert alone.series_files == ()
    with pytest.raises(InputError, match="derivation: expected a DICOM series but the scan was none"):
        _ = alone.derivation


def test_weights_are_loaded_once_and_two_networks_are_kept(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[Path] = []
    read = loader.read_state_dict

    def spy(path: Path) -> dict[str, torch.Tensor]:
        loaded.append(path)
        return read(path)

    monkeypatch.setattr(loader, "read_state_dict", spy)
    python_api._kept.clear()
    hu, affine = scan(3), oblique()
    others = [save_weights(tmp_path / f"{kind}.pt", kind) for kind in ("virtual", "phantom")]
    first = enhance(hu, weights, affine=affine, **EXACT)
    again = enhance(hu, weights, affine=affine, **EXACT)
    np.testing.assert_array_equal(first.numpy(), again.numpy())
    assert loaded == [weights]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ReaderWarning)
        for path in (others[0], weights, others[1], weights, others[0]):
            enhance(hu, path, affine=affine, **EXACT)
    assert loaded == [weights, others[0], others[1], others[0]] and len(python_api._kept) == 2


def test_what_computes_is_chosen_again_for_a_scan_of_another_size(
    weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[int] = []
    make = Runtime._make

    def spy(self: Runtime, network: Any, stacks: Any, batch_size: int, total: int) -> Any:
        made.append(total)
        return make(self, network, stacks, batch_size, total)

    monkeypatch.setattr(Runtime, "_make", spy)
    python_api._kept.clear()
    for slices in (3, 3, 4, 4, 3):
        enhance(scan(slices), weights, affine=oblique())
    assert made == [3, 4, 3]  # OpenVINO pays for large ones alone
    for slices in (3, 4):
        enhance(scan(slices), weights, affine=oblique(), **EXACT)
    assert made == [3, 4, 3, 3]


def test_calls_from_threads_give_what_they_give_one_after_the_other(weights: Path) -> None:
    scans = [scan(slices) for slices in (3, 4, 5)] * 2
    expected = [enhance(one, weights, affine=oblique(), **EXACT).numpy() for one in scans[:3]]
    before = list(warnings.filters)
    with ThreadPoolExecutor(3) as pool:
        done = list(pool.map(lambda one: enhance(one, weights, affine=oblique(), **EXACT).numpy(), scans))
    for one, other in zip(done, expected * 2, strict=True):
        np.testing.assert_array_equal(one, other)
    assert warnings.filters == before


def test_mr_in_any_unit_with_weights_for_mr(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = Generator(channels=(8, 8), hidden_channels=8, residual=True)
    torch.nn.init.constant_(network.head.bias, 0.3)
    trained_for = TrainedFor("T2", "PD", 500, 1000, 2.5, slices=3)
    path = tmp_path / "model.pt"
    WeightsSaver(network, path, trained_for=trained_for)(Engine(lambda engine, batch: None))
    t2 = np.abs(scan(3) + 1000).astype(np.float32) * 7
    nib.save(nib.Nifti1Image(t2, oblique()), tmp_path / "t2.nii.gz")
    one, other = (enhance(tmp_path / "t2.nii.gz", path, **EXACT), enhance(t2, path, affine=oblique(), **EXACT))
    np.testing.assert_array_equal(one.numpy(), other.numpy())
    assert one.numpy().min() >= 0 and 900 < one.numpy().max() <= 1001
    with pytest.raises(InputError, match="image: expected MR intensities, from 0 up"):
        enhance(scan(3), path, affine=oblique())


def test_the_process_is_left_as_it_was(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    python_api._kept.clear()

    def state() -> list[Any]:
        return [
            *(torch.get_num_threads(), torch.is_grad_enabled(), torch.get_default_dtype()),
            *(torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32),
            *(list(warnings.filters), list(sys.path), sys.excepthook, dict(os.environ), os.getcwd()),
            *(torch.get_rng_state().tolist(), random.getstate(), repr(np.random.get_state()), np.geterr()),
        ]

    before = state()
    hu = scan(3)
    kept = hu.copy()
    for strict in (False, True):  # the first loads, the second does not
        enhance(hu, weights, affine=oblique(), strict=strict, **EXACT)
    with pytest.raises(InputError):
        enhance(hu + 2000, weights, affine=oblique())
    assert state() == before and np.array_equal(hu, kept)
    assert list(tmp_path.iterdir()) == [] and capfd.readouterr() == ("", "")


def test_doubts_and_phantom_weights_are_told(tmp_path: Path, weights: Path) -> None:
    patient = make_phantom_patient(0, size=64, slices=16)
    with pytest.warns(ReaderWarning) as caught:
        made = enhance(patient.cect, save_weights(tmp_path / "model.pt", "phantom"), affine=patient.affine, **EXACT)
    assert made.warnings == [str(one.message) for one in caught]
    doubt, phantoms = made.warnings
    assert doubt.startswith("image: seems to show contrast medium already: ")
    assert phantoms == "Weights trained on phantoms alone, and this scan is none: what they add means nothing."
    assert caught[0].filename == __file__  # the caller's line
    assert made.weights["trained_on"] == "2 phantoms (some CT)"
    assert phantoms in made.nibabel().header.extensions[0].text
    assert len(made.weights["sha256"]) == 64 and made.weights["name"] == str(tmp_path / "model.pt")
    with pytest.raises(InputError, match="^image: seems to show contrast medium already"):
        enhance(patient.cect, weights, affine=patient.affine, strict=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert enhance(patient.nect, weights, affine=patient.affine, **EXACT).warnings == []


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"image": scan(3) + 1024}, "image: values from 0 to .* cannot be Hounsfield units"),
        ({"image": np.full((9, 9, 9), 40)}, "image: every voxel is 40: not an image"),
        ({"image": np.full((9, 9, 9), np.nan)}, "image: holds NaN or infinite values"),
        ({"affine": None}, "affine: expected with a NumPy array"),
        ({"image": "no.nii.gz", "affine": None}, "no.nii.gz: no such file"),
        ({"image": "", "affine": None}, "[.]: "),
        ({"image": "no.nii.gz"}, "affine: expected with a NumPy array alone"),
        ({"weights": "unknown"}, "weights: expected a file, .* but got unknown"),
        ({"phase": "venous"}, "phase: expected arterial, portal, delayed or none but got 'venous'"),
        ({"phase": "portal"}, "expected weights that take phase and level but these do not"),
        ({"stride": 4}, "expected a stride in 1...3"),
        ({"stride": 1.5}, "stride: expected a whole number, 1 or more but got 1.5"),
        ({"device": "gpu"}, "device: expected a device of this machine but got 'gpu'"),
        ({"mode": "none"}, "mode: expected carry or clamp but got 'none'|expected mode to be one of"),
        ({"organs": scan(2)}, "organs: expected an array on the scan's grid"),
        ({"organs": scan(3) * 0 + 1, "naming": "mine"}, "expected naming to be totalsegmentator, spl or a JSON file"),
        ({"backend": "tensorflow"}, "backend: expected auto, torch or openvino but got 'tensorflow'"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(
    change: dict[str, Any], expected: str, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=expected):
        enhance(**{"image": scan(3), "weights": weights, "affine": oblique(), **change})
    assert list(tmp_path.iterdir()) == []


def test_organs_are_tabulated(weights: Path, tmp_path: Path) -> None:
    hu, affine = scan(3), oblique()
    labels = np.zeros(hu.shape, np.uint8)
    labels[20:26, 24:30], labels[10:14, 30:34] = 5, 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        made = enhance(hu, weights, affine=affine, organs=labels, **EXACT)
    assert made.organs is not None
    spleen, liver = made.organs
    where = labels == 5
    assert (liver["organ"], liver["real"], liver["expected"]) == ("liver", None, (25, 80))
    assert liver["before"] == pytest.approx(hu[where].mean())
    assert liver["after"] == pytest.approx(made.numpy()[where].mean())
    assert liver["change"] == pytest.approx(liver["after"] - liver["before"])
    assert spleen["ml"] == pytest.approx(4 * 4 * 3 * 2.1 * 2.7 * 4.3 / 1000)
    # from a file on the grid of the scan turned round
    image = nib.Nifti1Image(labels, affine).as_reoriented(np.array([[0, -1], [1, 1], [2, -1]]))
    nib.save(image, tmp_path / "organs.nii.gz")
    with pytest.warns(ReaderWarning, match="organs.nii.gz: lies on another grid"):
        again = enhance(hu, weights, affine=affine, organs=tmp_path / "organs.nii.gz", **EXACT)
    assert again.organs == made.organs and "resampled by nearest neighbour" in again.warnings[0]
    named = enhance(hu, weights, affine=affine, organs=labels, naming={1: "cyst", 5: "fat"}, **EXACT).organs
    assert named is not None and [row["organ"] for row in named] == ["cyst", "fat"]


@pytest.fixture(scope="module")
def made(weights: Path) -> Enhanced:
    return enhance(scan(3), weights, affine=oblique(), **EXACT)


@pytest.mark.parametrize(
    ("name", "format", "expected"),
    [
        ("a.nrrd", "nifti", "a.nrrd: expected a name in .nii or .nii.gz for nifti"),
        ("a.nii.gz", "dicom", "a.nii.gz: expected a folder's name for dicom"),
        ("a", None, "a: format dicom needs a DICOM series but the scan was none"),
        ("a.nii.gz", "png", "format: expected nifti or dicom but got 'png'"),
        ("file/a.nii.gz", None, "a.nii.gz: "),
    ],
)
def test_a_place_that_does_not_fit_is_refused(
    name: str, format: str | None, expected: str, made: Enhanced, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=expected):
        made.save(tmp_path / name, format)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_one_of_several_scans_is_to_be_named(weights: Path, tmp_path: Path) -> None:
    for name in "ab":
        nib.save(nib.Nifti1Image(scan(3), oblique()), tmp_path / f"{name}.nii.gz")
    with pytest.raises(InputError, match=f"^{tmp_path}: expected one scan but found 2: "):
        enhance(tmp_path, weights)


def test_a_path_with_signs_that_monai_reads_as_its_own(weights: Path, tmp_path: Path) -> None:
    folder = tmp_path / "$a #2 @x [1]"
    folder.mkdir()
    nib.save(nib.Nifti1Image(scan(3), oblique()), folder / "a.nii.gz")
    assert enhance(folder, weights, **EXACT).hu.shape == (44, 50, 3)


def test_what_the_package_does_not_have_is_said_as_usual() -> None:
    with pytest.raises(AttributeError, match="^module 'monai_nce' has no attribute 'enhence'$"):
        _ = monai_nce.enhence
