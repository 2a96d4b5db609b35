"""Save a network's weights atomically, unless they hold NaN or Inf."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Engine, Events
from torch import nn

from monai_nce.data.files.atomic import atomic_path, writing
from monai_nce.distributed import is_main_process
from monai_nce.errors import InputError
from monai_nce.handlers.weights.state_file import write_torch
from monai_nce.handlers.weights.trained_for import TrainedFor

__all__ = ["WeightsSaver", "check_finite"]

FULL = "; what was there is still there: make room and go on with --resume True"


class WeightsSaver:
    """Save a network's state dict when an engine ends, always or when it is the best so far; rank 0 alone.

    With MONAI's ``CheckpointSaver``, which writes in place, a full disk or a NaN costs the last good file.

    Args:
        network: to save; under DistributedDataParallel the network inside.
        path: file of the state dict.
        key_metric: an evaluator's metric to be the best in; None saves at each end.
        lower_is_better: whether a lower ``key_metric`` is better.
        best: saver of this network's best weights, or an evaluator's metric such as ``val_mse`` to make one that writes
            beside ``path``. Where it has saved none, its file is an earlier training's and is removed.
        trained_for: written into the file, with a generator's arguments.

    Raises:
        InputError: when the file cannot be written, such as on a full disk, or the network holds NaN or Inf.
    """

    def __init__(
        self,
        network: nn.Module,
        path: str | PathLike[str],
        key_metric: str | None = None,
        lower_is_better: bool = True,
        best: WeightsSaver | str | None = None,
        trained_for: TrainedFor | None = None,
    ) -> None:
        self.network = network
        self.path = Path(path)
        self.key_metric = key_metric
        self.sign = 1.0 if lower_is_better else -1.0
        if isinstance(best, str):
            path = self.path.with_stem(f"{self.path.stem}_best")
            best = WeightsSaver(network, path, best, lower_is_better, trained_for=trained_for)
        self.best = best
        self.trained_for = trained_for
        self._best = float("inf")

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.COMPLETED, self)

    def state_dict(self) -> dict[str, Any]:
        """Return the best score so far, for a checkpoint."""
        return {"best": self._best}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._best = float(state_dict["best"])

    def __call__(self, engine: Engine) -> None:
        if self.key_metric is not None:
            score = self.sign * float(engine.state.metrics[self.key_metric])
            if not score < self._best:
                return
            self._best = score
        if not is_main_process():
            return
        network = getattr(self.network, "module", self.network)
        check_finite(network, f"{self.path}: not saved: {type(network).__name__}")
        weights: Any = network.state_dict()
        for name, value in weights.items():
            weights[name] = value.detach().cpu().contiguous()
        if self.trained_for is not None:
            self.trained_for.write_to(weights, network)
        with writing(self.path, FULL), atomic_path(self.path) as partial:
            write_torch(weights, partial)
        if self.best is not None and self.best._best == float("inf"):
            self.best.path.unlink(missing_ok=True)


def check_finite(network: nn.Module, what: str) -> None:
    """Raise an InputError that begins with ``what`` when a weight is NaN or Inf. Waits for a GPU once."""
    values = [value for value in network.state_dict().values() if value.is_floating_point()]
    if values and not torch.stack([value.isfinite().all() for value in values]).all():
        raise InputError(f"{what} holds NaN or Inf")
