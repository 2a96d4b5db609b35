"""Train for measurements: what loading and handlers cost, and weights whose rounding errors mean something."""

from __future__ import annotations

import itertools
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Events
from ignite.handlers import Timer
from monai.bundle.reference_resolver import ReferenceResolver
from torch import nn
from torch.nn import functional
from tqdm import trange

from benchmarks.cell import initialize
from benchmarks.timing import faster, spread
from monai_nce.data import atomic_path
from monai_nce.phantom import make_phantom_patient
from monai_nce.precision import best_precision
from monai_nce.transforms import WindowHU, slice_stacks

__all__ = ["make_trainers", "measure_loader", "measure_training", "phantom_stacks", "trained_briefly"]

PATIENTS = 6  # of the brief training


def make_trainers(dataset_dir: Path, output_dir: str, *configs: str, **overrides: Any) -> dict[str, Any]:
    """Build each stage's trainer as the bundle does, with ``configs`` laid over its training configuration."""
    parser = initialize(("train", *configs), dataset_dir=str(dataset_dir), output_dir=output_dir, **overrides).parser
    names = [ReferenceResolver.split_id(reference.removeprefix("@"))[0] for reference in parser["stages"]]
    # MONAI's name for the last stage's trainer is train
    return {"stage2" if name == "train" else name: parser.get_parsed_content(f"{name}#trainer") for name in names}


def measure_training(dataset_dir: Path, iterations: int, rounds: int, **overrides: Any) -> dict[str, Any]:
    """Measure both stages in turns: whole (``trainer``), and on batches in memory without handlers (``bare``).

    Each has so many ``rounds``; one more warms up. ``overrides`` are values of the configuration's keys.

    Returns:
        Per stage: ``seconds`` an iteration of both, the whole trainer's speed as a ``part_of_bare``, and its
        ``images_per_second`` (stacks).
    """
    result: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        given = {"val_interval": 10**6, **overrides}
        whole = make_trainers(dataset_dir, f"{folder}/whole", **given)
        given |= {f"{stage}#handlers": [] for stage in whole}
        bare = make_trainers(dataset_dir, f"{folder}/bare", **given)
        for stage in ("stage1", "stage2"):
            batches = list(itertools.islice(bare[stage].data_loader, 8))
            bare[stage].data_loader = [{k: v.to(bare[stage].state.device) for k, v in b.items()} for b in batches]
            trainers = {"bare": bare[stage], "trainer": whole[stage]}
            events = {"start": Events.EPOCH_STARTED, "resume": Events.GET_BATCH_STARTED}
            events |= {"pause": Events.ITERATION_COMPLETED, "step": Events.ITERATION_COMPLETED}
            timers = {name: Timer(average=True).attach(trainer, **events) for name, trainer in trainers.items()}
            times: dict[str, list[float]] = {name: [] for name in trainers}
            for turn in range(rounds + 1):
                for name, trainer in trainers.items():
                    state = trainer.state
                    state.iteration, state.epoch, state.max_epochs, state.epoch_length = 0, 0, 1, iterations
                    trainer.run()
                    times[name] += [timers[name].value()] if turn else []
            result[stage] = {
                "seconds": {name: spread(values) for name, values in times.items()},
                "part_of_bare": faster(times["bare"], times["trainer"]),
                "images_per_second": len(batches[0]["target"]) / spread(times["trainer"])["median"],
            }
    return result


def measure_loader(dataset_dir: Path, workers: int, batches: int = 1000, **overrides: Any) -> float:
    """Load batches as stage 2 does, epoch after epoch, the first one not counted; return stacks a second."""
    with tempfile.TemporaryDirectory() as folder:
        trainer = make_trainers(dataset_dir, folder, num_workers=workers, **overrides)["stage2"]
        loaded = itertools.chain.from_iterable(itertools.repeat(trainer.data_loader))
        next(loaded)
        start = time.perf_counter()
        stacks = sum(len(batch["target"]) for batch in itertools.islice(loaded, batches))
        return stacks / (time.perf_counter() - start)


def phantom_stacks(index: int, size: int, slices: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Make a phantom's slice stacks in the paper's window: aligned NECT and CECT, ``(slices, 3, size, size)``."""
    patient = make_phantom_patient(index, size=size, slices=slices)
    volumes = (WindowHU()(torch.from_numpy(hu).float()[None]) for hu in (patient.nect_aligned, patient.cect))
    source, target = (slice_stacks(volume, 3) for volume in volumes)
    return source, target


def trained_briefly(network: nn.Module, path: Path, size: int, iterations: int, device: torch.device) -> nn.Module:
    """Train in place with L1 on batches of four aligned phantom stacks, in bf16 where the device computes in it.

    Weights that were trained before are loaded from ``path``. Returns the network in eval mode.
    """
    network.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    if path.is_file():
        network.load_state_dict(torch.load(path, map_location=device, weights_only=True))
        return network.eval()
    pairs = [phantom_stacks(index, size, 16) for index in range(PATIENTS)]
    source, target = (torch.cat(stacks) for stacks in zip(*pairs, strict=True))
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-4, betas=(0.5, 0.999))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=3e-4, total_steps=iterations)
    random = torch.Generator().manual_seed(0)
    for _ in trange(iterations, desc=f"training at {size}", mininterval=5):
        chosen = torch.randint(len(source), (4,), generator=random)
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=best_precision(device.type) == "bf16"):
            prediction = network(source[chosen].to(device))
        loss = functional.l1_loss(prediction.float(), target[chosen].to(device))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    with atomic_path(path) as partial:
        torch.save(network.state_dict(), partial)
    return network.eval()
