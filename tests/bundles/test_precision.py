"""The keys ``precision`` and ``compile`` reach every stage of every scheme."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from monai.bundle import ConfigWorkflow
from torch import nn

from monai_nce.errors import find_input_error

STAGES = {
    "separate": ("classifier", "stage1", "train"),
    "joint": ("train",),
    "cycle": ("train",),
    "single": ("stage1",),
    "registered_joint": ("stage1", "train"),
}


def workflow(bundle: Path, overrides: dict, scheme: str) -> ConfigWorkflow:
    files = [str(bundle / "configs" / f"{name}.json") for name in ("train", *([scheme] * (scheme != "separate")))]
    made = ConfigWorkflow(config_file=files, workflow_type="train", logging_file=False, **overrides)
    made.initialize()
    return made


@pytest.mark.parametrize("scheme", STAGES)
def test_every_stage_trains_in_the_configured_precision_and_validates_in_fp32(bundle, tiny, scheme):
    get = workflow(bundle, {**tiny, "precision": "bf16"}, scheme).parser.get_parsed_content
    types: dict[str, set] = {}
    names = ["network", "auxiliary", "discriminator", "domain_classifier"]
    for name in [*names, "registration"] if scheme == "registered_joint" else names:
        for module in get(name).modules():
            if isinstance(module, nn.Conv2d):
                module.register_forward_hook(
                    lambda m, x, y: types.setdefault("training" if torch.is_grad_enabled() else "other", set()).add(
                        y.dtype
                    )
                )
    for stage in STAGES[scheme]:
        types.clear()
        trainer = get(f"{stage}#trainer")
        trainer.run()
        assert trainer.scaler is None and types["training"] == {torch.bfloat16}, stage
    types.clear()
    get("validate#evaluator").run()
    assert types == {"other": {torch.float32}}


@pytest.mark.parametrize(
    ("overrides", "message"),
    [({"precision": "fp16"}, "needs a GPU"), ({"precision": "half"}, "'half'"), ({"compile": True}, "C++ compiler")],
)
def test_what_cannot_be_is_refused_before_anything_is_trained(bundle, tiny, monkeypatch, overrides, message):
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(Exception) as caught:  # noqa: B017, PT011 - MONAI wraps it, by how much is its own affair
        workflow(bundle, {**tiny, "device": "$torch.device('cpu')", **overrides}, "separate").run()
    assert message in str(find_input_error(caught.value))
    assert not Path(tiny["output_dir"]).exists()
