from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
import torch
from ignite.engine import Engine
from monai.bundle import ConfigWorkflow

from monai_nce.errors import InputError, find_input_error
from monai_nce.handlers import TrainedFor, WeightsSaver
from monai_nce.metrics import METRICS
from monai_nce.networks import Generator


@pytest.fixture
def identity_weights(tiny) -> Path:
    """A residual generator as it starts: it changes nothing."""
    path = Path(tiny["output_dir"]) / "models" / "model.pt"
    path.parent.mkdir(parents=True)
    torch.save(Generator(channels=(8, 8), hidden_channels=8, residual=True).state_dict(), path)
    return path


def test_files_and_what_is_in_them(evaluate, identity_weights):
    folder = evaluate()
    report = json.loads((folder / "metrics.json").read_text(), parse_constant=pytest.fail)
    assert set(report) == {"about", "identity", "separate", "organs_hu", "organ_report"}
    for name in METRICS:
        # a network that changes nothing scores what the input scores
        for value in ("mean", "patient_mean"):
            assert report["separate"][name][value] == pytest.approx(report["identity"][name][value])
        assert len(report["identity"][name]["per_patient"]) == report["about"]["patients"] == 1
    assert report["identity"]["mse"]["mean"] > 0.005
    assert report["about"]["aligned"] and "phantom" in report["about"]["data"]
    assert "research use only" in report["about"]["note"].lower()
    aorta = report["organs_hu"]["aorta"]
    assert aorta["cect"] > aorta["nect"] + 40 and aorta["synthetic"] == pytest.approx(aorta["nect"], abs=0.1)
    rows = list(csv.reader((folder / "metrics.csv").open()))
    assert rows[0] == ["method", "patient", *METRICS]
    assert (folder / "preview.png").read_bytes().startswith(b"\x89PNG")


def test_a_metric_is_added_by_the_configuration_alone(evaluate, identity_weights, capsys):
    """The door of CONTRIBUTING.md: one of MONAI's metrics, and one from a file of one's own."""
    own = {"name": "bias_hu", "function": "$lambda pred, target: (pred - target).mean(dim=(1, 2, 3))", "hu_power": 1}
    ssim = {"_target_": "monai.metrics.SSIMMetric", "spatial_dims": 2, "data_range": 2.0, "reduction": "none"}
    target = {"_target_": "monai_nce.metrics.Metric"}
    added = [{**target, **own, "format": ".1f"}, {**target, "name": "ssim", "title": "SSIM", "function": ssim}]
    folder = evaluate(additional_metrics=added)
    report = json.loads((folder / "metrics.json").read_text(), parse_constant=pytest.fail)
    assert -60 < report["identity"]["bias_hu"]["mean"] < -1  # contrast medium is what the input lacks
    assert 0.3 < report["separate"]["ssim"]["mean"] < 1
    rows = list(csv.reader((folder / "metrics.csv").open()))
    assert rows[0] == ["method", "patient", *METRICS, "bias_hu", "ssim"]
    table = [line for line in capsys.readouterr().out.splitlines() if line.startswith(("method", "identity"))]
    assert table[0].split()[-2:] == ["bias_hu", "SSIM"]
    assert table[1].split()[-2] == f"{report['identity']['bias_hu']['mean']:.1f}"


def test_weights_of_another_window_are_refused_and_nothing_is_written(evaluate, identity_weights, tiny):
    weights = torch.load(identity_weights, weights_only=True)
    TrainedFor("NECT", "CECT", 50, 300, spacing=9.0).write_to(weights)  # an evaluation is on the grid of its data
    torch.save(weights, identity_weights)
    with pytest.raises(RuntimeError) as caught:
        evaluate(window_width=400)
    message = "trained for a window of level 50 and width 300, not for a window of level 50 and width 400: choo"
    assert message in str(find_input_error(caught.value))
    assert not (Path(tiny["output_dir"]) / "metrics.json").exists()
    evaluate()


def test_network_and_window_are_read_from_the_weights(evaluate, tiny):
    network, path = Generator(channels=(8, 4), hidden_channels=4), Path(tiny["output_dir"]) / "models" / "model.pt"
    trained_for = TrainedFor("CT", "CTA", 60, 400, spacing=9.0, slices=3)
    WeightsSaver(network, path, trained_for=trained_for)(Engine(lambda engine, batch: None))
    report = json.loads((evaluate() / "metrics.json").read_text())
    assert set(report["organs_hu"]["aorta"]) == {"ct", "synthetic", "cta"}
    with pytest.raises(RuntimeError) as caught:
        evaluate(window_width=300)
    assert "a window of level 60 and width 400, not for" in str(find_input_error(caught.value))


def test_weights_of_mr_networks_have_no_metric_in_hu(evaluate, tiny):
    path = Path(tiny["output_dir"]) / "models" / "model.pt"
    saver = WeightsSaver(Generator(channels=(8, 8), hidden_channels=8), path, trained_for=TrainedFor("T2", "PD"))
    saver(Engine(lambda engine, batch: None))
    report = json.loads((evaluate() / "metrics.json").read_text())
    assert "mse" in report["separate"] and "mae_hu" not in report["separate"] and "organs_hu" not in report


def test_a_missing_checkpoint_is_named_and_nothing_is_written(evaluate, tiny):
    with pytest.raises(RuntimeError) as caught:
        evaluate(checkpoint="nowhere/model.pt")
    cause = caught.value.__cause__
    assert isinstance(cause, InputError) and "nowhere/model.pt" in str(cause)
    assert not Path(tiny["output_dir"]).exists()


def test_shipped_weights_beat_the_floor_on_the_phantom(bundle, tmp_path):
    """The default networks and weights on two slices' worth of patients: the figures of the model card in small."""
    from monai_nce.phantom import write_phantom_dataset

    dataset = write_phantom_dataset(tmp_path / "phantom", patients=2, slices=8, seed=7, progress=False)
    workflow = ConfigWorkflow(
        config_file=[str(bundle / "configs" / f"{name}.json") for name in ("train", "evaluate")],
        workflow_type="train",
        logging_file=False,
        run_id="evaluating",
        dataset_dir=str(dataset),
        output_dir=str(tmp_path / "out"),
        checkpoint=str(bundle / "models" / "model.pt"),
    )
    workflow.initialize()
    workflow.run()
    report = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert report["separate"]["mse"]["mean"] <= 0.5 * report["identity"]["mse"]["mean"]
    assert report["separate"]["ms_ssim"]["mean"] > report["identity"]["ms_ssim"]["mean"]
    organs = report["organs_hu"]
    for organ in ("aorta", "kidney_cortex", "kidney_medulla"):
        assert organs[organ]["synthetic"] - organs[organ]["nect"] > 40, organ
    for organ in ("vertebra", "bowel_gas", "subcutaneous_fat"):
        assert abs(organs[organ]["synthetic"] - organs[organ]["nect"]) < 10, organ
