"""Phase and contrast level: learnt by conditional.json, told in an evaluation, asked for at inference."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pydicom
import pytest
import torch
from ignite.engine import Engine
from monai.bundle import ConfigWorkflow

from monai_nce.data import DatasetWriter, read_datalist
from monai_nce.errors import find_input_error
from monai_nce.handlers import TrainedFor, WeightsSaver
from monai_nce.networks import Generator
from tests.bundles.test_inference_dicom import DIRECTIONS, scan
from tests.bundles.test_inference_dicom import write as write_series


@pytest.fixture(scope="module")
def told_dataset(tiny_dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny phantoms, whose phases and levels are known, but for the first."""
    contrast: list[dict[str, Any]] = [{}, {"phase": "portal", "level": 1.2}, {"phase": "arterial", "level": 0.8}]
    folder = tmp_path_factory.mktemp("told") / "set"
    with DatasetWriter(folder, name="told", description="d", licence="Apache-2.0") as dataset:
        for number, item in enumerate(read_datalist(tiny_dataset)):
            images = {role: nib.load(item[role]) for role in ("source", "target", "aligned_source")}
            volumes = {role: np.asarray(image.dataobj) for role, image in images.items()}
            known = contrast[number % len(contrast)]
            dataset.add(item["split"], item["patient"], images["target"].affine, **volumes, **known)
    return folder


@pytest.fixture
def weights(tmp_path: Path):
    """Write the weights of a small network, which takes a condition or none; returns the flag that takes them."""

    def write(condition_channels: int = 5) -> dict[str, Any]:
        torch.manual_seed(0)
        path = tmp_path / "weights" / f"model_{condition_channels}.pt"
        data = [{"name": "monai-nce virtual", "kind": "virtual", "patients": 120, "scans": 240}]
        network = Generator(3, (8, 8), 8, residual=True, condition_channels=condition_channels)
        torch.nn.init.normal_(network.head.weight, std=0.1)
        trained_for = TrainedFor("NECT", "CECT", 50, 300, 2.5, slices=3, data=data)
        WeightsSaver(network, path, trained_for=trained_for)(Engine(lambda engine, batch: None))
        return {"checkpoint": str(path)}

    return write


def run(bundle: Path, names: tuple[str, ...], run_id: str, **overrides: Any) -> ConfigWorkflow:
    files = [str(bundle / "configs" / f"{name}.json") for name in names]
    workflow = ConfigWorkflow(files, workflow_type="train", logging_file=False, run_id=run_id, **overrides)
    workflow.initialize()
    workflow.run()
    return workflow


def test_acquired_pairs_are_not_raised(bundle: Path, tiny: dict, told_dataset: Path) -> None:
    given = {**tiny, "dataset_dir": str(told_dataset), "stages": ["@train#trainer"]}
    names = ("train", "regression", "conditional")
    with pytest.raises(Exception) as caught:
        run(bundle, names, "training", **given, **{"condition#dropped": 0, "condition#raised": 1})
    assert "give --condition#raised 0 for source" in str(find_input_error(caught.value))
    run(bundle, names, "training", **given, **{"condition#raised": 0})


@pytest.mark.parametrize("schemes", [(), ("regression", "oracle")])
def test_training_and_evaluation(bundle: Path, tiny: dict, told_dataset: Path, schemes: tuple[str, ...]) -> None:
    given = {**tiny, "dataset_dir": str(told_dataset)}
    workflow = run(bundle, ("train", *schemes, "conditional"), "training", **given)
    network = workflow.parser.get_parsed_content("network")
    assert network.condition_channels == 5
    batch = next(iter(workflow.parser.get_parsed_content("train#dataloader")))
    assert batch["condition"].shape == (2, 5) and batch["rise"].shape == (2,)
    models = Path(tiny["output_dir"]) / "models"
    assert TrainedFor.read(models / "model.pt").network["condition_channels"] == 5
    assert (models / "model_best.pt").is_file()
    if not schemes:
        auxiliary = workflow.parser.get_parsed_content("auxiliary")
        assert (auxiliary.condition_channels, auxiliary.channels) == (0, network.channels)
        assert TrainedFor.read(models / "auxiliary.pt").network["condition_channels"] == 0
    errors = []
    for overlays in (("conditional",), ()):
        run(bundle, ("train", *overlays, "evaluate"), "evaluating", **given)
        report = json.loads((Path(tiny["output_dir"]) / "metrics.json").read_text())
        assert ("told" in report["about"]) == bool(overlays)
        errors.append(report["separate"]["mse"]["mean"])
    assert np.isfinite(errors).all()


