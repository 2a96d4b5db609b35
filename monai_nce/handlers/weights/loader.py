"""Weights from a file, checked against the network before one tensor of it changes."""

from __future__ import annotations

import zipfile
from os import PathLike
from pathlib import Path

import torch
from ignite.engine import Engine, Events
from torch import nn

from monai_nce.errors import InputError
from monai_nce.handlers.weights.trained_for import TrainedFor

__all__ = ["WeightsLoader", "load_weights"]


def load_weights(network: nn.Module, path: str | PathLike[str], trained_for: TrainedFor | None = None) -> None:
    """Load a state dict, all of it or nothing.

    Args:
        network: to load into; under DistributedDataParallel the network inside.
        path: file made by ``torch.save(network.state_dict(), path)``; read with ``weights_only=True``, so that it
            cannot run code.
        trained_for: what they are wanted for; None takes them whatever it was.

    Raises:
        InputError: when the file is missing, damaged, no state dict, made for another network, trained for something
            else, or holds NaN or Inf.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such checkpoint")
    try:
        if zipfile.is_zipfile(path):  # torch's own since 1.6, with CRC-32s that it does not check itself
            with zipfile.ZipFile(path) as archive:
                if archive.testzip() is not None:
                    raise zipfile.BadZipFile("CRC-32")
        weights = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # of many kinds: a damaged pickle fails wherever the damage leads
        # torch's own words run over paragraphs and advise to load unsafely
        why = "damaged" if isinstance(error, zipfile.BadZipFile) else "expected tensors alone, from torch.save"
        raise InputError(f"{path}: not a readable checkpoint: {why}") from error
    if not isinstance(weights, dict) or not all(isinstance(value, torch.Tensor) for value in weights.values()):
        raise InputError(f"{path}: expected a state dict of tensors but got something else")
    network = getattr(network, "module", network)
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
    if trained_for is not None:
        trained_for.check_weights(weights, path)
    network.load_state_dict(weights)


class WeightsLoader:
    """Load weights when an engine starts, as MONAI's ``CheckpointLoader`` does, but with checks that name the fault.

    Args:
        network: to load into.
        path: of the state dict.
        trained_for: what they are wanted for; None takes them whatever it was.
    """

    def __init__(self, network: nn.Module, path: str | PathLike[str], trained_for: TrainedFor | None = None) -> None:
        self.network = network
        self.path = path
        self.trained_for = trained_for

    def attach(self, engine: Engine) -> None:
        """Args: engine: at whose start the weights are loaded."""
        engine.add_event_handler(Events.STARTED, self)

    def __call__(self, engine: Engine) -> None:
        load_weights(self.network, self.path, self.trained_for)
