"""What loader and engines cost: a stage's trainer against a bare loop over tensors that are in memory already.

    python -m benchmarks.training_speed [--dataset-dir DIR] [--iterations N] [--rounds N] [--out FILE]

Both run the default configuration's networks, losses and optimisers. They take turns in one process, since machines are
noisy; the medians and their ratio are printed, and written as JSON with ``--out``. The loader is measured alone too.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from monai.bundle import ConfigWorkflow
from torch.nn import functional

from benchmarks.cell import CONFIGS
from benchmarks.hardware import host
from monai_nce.data import ensure_phantom_dataset, write_json


def _workflow(dataset_dir: Path, output_dir: str, overrides: dict[str, Any]) -> ConfigWorkflow:
    workflow = ConfigWorkflow(
        config_file=str(CONFIGS / "train.json"),
        workflow_type="train",
        logging_file=False,
        dataset_dir=str(dataset_dir),
        output_dir=output_dir,
        val_interval=10**6,
        **overrides,
    )
    workflow.initialize()
    return workflow


def _loop(step: Callable[[dict[str, torch.Tensor]], None], batches: list[dict[str, torch.Tensor]], count: int) -> float:
    """Iterations per second of a bare loop."""
    start = time.perf_counter()
    for i in range(count):
        step(batches[i % len(batches)])
    return count / (time.perf_counter() - start)


def _trainer(trainer: Any, count: int) -> float:
    """Iterations per second of an engine over an epoch of ``count`` iterations, with its handlers."""
    start = time.perf_counter()
    trainer.state.iteration, trainer.state.epoch, trainer.state.max_epochs = 0, 0, 1
    trainer.state.epoch_length = count
    trainer.run()
    return count / (time.perf_counter() - start)


def _stage1_step(get: Callable[[str], Any]) -> Callable[[dict[str, torch.Tensor]], None]:
    generator, discriminator = get("auxiliary"), get("discriminator")
    of_generator, of_discriminator = get("stage1#generator_optimizer"), get("stage1#discriminator_optimizer")

    def step(batch: dict[str, torch.Tensor]) -> None:
        real_input, real_output = batch["target"], batch["source"]
        labels = torch.arange(3).repeat_interleave(len(real_input))
        synthetic = generator(real_input)
        of_discriminator.zero_grad(set_to_none=True)
        logits = discriminator(torch.cat([real_input, real_output, synthetic.detach()]))
        # three means of equal size, summed, as in Eq. 1
        (3 * functional.cross_entropy(logits, labels)).backward()
        of_discriminator.step()
        discriminator.requires_grad_(False)
        of_generator.zero_grad(set_to_none=True)
        functional.cross_entropy(discriminator(synthetic), torch.ones(len(synthetic), dtype=torch.long)).backward()
        of_generator.step()
        discriminator.requires_grad_(True)

    return step


def _stage2_step(get: Callable[[str], Any]) -> Callable[[dict[str, torch.Tensor]], None]:
    auxiliary, network, loss, optimizer = get("auxiliary"), get("network"), get("train#loss"), get("train#optimizer")

    def step(batch: dict[str, torch.Tensor]) -> None:
        with torch.no_grad():
            synthetic = auxiliary(batch["target"])
        optimizer.zero_grad(set_to_none=True)
        loss(network(synthetic), batch["target"]).backward()
        optimizer.step()

    return step


def _batches(loader: Any, count: int) -> list[dict[str, torch.Tensor]]:
    return list(itertools.islice(loader, count))


def _spread(values: list[float]) -> dict[str, float]:
    return {"median": statistics.median(values), "low": min(values), "high": max(values)}


def measure(dataset_dir: Path, iterations: int = 20, rounds: int = 5, **overrides: Any) -> dict[str, Any]:
    """Measure both stages.

    Args:
        dataset_dir: data set to load from.
        iterations: of each turn.
        rounds: turns each.
        overrides: of the configuration.

    Returns:
        Per stage the iterations per second of ``trainer`` and ``bare`` and their ``ratio``; ``loader`` in batches per
        second and how many times faster it is than the faster stage consumes; the hardware.
    """
    result: dict[str, Any] = {
        "hardware": host(),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
    }
    with tempfile.TemporaryDirectory() as folder:
        workflow = _workflow(dataset_dir, folder, overrides)
        get = workflow.parser.get_parsed_content
        for stage, make_step in (("stage1", _stage1_step), ("train", _stage2_step)):
            trainer, step = get(f"{stage}#trainer"), make_step(get)
            batches = _batches(get(f"{stage}#dataloader"), 8)
            _loop(step, batches, 3)  # warm up
            _trainer(trainer, 3)
            trained, bare = [], []
            for _ in range(rounds):
                bare.append(_loop(step, batches, iterations))
                trained.append(_trainer(trainer, iterations))
            result[stage] = {
                "trainer": _spread(trained),
                "bare": _spread(bare),
                "ratio": statistics.median(t / b for t, b in zip(trained, bare, strict=True)),
            }
        loader = get("stage1#dataloader")
        start = time.perf_counter()
        count = sum(1 for _ in loader)
        speed = count / (time.perf_counter() - start)
        fastest = max(result[stage]["bare"]["median"] for stage in ("stage1", "train"))
        result["loader"] = {"batches_per_second": speed, "times_faster_than_consumed": speed / fastest}
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset-dir", type=Path, help="default: the phantom in runs/phantom, made if missing")
    parser.add_argument("--iterations", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, help="JSON file for the figures")
    arguments = parser.parse_args()
    dataset_dir = arguments.dataset_dir or ensure_phantom_dataset(Path("runs/phantom"))
    result = measure(dataset_dir, arguments.iterations, arguments.rounds)
    for stage in ("stage1", "train"):
        row = result[stage]
        print(
            f"{stage}: trainer {row['trainer']['median']:.2f} it/s, bare loop {row['bare']['median']:.2f} it/s, "
            f"ratio {row['ratio']:.3f}"
        )
    loader = result["loader"]
    print(
        f"loader: {loader['batches_per_second']:.0f} batches/s, "
        f"{loader['times_faster_than_consumed']:.0f} times what the faster stage consumes"
    )
    if arguments.out:
        write_json(arguments.out, result)


if __name__ == "__main__":
    main()
