"""Margins of error through the bundle's inference: on the scan's grid, for the weights that they were made for."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from ignite.engine import Engine

from monai_nce import enhance
from monai_nce.data.files.sha256 import file_sha256
from monai_nce.errors import InputError, find_input_error
from monai_nce.handlers import TrainedFor, WeightsSaver
from monai_nce.networks import Generator
from monai_nce.transforms import body_mask
from monai_nce.uncertainty import CALIBRATION, SIGNALS, Calibration, HalfWidth

MADE_FOR = TrainedFor("NECT", "CECT", 50, 300, 2.5, slices=3)
NAME = "a_synthetic_cect_uncertainty.nii.gz"
# read by another convention than the network's axes: slices downwards, in-plane axes exchanged, oblique
AFFINE = np.array([[0.0, -1.2, 0.1, 9.0], [1.3, 0.0, 0.2, -7.0], [0.0, 0.0, -3.0, 40.0], [0, 0, 0, 1]])


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of both networks, and a calibration that widens with the residual of the cycle."""
    folder = tmp_path_factory.mktemp("weights")
    for seed, (name, made_for) in enumerate({"model.pt": MADE_FOR, "auxiliary.pt": MADE_FOR.reversed()}.items()):
        torch.manual_seed(seed)
        network = Generator(channels=(8, 8), hidden_channels=8, residual=True)
        torch.nn.init.constant_(network.head.bias, 0.2)
        WeightsSaver(network, folder / name, trained_for=made_for)(Engine(lambda engine, batch: None))
    weights = [0.0] * len(SIGNALS)
    weights[SIGNALS.index("cycle")] = 0.5
    Calibration(
        model_sha256=file_sha256(folder / "model.pt"),
        auxiliary_sha256=file_sha256(folder / "auxiliary.pt"),
        coverage=0.9,
        half_width=HalfWidth(weights, 1.0),
        body=2.0,
        organs={"liver": 3.0},
        organ_means={"liver": 12.0},
        data={"kind": "virtual", "name": "a data set", "patients": {"fitted": 10, "calibrated": 20}},
    ).write(folder / CALIBRATION)
    return folder / "model.pt"


def scan(shape: tuple[int, int, int] = (36, 44, 5)) -> np.ndarray:
    x, y, _ = np.meshgrid(*(np.arange(n) - (n - 1) / 2 for n in shape), indexing="ij")
    hu = np.where((x / (0.4 * shape[0])) ** 2 + (y / (0.42 * shape[1])) ** 2 < 1, 45.0, -1000.0)
    hu[(x - 4) ** 2 + (y + 6) ** 2 < 16] = 800
    return np.round(hu + np.where(hu > 0, np.random.default_rng(0).normal(0, 8, shape), 0)).astype(np.int16)


def write(path: Path) -> Path:
    nib.save(nib.Nifti1Image(scan(), AFFINE), path)
    return path


def test_margins_lie_on_the_scans_grid(infer, weights, tmp_path):
    path = write(tmp_path / "a.nii.gz")
    infer(path, tmp_path / "out", checkpoint=str(weights), uncertainty=True, report=True)
    plain = tmp_path / "plain"
    infer(path, plain, checkpoint=str(weights))
    image, made = (nib.load(tmp_path / "out" / name) for name in (NAME, "a_synthetic_cect.nii.gz"))
    assert image.shape == made.shape and image.get_data_dtype() == np.int16
    np.testing.assert_allclose(image.affine, AFFINE, atol=1e-5)
    width = np.asarray(image.dataobj)
    inside = body_mask(scan()[None].astype(float))[0]
    assert width.min() == 1 and (width[~inside] == 1).all()
    # exp(1) · 2 where the cycle closes, and more where it does not
    assert width[inside].min() >= 6 and len(np.unique(width[inside])) > 1 and width.max() < 500
    text = image.header["descrip"].tobytes().decode().strip("\0")
    assert text.startswith("SYNTHETIC CECT, margin of error in HU, 90%") and text.endswith("; research only")
    comment = image.header.extensions[0].get_content()
    assert "20 virtual patients" in str(comment) and "Research use only" in str(comment)
    # the image itself is what it would be without
    np.testing.assert_array_equal(np.asarray(made.dataobj), nib.load(plain / "a_synthetic_cect.nii.gz").get_fdata())
    page = (tmp_path / "out" / "a_synthetic_cect.html").read_text()
    assert "margin of error, ± HU" in page and "± 12" in page and 'data-role="confidence"' in page
    assert not (plain / NAME).exists()

    enhanced = enhance(str(path), weights, uncertainty=True, backend="torch", precision="fp32")
    np.testing.assert_array_equal(enhanced.half_width.numpy(), width)
    np.testing.assert_allclose(enhanced.half_width.affine, AFFINE, atol=1e-5)

    # results in the input's folder are no scans
    path.rename(tmp_path / "out" / "a.nii.gz")
    run = infer(tmp_path / "out", tmp_path / "out", checkpoint=str(weights), uncertainty=True, skip_existing=True)
    assert [one.output for one in run.parser.get_parsed_content("left_out")] == [
        str(tmp_path / "out" / "a_synthetic_cect.nii.gz")
    ]


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ({"stride": 3}, "uncertainty: is calibrated for stride 1 but got 3"),
        ({"uncertainty_dicom": True}, "uncertainty_dicom: needs uncertainty, and output_format dicom or both"),
        ({"uncertainty_for": "liver"}, "uncertainty_for"),
    ],
)
def test_what_cannot_be_is_refused_before_any_work(infer, weights, tmp_path, overrides, said):
    with pytest.raises((RuntimeError, InputError)) as caught:
        infer(
            write(tmp_path / "a.nii.gz"),
            tmp_path / "out",
            checkpoint=str(weights),
            **{"uncertainty": True, **overrides},
        )
    assert said in str(find_input_error(caught.value))
    assert not list(tmp_path.glob("out/*"))


def test_weights_without_a_calibration_are_refused(infer, weights, tmp_path):
    alone = tmp_path / "model.pt"
    alone.write_bytes(weights.read_bytes())
    with pytest.raises(RuntimeError) as caught:
        infer(write(tmp_path / "a.nii.gz"), tmp_path / "out", checkpoint=str(alone), uncertainty=True)
    assert "uncertainty.json: no such calibration" in str(find_input_error(caught.value))
    assert not list(tmp_path.glob("out/*"))
