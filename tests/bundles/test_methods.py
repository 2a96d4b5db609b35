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
        "classifier": "classifier.pt",
    },
    "cycle": {
        "network": "model.pt",
        "auxiliary": "auxiliary.pt",
        "discriminator": "discriminator.pt",
        "source_discriminator": "source_discriminator.pt",
        "classifier": "classifier.pt",
    },
    "regression": {"network": "model.pt", "classifier": "classifier.pt"},
    "oracle": {"network": "model.pt", "classifier": "classifier.pt"},
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
    overlays = [*overlays_of(method), "paper_ct"] if order == 0 else ["paper_ct", *overlays_of(method)]
    kept = {key: tiny[key] for key in ("dataset_dir", "output_dir")}
    run = workflow(bundle, kept, "separate", *overlays)
    stage = "stage1" if method == "single" else "train"
    assert run.parser.get_parsed_content(f"{stage}#trainer#max_epochs") == 30
    for name in ("stage1#generator_optimizer", "stage1#discriminator_optimizer", "train#optimizer"):
        assert run.parser.get_parsed_content(name).defaults["lr"] == 1e-4


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
