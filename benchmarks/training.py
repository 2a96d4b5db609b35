"""What loader and engines cost: a stage's trainer against a bare loop over tensors that are in memory already."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from monai.bundle import ConfigWorkflow
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.cell import CONFIGS
from benchmarks.timing import faster, in_turns, spread
from monai_nce.handlers import StageCheckpoint, WeightsSaver, stage_handlers

__all__ = ["measure_training"]

Batch = dict[str, torch.Tensor]
Get = Callable[[str], Any]


def _workflow(
    dataset_dir: Path, output_dir: str, configs: tuple[str, ...], overrides: dict[str, Any]
) -> ConfigWorkflow:
    """The training without what it does at the end of an epoch: a turn is a small part of one."""
    workflow = ConfigWorkflow(
        config_file=[str(CONFIGS / f"{name}.json") for name in ("train", *configs)],
        workflow_type="train",
        logging_file=False,
        dataset_dir=str(dataset_dir),
        output_dir=output_dir,
        val_interval=10**6,
        **{f"{stage}#handlers#_target_": "benchmarks.training.handlers_that_write_no_files" for stage in STAGES},
        **overrides,
    )
    workflow.initialize()
    return workflow


def handlers_that_write_no_files(**settings: Any) -> list[Any]:
    """Build a stage's handlers without checkpoints and weights.

    Args:
        settings: arguments of :func:`monai_nce.handlers.stage_handlers`.
    """
    return [each for each in stage_handlers(**settings) if not isinstance(each, (StageCheckpoint, WeightsSaver))]


def _loop(step: Callable[[Batch], None], batches: list[Batch], count: int) -> None:
    """``count`` iterations of a bare loop."""
    for i in range(count):
        step(batches[i % len(batches)])
    if batches[0]["target"].device.type == "cuda":
        torch.cuda.synchronize()


def _trainer(trainer: Any, count: int) -> None:
    """An engine's epoch of ``count`` iterations, with its handlers."""
    trainer.state.iteration, trainer.state.epoch, trainer.state.max_epochs = 0, 0, 1
    trainer.state.epoch_length = count
    trainer.run()


def _stage1_step(get: Get) -> Callable[[Batch], None]:
    generator, discriminator, precision = get("auxiliary"), get("discriminator"), get("mixed_precision")
    of_generator, of_discriminator = get("stage1#generator_optimizer"), get("stage1#discriminator_optimizer")

    def step(batch: Batch) -> None:
        real_input, real_output = batch["target"], batch["source"]
        labels = torch.arange(3, device=real_input.device).repeat_interleave(len(real_input))
        with precision.autocast():
            synthetic = generator(real_input)
            logits = discriminator(torch.cat([real_input, real_output, synthetic.detach()]))
        of_discriminator.zero_grad(set_to_none=True)
        # three means of equal size, summed, as in Eq. 1
        (3 * functional.cross_entropy(logits.float(), labels)).backward()
        of_discriminator.step()
        discriminator.requires_grad_(False)
        of_generator.zero_grad(set_to_none=True)
        with precision.autocast():
            logits = discriminator(synthetic)
        functional.cross_entropy(logits.float(), torch.ones_like(labels[: len(synthetic)])).backward()
        of_generator.step()
        discriminator.requires_grad_(True)

    return step


def _stage2_step(get: Get) -> Callable[[Batch], None]:
    auxiliary, network, loss, optimizer = get("auxiliary"), get("network"), get("stage2#loss"), get("stage2#optimizer")
    precision = get("mixed_precision")

    def step(batch: Batch) -> None:
        with precision.autocast():
            with torch.no_grad():
                synthetic = auxiliary(batch["target"])
            value = loss(network(synthetic), batch["target"])
        optimizer.zero_grad(set_to_none=True)
        value.backward()
        optimizer.step()

    return step


STEPS = {"stage1": _stage1_step, "train": _stage2_step}
STAGES = ("stage1", "stage2")


def _gflop(dataset_dir: Path, configs: tuple[str, ...], overrides: dict[str, Any]) -> dict[str, float]:
    """Operations of an iteration of each stage in units of 1e9, of networks that are not compiled.

    What is first called under the counter is never compiled, and kernels of a compiler are not counted.
    """
    with tempfile.TemporaryDirectory() as folder:
        get = _workflow(dataset_dir, folder, configs, {**overrides, "compile": False}).parser.get_parsed_content
        result = {}
        for stage, make_step in STEPS.items():
            batch = next(_batches(get, stage))
            with FlopCounterMode(display=False) as counter:
                make_step(get)(batch)
            result[stage] = counter.get_total_flops() / 1e9
        return result


def _batches(get: Get, stage: str) -> Iterator[Batch]:
    """Where and as the trainers' batches are."""
    for batch in get(f"{stage}#dataloader"):
        yield {key: value.to(get("device"), memory_format=torch.channels_last) for key, value in batch.items()}


def measure_training(
    dataset_dir: Path, iterations: int, rounds: int, configs: tuple[str, ...] = (), **overrides: Any
) -> dict[str, Any]:
    """Both stages: trainer with loader and handlers, and bare loop, in turns; without checkpoints and validation.

    Args:
        dataset_dir: data set to load from.
        iterations: of each turn.
        rounds: turns each.
        configs: overlays of the training configuration, such as ``paper``.
        overrides: of its keys, such as ``precision``.

    Returns:
        Per stage: seconds an iteration of ``trainer`` and ``bare``, the trainer's speed as a ``part_of_bare``, images
        (stacks) a second and the floating-point operations of an iteration in units of 1e9.
    """
    result: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        get = _workflow(dataset_dir, folder, configs, overrides).parser.get_parsed_content
        gflop = _gflop(dataset_dir, configs, overrides)
        for stage, make_step in STEPS.items():
            trainer, step = get(f"{stage}#trainer"), make_step(get)
            batches = list(itertools.islice(_batches(get, stage), 8))
            candidates = {
                "bare": partial(_loop, step, batches, iterations),
                "trainer": partial(_trainer, trainer, iterations),
            }
            times = {name: [t / iterations for t in ts] for name, ts in in_turns(candidates, rounds).items()}
            seconds = {name: spread(values) for name, values in times.items()}
            result[stage] = {
                "seconds": seconds,
                "part_of_bare": faster(times["bare"], times["trainer"]),
                "images_per_second": len(batches[0]["target"]) / seconds["trainer"]["median"],
                "gflop_per_iteration": gflop[stage],
                "tflops": gflop[stage] / 1e3 / seconds["trainer"]["median"],
            }
    return result
