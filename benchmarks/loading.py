"""Measure how many stacks a second the training's loader gives."""

from __future__ import annotations

import itertools
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.training import make_trainers

__all__ = ["measure_loader"]


def measure_loader(dataset_dir: Path, workers: int, batches: int = 1000, **overrides: Any) -> float:
    """Load batches as stage 2 does: shuffled, windowed, epoch after epoch.

    Args:
        dataset_dir: data set to load from.
        workers: processes that load; 0 loads in this one.
        batches: batches to load after the first one.
        overrides: values of the training configuration's keys.

    Returns:
        Stacks a second.
    """
    with tempfile.TemporaryDirectory() as folder:
        (trainer,) = make_trainers(dataset_dir, folder, ("stage2",), num_workers=workers, **overrides).values()
        loaded = itertools.chain.from_iterable(itertools.repeat(trainer.data_loader))
        next(loaded)
        start = time.perf_counter()
        stacks = sum(len(batch["target"]) for batch in itertools.islice(loaded, batches))
        return stacks / (time.perf_counter() - start)
