"""Train the schemes of the bundle in this process or as one of several, and write down what was computed.

    python -m torch.distributed.run --standalone --nproc_per_node=2 -m tests.bundles.two_processes SETTINGS.json

The classifier is left as it was made: its batch norm takes the statistics of a batch, which on CPUs is each process's
own, so that its training, and all that its features judge, cannot agree between one process and two.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from ignite.engine import Events
from monai.bundle import ConfigWorkflow

CONFIGS = Path(__file__).parents[2] / "bundles" / "nce" / "configs"
SCHEMES = {
    "separate": (("train",), ("stage1", "train")),
    "single": (("train", "single"), ("stage1",)),
    "joint": (("train", "joint"), ("train",)),
    "cycle": (("train", "cycle"), ("train",)),
    "registered": (("train", "registered"), ("train",)),
    "registered_joint": (("train", "registered_joint"), ("train",)),
    "oracle": (("train", "regression", "oracle"), ("train",)),
}
LOSSES = (
    "loss", "adversarial_loss", "reconstruction_loss", "cycle_loss", "discriminator_loss", "discriminator_accuracy",
    "synthetic_loss", "real_loss", "registration_loss", "counted",
)  # fmt: skip


def losses_of_schemes(settings: dict[str, Any], distributed: bool) -> dict[str, Any]:
    """Train every scheme.

    Args:
        settings: overrides of the configuration; ``output_dir`` gets a folder per scheme.
        distributed: as one process of several, which ``torchrun`` has started.

    Returns:
        Per scheme and stage: ``losses``, a list by iteration of those of ``LOSSES`` that there are; ``scores``, the
        validation metric by epoch; ``draws``, a number from this process's own random generator.
    """
    import torch  # after the arguments are known to be right

    found: dict[str, Any] = {}
    for scheme, (names, stages) in SCHEMES.items():
        files = [str(CONFIGS / f"{name}.json") for name in (*names, *(("multi_gpu_train",) if distributed else ()))]
        output_dir = str(Path(settings["output_dir"]) / scheme)
        overrides = {**settings, "output_dir": output_dir, "stage2#earlier#stages": {}}  # not the classifier's
        workflow = ConfigWorkflow(config_file=files, workflow_type="train", logging_file=False, **overrides)
        workflow.initialize()
        get = workflow.parser.get_parsed_content
        for name in ("domain_classifier", "auxiliary"):
            get(name)  # as in a whole training: made, and with several processes that of rank 0 on all
        found[scheme] = {"draws": float(torch.rand(()))}
        for stage in stages:
            trainer, losses, scores = get(f"{stage}#trainer"), [], []
            validation = "stage1#validate" if (scheme, stage) == ("separate", "stage1") else "validate"
            evaluator = get(f"{validation}#evaluator")
            trainer.add_event_handler(
                Events.ITERATION_COMPLETED,
                lambda engine, losses=losses: losses.append(
                    {key: float(engine.state.output[0][key]) for key in LOSSES if key in engine.state.output[0]}
                ),
            )
            evaluator.add_event_handler(
                Events.COMPLETED, lambda engine, scores=scores: scores.append(engine.state.metrics["val_mse"])
            )
            trainer.run()
            found[scheme][stage] = {"losses": losses, "scores": scores}
    return found


def main() -> None:
    settings = json.loads(Path(sys.argv[1]).read_text())
    result = losses_of_schemes(settings, distributed=True)
    Path(settings["output_dir"], f"rank{os.environ['RANK']}.json").write_text(json.dumps(result))


if __name__ == "__main__":
    main()
