"""The overlays single, cycle and joint: each trains by itself, evaluates, and moves the networks it should."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from monai.bundle import ConfigWorkflow

# which networks each method trains, and the files they are saved to
METHODS = {
    "single": {"network": "model.pt", "discriminator": "discriminator.pt"},
    "joint": {
        "network": "model.pt",
        "auxiliary": "auxiliary.pt",
        "discriminator": "discriminator.pt",
        "classifier": "classifier.pt",
    },
    "cycle": {
        "network": "model.pt",
        "auxiliary": "auxiliary.pt",
        "discriminator": "discriminator.pt",
        "source_discriminator": "source_discriminator.pt",
        "classifier": "classifier.pt",
    },
}


def workflow(bundle: Path, overrides: dict, method: str, *overlays: str, run_id: str = "training") -> ConfigWorkflow:
    configs = [str(bundle / "configs" / f"{name}.json") for name in ("train", method, *overlays)]
    made = ConfigWorkflow(config_file=configs, workflow_type="train", logging_file=False, run_id=run_id, **overrides)
    made.initialize()
    return made


@pytest.mark.parametrize("method", METHODS)
def test_a_method_trains_its_networks_alone_and_evaluates(bundle, tiny, method):
    run = workflow(bundle, tiny, method)
    names = ("network", "auxiliary", "discriminator", "classifier") + (("source_discriminator",) * (method == "cycle"))
    networks = {name: run.parser.get_parsed_content(name) for name in names}
    before = {name: {k: v.clone() for k, v in net.state_dict().items()} for name, net in networks.items()}
    run.run()
    models = Path(tiny["output_dir"]) / "models"
    for name, network in networks.items():
        moved = any(not torch.equal(value, before[name][key]) for key, value in network.state_dict().items())
        assert moved == (name in METHODS[method]), name
    for name, file in METHODS[method].items():
        saved = torch.load(models / file, weights_only=True)
        assert all(torch.equal(value, saved[key]) for key, value in networks[name].state_dict().items()), name
    assert (models / "model_best.pt").is_file()

    workflow(bundle, tiny, method, "evaluate", run_id="evaluating").run()
    report = json.loads((Path(tiny["output_dir"]) / "metrics.json").read_text())
    assert report["about"]["method"] == method and set(report) >= {"identity", method}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("order", [0, 1])
def test_a_method_and_a_paper_preset_can_be_laid_over_in_any_order(bundle, tiny, method, order):
    overlays = [method, "paper_ct"][:: 1 if order == 0 else -1]
    kept = {key: tiny[key] for key in ("dataset_dir", "output_dir")}
    run = workflow(bundle, kept, *overlays)
    stage = "stage1" if method == "single" else "train"
    assert run.parser.get_parsed_content(f"{stage}#trainer#max_epochs") == 30
    optimizers = {"single": ["stage1#generator_optimizer", "stage1#discriminator_optimizer"]}.get(
        method, ["stage1#generator_optimizer", "stage1#discriminator_optimizer", "train#optimizer"]
    )
    for name in optimizers:
        assert run.parser.get_parsed_content(name).defaults["lr"] == 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_two_processes(run_bundle, tiny, method):
    done = run_bundle(
        "training",
        "--config_file",
        f"['bundles/nce/configs/train.json','bundles/nce/configs/{method}.json','bundles/nce/configs/multi_gpu_train.json']",
        launcher=("torch.distributed.run", "--standalone", "--nproc_per_node=2", "-m"),
        **tiny,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    for file in METHODS[method].values():
        weights = torch.load(Path(tiny["output_dir"]) / "models" / file, weights_only=True)
        assert not any(key.startswith("module.") for key in weights)
