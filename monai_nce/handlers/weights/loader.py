"""Load a network's weights after checks that name the fault."""

from __future__ import annotations

from os import PathLike

import torch
from ignite.engine import Engine, Events
from torch import nn

from monai_nce.errors import InputError
from monai_nce.handlers.weights.state_file import read_state_dict
from monai_nce.handlers.weights.trained_for import TrainedFor

__all__ = ["WeightsLoader", "load_weights"]


def load_weights(network: nn.Module, path: str | PathLike[str], trained_for: TrainedFor | None = None) -> None:
    """Load a state dict, all of it or nothing; under DistributedDataParallel into the network inside.

    Raises:
        InputError: when the file is missing, damaged, no state dict, made for another network, not ``trained_for``
            this, or holds NaN or Inf.
    """
    weights = read_state_dict(path)
    network = getattr(network, "module", network)
    if trained_for is not None:
        trained_for.check_weights(weights, path, network)
    own = network.state_dict()
    foreign, missing = [name for name in weights if name not in own], [name for name in own if name not in weights]
    if foreign or missing:
        example = f"lacks {missing[0]}" if missing else f"has {foreign[0]}"
        raise InputError(
            f"{path}: made for another network than {type(network).__name__}: {example} "
            f"({len(missing)} tensors missing, {len(foreign)} unknown)"
        )
    for name, value in weights.items():
        if value.shape != own[name].shape:
            raise InputError(
                f"{path}: made for another network than {type(network).__name__}: "
                f"{name} has shape {tuple(value.shape)}, expected {tuple(own[name].shape)}"
            )
        if value.is_floating_point() and not torch.isfinite(value).all():
            raise InputError(f"{path}: {name} holds NaN or Inf")
    network.load_state_dict(weights)


class WeightsLoader:
    """Call :func:`load_weights` when an engine starts, as MONAI's ``CheckpointLoader`` loads without its checks."""

    def __init__(self, network: nn.Module, path: str | PathLike[str], trained_for: TrainedFor | None = None) -> None:
        self.network = network
        self.path = path
        self.trained_for = trained_for

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.STARTED, self)

    def __call__(self, engine: Engine) -> None:
        load_weights(self.network, self.path, self.trained_for)
