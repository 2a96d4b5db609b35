"""Another loss, generator or scheme takes as many files as CONTRIBUTING.md promises."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
from ignite.engine import Engine
from monai.bundle import ConfigWorkflow
from monai.networks.nets import BasicUNet
from monai.utils.enums import CommonKeys as Keys

from benchmarks import cell
from benchmarks.plan import METHODS, plan
from monai_nce.data import read_datalist
from monai_nce.engines import AlternatingTrainer

UNET = {
    "network_def": {
        "_target_": "BasicUNet",
        "spatial_dims": 2,
        "in_channels": "@slices",
        "out_channels": "@slices",
        "features": [4, 4, 8, 8, 8, 4],
    }
}
SCHEME = {
    "method": "identical",
    "output_dir": "runs/identical",
    "stage2#name": "identical",
    "train#trainer": {
        "_target_": "tests.bundles.test_doors.IdentityTrainer",
        "device": "@device",
        "max_epochs": "@stage2#max_epochs",
        "train_data_loader": "@train#dataloader",
        "network": "@network",
        "optimizer": "@stage2#optimizer",
        "train_handlers": "$@stage2#handlers + @train#handlers",
        "precision": "@mixed_precision",
    },
    "stages": ["@train#trainer"],
}


class IdentityTrainer(AlternatingTrainer):
    """A scheme of a newcomer: the network learns to give back what it is given."""

    def __init__(self, *args: Any, network: torch.nn.Module, optimizer: torch.optim.Optimizer, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.network = network
        self.optimizer = optimizer

    def _iteration(self, engine: Engine, batchdata: Mapping[str, torch.Tensor]) -> dict[str, Any]:
        (target,) = self._images(batchdata, "target")
        pred = self._run(self.network, target)
        loss = torch.nn.functional.mse_loss(pred, target)
        self._step(loss, self.optimizer)
        engine.state.output = {
            Keys.IMAGE: target,
            Keys.LABEL: target,
            Keys.PRED: pred.detach(),
            Keys.LOSS: loss.detach(),
        }
        return engine.state.output


def workflow(files: list[Path], run_id: str, **overrides: Any) -> ConfigWorkflow:
    kind = "inference" if run_id == "inferring" else "train"
    made = ConfigWorkflow(list(map(str, files)), workflow_type=kind, logging_file=False, run_id=run_id, **overrides)
    made.initialize()
    return made


def test_another_reconstruction_loss_is_a_flag(bundle, tiny):
    loss = {"stage2#loss": {"_target_": "torch.nn.SmoothL1Loss"}, "stages": ["@train#trainer"]}
    run = workflow([bundle / "configs" / "train.json"], "training", **tiny, **loss)
    run.run()
    assert isinstance(run.parser.get_parsed_content("train#trainer").loss_function, torch.nn.SmoothL1Loss)
    assert (Path(tiny["output_dir"]) / "models" / "model.pt").is_file()


def test_another_generator_is_an_overlay_which_trains_evaluates_and_infers(bundle, tiny, tmp_path):
    configs, overlay = bundle / "configs", tmp_path / "unet.json"
    overlay.write_text(json.dumps(UNET))
    given = {key: value for key, value in tiny.items() if not key.startswith("network_def")}
    run = workflow([configs / "train.json", overlay], "training", **given)
    run.run()
    for name in ("network", "auxiliary"):
        assert isinstance(run.parser.get_parsed_content(name), BasicUNet)
    workflow([configs / "train.json", overlay, configs / "evaluate.json"], "evaluating", **given).run()
    assert (Path(tiny["output_dir"]) / "metrics.json").is_file()

    scan = read_datalist(tiny["dataset_dir"], "test")[0]["source"]
    results, weights = tmp_path / "results", Path(tiny["output_dir"]) / "models" / "model.pt"
    inference = [configs / "inference.json", overlay]
    exactly = {"backend": "torch", "precision": "fp32"}
    workflow(inference, "inferring", input=scan, output_dir=str(results), checkpoint=str(weights), **exactly).run()
    (result,) = results.glob("*.nii.gz")
    synthetic, acquired = (np.asarray(nib.load(file).dataobj) for file in (result, scan))
    assert synthetic.shape == acquired.shape and not np.array_equal(synthetic, acquired)


def test_another_scheme_is_a_trainer_an_overlay_and_a_line_of_the_table(bundle, tiny, tmp_path, monkeypatch):
    shutil.copytree(bundle / "configs", tmp_path / "configs")
    (tmp_path / "configs" / "identical.json").write_text(json.dumps(SCHEME))
    monkeypatch.setattr(cell, "CONFIGS", tmp_path / "configs")
    monkeypatch.setitem(METHODS, "identical", ["identical"])
    given = {key: value for key, value in tiny.items() if key not in ("dataset_dir", "output_dir")}
    (planned,) = plan(tiny["dataset_dir"], ["identical"], [], [0], "small", tmp_path / "table", overrides=given)
    result = cell.train_and_evaluate(**planned.spec)
    assert result["metrics"]["about"]["method"] == "identical" and "mse" in result["metrics"]["identical"]
    checkpoints = planned.path / "checkpoints" / "identical"
    assert any(checkpoints.glob("*.pt")), "the stage's standard handlers come with the scheme"
    assert {file.name for file in (planned.path / "models").iterdir()} == {"model.pt", "model_best.pt"}


def test_table_names_every_scheme_s_overlay(bundle):
    for names in METHODS.values():
        for name in names:
            assert (bundle / "configs" / f"{name}.json").is_file()
