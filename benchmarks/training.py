"""What loader and engines cost: a stage's trainer against a bare loop over tensors that are in memory already."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from monai.bundle import ConfigWorkflow
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.cell import CONFIGS
from benchmarks.timing import faster, in_turns, seconds_of, spread

__all__ = ["matmul_peak", "measure_training"]

Batch = dict[str, torch.Tensor]
Get = Callable[[str], Any]


def _workflow(
    dataset_dir: Path, output_dir: str, configs: tuple[str, ...], overrides: dict[str, Any]
) -> ConfigWorkflow:
    workflow = ConfigWorkflow(
        config_file=[str(CONFIGS / f"{name}.json") for name in ("train", *configs)],
        workflow_type="train",
        logging_file=False,
        dataset_dir=str(dataset_dir),
        output_dir=output_dir,
        val_interval=10**6,
        **overrides,
    )
    workflow.initialize()
    return workflow


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
    auxiliary, network, loss, optimizer = get("auxiliary"), get("network"), get("train#loss"), get("train#optimizer")
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


def measure_training(
    dataset_dir: Path, iterations: int, rounds: int, configs: tuple[str, ...] = (), **overrides: Any
) -> dict[str, Any]:
    """Both stages: trainer with loader and handlers, and bare loop, in turns.

    Args:
        dataset_dir: data set to load from.
        iterations: of each turn.
        rounds: turns each.
        configs: overlays of the training configuration, such as ``paper_ct``.
        overrides: of its keys, such as ``precision``.

    Returns:
        Per stage: seconds an iteration of ``trainer`` and ``bare``, the trainer's speed as a ``part_of_bare``, images
        (stacks) a second and the floating-point operations of an iteration in units of 1e9.
    """
    result: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        get = _workflow(dataset_dir, folder, configs, overrides).parser.get_parsed_content
        device = get("device")
        for stage, make_step in STEPS.items():
            trainer, step = get(f"{stage}#trainer"), make_step(get)
            batches = [
                {key: value.to(device) for key, value in batch.items()}
                for batch in itertools.islice(get(f"{stage}#dataloader"), 8)
            ]
            with FlopCounterMode(display=False) as counter:
                step(batches[0])
            candidates = {
                "bare": partial(_loop, step, batches, iterations),
                "trainer": partial(_trainer, trainer, iterations),
            }
            times = {name: [t / iterations for t in ts] for name, ts in in_turns(candidates, rounds).items()}
            gflop = counter.get_total_flops() / 1e9
            seconds = {name: spread(values) for name, values in times.items()}
            result[stage] = {
                "seconds": seconds,
                "part_of_bare": faster(times["bare"], times["trainer"]),
                "images_per_second": len(batches[0]["target"]) / seconds["trainer"]["median"],
                "gflop_per_iteration": gflop,
                "tflops": gflop / 1e3 / seconds["trainer"]["median"],
            }
    return result


def matmul_peak(device: torch.device, dtype: torch.dtype, size: int = 4096) -> float:
    """TFLOP/s of a square matrix product, the most that a network can hope for.

    Args:
        device: to measure.
        dtype: number format.
        size: of the matrices.
    """
    left, right = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))

    def products() -> None:
        for _ in range(10):
            left @ right
        if device.type == "cuda":
            torch.cuda.synchronize()

    products()
    return 10 * 2 * size**3 / min(seconds_of(products) for _ in range(3)) / 1e12
