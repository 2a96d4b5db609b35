"""The overlays: each trains by itself, resumes, evaluates, and moves the networks that it should."""

from __future__ import annotations

import json
import shutil
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
        "domain_classifier": "classifier.pt",
    },
    "cycle": {
        "network": "model.pt",
        "auxiliary": "auxiliary.pt",
        "discriminator": "discriminator.pt",
        "source_discriminator": "source_discriminator.pt",
        "domain_classifier": "classifier.pt",
    },
    "aligned": {"network": "model.pt", "auxiliary": "auxiliary.pt", "domain_classifier": "classifier.pt"},
    "registered": {"network": "model.pt", "domain_classifier": "classifier.pt"},
    "registered_joint": {
        "network": "model.pt",
        "auxiliary": "auxiliary.pt",
        "discriminator": "discriminator.pt",
        "domain_classifier": "classifier.pt",
        "registration": "registration.pt",
    },
    "regression": {"network": "model.pt", "domain_classifier": "classifier.pt"},
    "oracle": {"network": "model.pt", "domain_classifier": "classifier.pt"},
}
LAID_OVER = {"oracle": ("regression", "oracle")}  # the others are a file each


def overlays_of(method: str) -> tuple[str, ...]:
    return () if method == "separate" else LAID_OVER.get(method, (method,))


def workflow(bundle: Path, overrides: dict, method: str, *overlays: str, run_id: str = "training") -> ConfigWorkflow:
    configs = [str(bundle / "configs" / f"{name}.json") for name in ("train", *overlays_of(method), *overlays)]
    made = ConfigWorkflow(config_file=configs, workflow_type="train", logging_file=False, run_id=run_id, **overrides)
    made.initialize()
    return made


@pytest.mark.parametrize("method", METHODS)
def test_a_method_trains_its_networks_alone_and_evaluates(bundle, tiny, method):
    run = workflow(bundle, tiny, method)
    names = ("network", "auxiliary", "discriminator", "domain_classifier")
    names += ("source_discriminator",) * (method == "cycle") + ("registration",) * (method == "registered_joint")
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
@pytest.mark.parametrize("preset", [("paper",), ("paper", "paper_ixi")], ids="-".join)
def test_a_paper_preset_laid_over_a_method_sets_the_papers_rates_and_epochs(bundle, tiny, method, preset):
    kept = {key: tiny[key] for key in ("dataset_dir", "output_dir")}
    run = workflow(bundle, kept, method, *preset)
    for stage in ("classifier", "stage1", "train"):
        assert run.parser.get_parsed_content(f"{stage}#trainer#max_epochs") == (20 if "paper_ixi" in preset else 30)
    schedules = ["stage1#generator_lr_scheduler", "stage1#discriminator_lr_scheduler", "stage2#lr_scheduler"]
    schedules += ["stage2#source_lr_scheduler"] * (method == "cycle")
    for name in schedules:
        schedule = run.parser.get_parsed_content(name)
        assert schedule.gamma == 0.9 and schedule.optimizer.defaults["lr"] == 1e-4
    assert run.parser.get_parsed_content("discriminator_def#num_groups") == 32


def test_an_oracle_without_aligned_pairs_is_refused_before_anything_is_trained(bundle, tiny, tmp_path):
    folder = tmp_path / "unaligned"
    shutil.copytree(Path(tiny["dataset_dir"]), folder)
    datalist = json.loads((folder / "datalist.json").read_text())
    for item in datalist["training"]:
        del item["aligned_source"]
    (folder / "datalist.json").write_text(json.dumps(datalist))
    with pytest.raises(Exception) as raised:  # noqa: B017, PT011 - MONAI wraps it, by how much is its own affair
        workflow(bundle, {**tiny, "dataset_dir": str(folder)}, "oracle").run()
    causes = [raised.value, raised.value.__cause__, raised.value.__context__]
    assert any("has both aligned_source and target" in str(cause) for cause in causes)
    assert not Path(tiny["output_dir"]).exists()
