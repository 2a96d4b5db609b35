from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.bundle import ConfigWorkflow

from data_prep.ixi_like import make_pair, write_ixi_like_dataset
from monai_nce.data import read_datalist
from monai_nce.errors import find_input_error
from tests.tiny import TINY

# not imported: that takes seconds, and nothing but its files is needed
pytestmark = pytest.mark.skipif(find_spec("nilearn") is None, reason="nilearn is not installed")
REAL = os.environ.get("NCE_REAL_DATA")
SIZE, SLICES = 64, 5


@pytest.fixture(scope="module")
def trained(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set of T2 and PD, and a training on it of few iterations."""
    folder = tmp_path_factory.mktemp("mri")
    write_ixi_like_dataset(folder / "set", subjects=4, size=SIZE, slices=SLICES, progress=False)
    workflow = ConfigWorkflow(
        config_file=[str(bundle / "configs" / f"{name}.json") for name in ("train", "ixi")],
        workflow_type="train",
        logging_file=False,
        dataset_dir=str(folder / "set"),
        output_dir=str(folder / "out"),
        **{**TINY, **{f"{stage}#max_epochs": 1 for stage in ("classifier", "stage1", "stage2")}},
    )
    workflow.initialize()
    workflow.run()
    return folder


@pytest.fixture
def weights(trained: Path) -> str:
    return str(trained / "out" / "models" / "model.pt")


def write_t2(path: Path, subject: int = 0) -> Path:
    """The T2 of a subject of the data set as a scanner has it: twice the pixels, units and axes of its own."""
    pair = make_pair(subject, size=2 * SIZE, slices=SLICES, seed=0)
    image = nib.Nifti1Image((pair.source * 3.7).astype(np.float32), pair.affine)
    turn = nib.orientations.ornt_transform(*map(nib.orientations.axcodes2ornt, ("RAS", "LSA")))
    nib.save(image.as_reoriented(turn), path)
    return path


def test_t2_becomes_synthetic_pd(infer, trained: Path, weights: str, tmp_path: Path) -> None:
    scan = write_t2(tmp_path / "t2.nii.gz")
    workflow = infer(scan, tmp_path / "out", checkpoint=weights)
    acquired, made = nib.load(scan), nib.load(tmp_path / "out" / "t2_synthetic_pd.nii.gz")
    assert made.shape == acquired.shape and made.get_data_dtype() == np.int16
    np.testing.assert_allclose(made.affine, acquired.affine, atol=1e-4)
    assert made.header["descrip"].item() == b"SYNTHETIC PD from T2 by monai-nce, trained on virtual; research only"
    values = np.asarray(made.dataobj)
    assert values.min() >= 0 and 100 < values.max() <= 1000
    assert (tmp_path / "out" / "t2_synthetic_pd.png").stat().st_size > 5000

    assert not workflow.parser.get_parsed_content("inferer").blend, "detail of a T2 would go to other slices"
    # the network is given what it was trained on
    given = workflow.parser.get_parsed_content("dataset")[0]["image"].numpy()[0]
    (item,) = (item for item in read_datalist(trained / "set") if item["patient"] == "like_000")
    prepared = np.asarray(nib.load(item["source"]).dataobj) / 500 - 1
    assert given.shape == prepared.shape == (SIZE, SIZE, SLICES)
    np.testing.assert_allclose(given, prepared, atol=2e-3)


def test_a_ct_is_refused_by_weights_for_mri_and_an_mri_by_those_for_ct(infer, weights: str, tmp_path: Path) -> None:
    scan = write_t2(tmp_path / "t2.nii.gz")
    with pytest.raises(RuntimeError) as caught:
        infer(scan, tmp_path / "out")
    assert "cannot be Hounsfield units" in str(find_input_error(caught.value))
    ct = np.linspace(-1000, 400, 40 * 40 * 4).reshape(40, 40, 4).astype(np.int16)
    nib.save(nib.Nifti1Image(ct, np.diag([2.0, 2, 4, 1])), tmp_path / "ct.nii.gz")
    with pytest.raises(RuntimeError) as caught:
        infer(tmp_path / "ct.nii.gz", tmp_path / "out", checkpoint=weights)
    assert "expected MR intensities, from 0 up" in str(find_input_error(caught.value))
    with pytest.raises(RuntimeError) as caught:
        infer(scan, tmp_path / "out", checkpoint=weights, output_format="both")
    assert "needs a DICOM series" in str(find_input_error(caught.value))
    assert not (tmp_path / "out").exists()


def test_weights_that_say_nothing_are_told_what_for(infer, weights: str, tmp_path: Path) -> None:
    plain = dict(torch.load(weights, weights_only=True))
    torch.save(plain, tmp_path / "plain.pt")
    told = {"source": "T2", "target": "PD", "window_level": 500, "window_width": 1000, "spacing": 3.75}
    told = {f"weights#{name}": value for name, value in told.items()}
    network = {"weights#network#channels": [8, 8], "weights#network#hidden_channels": 8}
    scan = write_t2(tmp_path / "t2.nii.gz")
    infer(scan, tmp_path / "told", checkpoint=str(tmp_path / "plain.pt"), **told, **network)
    infer(scan, tmp_path / "read", checkpoint=weights)
    made = [np.asarray(nib.load(tmp_path / name / "t2_synthetic_pd.nii.gz").dataobj) for name in ("told", "read")]
    np.testing.assert_array_equal(*made)


@pytest.mark.skipif(not REAL, reason="NCE_REAL_DATA is not set")
def test_a_real_template(infer, weights: str, tmp_path: Path) -> None:
    path = next(Path(str(REAL), "t2_pd_template").glob("*T2.nii*"))
    infer(path, tmp_path, checkpoint=weights, strict=True)  # of an MR nothing is doubted
    (made,) = (nib.load(result) for result in tmp_path.glob("*_synthetic_pd.nii.gz"))
    acquired = nib.load(path)
    assert made.shape == acquired.shape[:3]
    np.testing.assert_allclose(made.affine, acquired.affine, atol=1e-4)
    # a residual network after few iterations: still the T2, scaled
    t2, pd = (np.asarray(image.dataobj, dtype=float).reshape(made.shape) for image in (acquired, made))
    assert np.corrcoef(t2.ravel(), pd.ravel())[0, 1] > 0.9
