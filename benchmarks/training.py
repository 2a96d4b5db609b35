"""Measure what loading and handlers cost a training: each stage as it is against its iterations alone."""

from __future__ import annotations

import itertools
import tempfile
from pathlib import Path
from typing import Any

from ignite.engine import Events
from ignite.handlers import Timer
from monai.bundle import ConfigWorkflow

from benchmarks.cell import CONFIGS
from benchmarks.timing import faster, spread

__all__ = ["STAGES", "make_trainers", "measure_training"]

STAGES = ("stage1", "stage2")


def make_trainers(
    dataset_dir: Path, output_dir: str, stages: tuple[str, ...], configs: tuple[str, ...] = (), **overrides: Any
) -> dict[str, Any]:
    """Build trainers as the bundle does.

    Args:
        dataset_dir: data set to load from.
        output_dir: folder for what the handlers write.
        stages: names of the stages.
        configs: overlays of the training configuration, such as ``paper``.
        overrides: values of its keys.
    """
    workflow = ConfigWorkflow(
        config_file=[str(CONFIGS / f"{name}.json") for name in ("train", *configs)],
        workflow_type="train",
        logging_file=False,
        dataset_dir=str(dataset_dir),
        output_dir=output_dir,
        **overrides,
    )
    workflow.initialize()
    keys = {stage: "train#trainer" if stage == "stage2" else f"{stage}#trainer" for stage in stages}  # MONAI's name
    return {stage: workflow.parser.get_parsed_content(key) for stage, key in keys.items()}


def _seconds(trainer: Any, timer: Timer, iterations: int) -> float:
    """Train one epoch; return the seconds an iteration took, without what follows the last one."""
    trainer.state.iteration, trainer.state.epoch, trainer.state.max_epochs = 0, 0, 1
    trainer.state.epoch_length = iterations
    trainer.run()
    return timer.value()


def measure_training(
    dataset_dir: Path, iterations: int, rounds: int, configs: tuple[str, ...] = (), **overrides: Any
) -> dict[str, Any]:
    """Measure both stages in turns: whole (``trainer``), and on batches in memory without handlers (``bare``).

    Args:
        dataset_dir: data set to load from.
        iterations: iterations of a turn.
        rounds: turns of each; one more warms up, and compiles where ``compile`` is set.
        configs: overlays of the training configuration, such as ``paper``.
        overrides: values of its keys, such as ``precision`` or ``compile``.

    Returns:
        Per stage: ``seconds`` an iteration of both, the whole trainer's speed as a ``part_of_bare``, and its
        ``images_per_second`` (stacks).
    """
    result: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        given = {"val_interval": 10**6, **overrides}
        whole = make_trainers(dataset_dir, f"{folder}/whole", STAGES, configs, **given)
        given |= {f"{stage}#handlers": [] for stage in STAGES}
        bare = make_trainers(dataset_dir, f"{folder}/bare", STAGES, configs, **given)
        for stage in STAGES:
            batches = list(itertools.islice(bare[stage].data_loader, 8))
            bare[stage].data_loader = [{k: v.to(bare[stage].state.device) for k, v in b.items()} for b in batches]
            trainers = {"bare": bare[stage], "trainer": whole[stage]}
            events = {"start": Events.EPOCH_STARTED, "resume": Events.GET_BATCH_STARTED}
            events |= {"pause": Events.ITERATION_COMPLETED, "step": Events.ITERATION_COMPLETED}
            timers = {name: Timer(average=True).attach(trainer, **events) for name, trainer in trainers.items()}
            times: dict[str, list[float]] = {name: [] for name in trainers}
            for turn in range(rounds + 1):
                for name, trainer in trainers.items():
                    seconds = _seconds(trainer, timers[name], iterations)
                    times[name] += [seconds] if turn else []
            result[stage] = {
                "seconds": {name: spread(values) for name, values in times.items()},
                "part_of_bare": faster(times["bare"], times["trainer"]),
                "images_per_second": len(batches[0]["target"]) / spread(times["trainer"])["median"],
            }
    return result