def test_a_condition_changes_the_result_and_every_file_says_it(bundle, infer, weights, tmp_path, capfd) -> None:
    series = write_series(tmp_path / "series", scan(3), DIRECTIONS["head up"])
    made = {}
    for name, asked in {"none": {}, "low": {"level": 0.6}, "high": {"phase": "portal", "level": 1.25}}.items():
        infer(series, tmp_path / name, output_format="both", **weights(), **asked)
        out = capfd.readouterr().out
        (line,) = [line for line in out.splitlines() if line.startswith("asked for: ")] or [""]
        image = nib.load(tmp_path / name / "series_synthetic_cect.nii.gz")
        description, (comment,) = image.header["descrip"].item().decode(), image.header.extensions
        header = pydicom.dcmread(tmp_path / name / "series_synthetic_cect" / "synthetic_0001.dcm")
        words = line.removeprefix("asked for: ")
        made[words] = np.asarray(image.dataobj)
        assert description == (
            f"SYNTHETIC CECT by monai-nce, {words}, trained on virtual" + "; research only" * (len(words) < 15)
            if asked
            else "SYNTHETIC CECT from NECT by monai-nce, trained on virtual; research only"
        )
        assert (f"Asked for: {words}." in comment.text) == bool(asked)
        assert ("Asked for: " in header.DerivationDescription) == bool(asked)
        assert header.SeriesDescription == f"SYNTHETIC CECT (AI{', ' * bool(asked)}{words}) - research only"
    assert list(made) == ["", "level 0.6", "portal, level 1.25"]
    none, low, high = made.values()
    assert (none != low).any() and (low != high).any() and (none != high).any()


@pytest.mark.slow
def test_both_backends_agree(infer, weights, tmp_path) -> None:
    pytest.importorskip("openvino")
    series = write_series(tmp_path / "series", scan(3), DIRECTIONS["head up"])
    made = []
    for level in (0.6, 1.5):
        for backend in ("torch", "openvino"):
            out = tmp_path / f"{backend}_{level}"
            infer(series, out, backend=backend, phase="portal", level=level, **weights())
            made.append(np.asarray(nib.load(out / "series_synthetic_cect.nii.gz").dataobj, dtype=float))
    assert len(list((tmp_path / "weights").glob("*.onnx"))) == 1  # one export serves every condition
    for by_torch, by_openvino in (made[:2], made[2:]):
        assert np.abs(by_torch - by_openvino).max() <= 1
    assert np.abs(made[0] - made[2]).max() > 1


@pytest.mark.parametrize(
    ("channels", "asked", "message"),
    [
        (0, {"phase": "portal"}, "model_0.pt: expected weights that take phase and level but these do not: leave out"),
        (0, {"level": 1.0}, "model_0.pt: expected weights that take phase and level but these do not: leave out"),
        (5, {"phase": "venous"}, "phase: expected arterial, portal, delayed or none but got 'venous'"),
        (5, {"level": 2.5}, "level: expected a number from 0.3 to 2, or none but got 2.5"),
        (5, {"level": "high"}, "level: expected a number from 0.3 to 2, or none but got 'high'"),
    ],
)
def test_what_cannot_be_asked_for_is_refused_before_anything_is_read(
    infer, weights, tmp_path, channels: int, asked: dict[str, Any], message: str
) -> None:
    with pytest.raises(Exception) as caught:
        infer(tmp_path / "no such scan", tmp_path / "out", **weights(channels), **asked)
    assert message in str(find_input_error(caught.value))
    assert not (tmp_path / "out").exists()
