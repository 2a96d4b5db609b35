"""``torch.compile`` that shows on the clock alone: weights keep their names, and a missing compiler is said first."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys

import torch
from torch import nn

from monai_nce.errors import InputError

__all__ = ["compiled"]


def compiled(network: nn.Module, device: str | torch.device) -> nn.Module:
    """Make calls of a network, and of its ``features`` where it has such a method, run by ``torch.compile``.

    In place: ``torch.compile(network)`` would return a wrapper whose state dict has other names. Compilation itself
    happens at the first call and takes a minute or so per network and shape.

    Args:
        network: changed in place.
        device: where it runs.

    Returns:
        ``network``.

    Raises:
        InputError: when what ``torch.compile`` needs on this device is not installed.
    """
    _check(torch.device(device).type)
    network.compile()
    features = getattr(network, "features", None)
    if callable(features):
        network.features = torch.compile(features)  # type: ignore[assignment]
    return network


def _check(device_type: str) -> None:
    """Triton's absence and that of a compiler would else be told at the first iteration, over several screens."""
    if device_type == "cuda" and importlib.util.find_spec("triton") is None:
        raise InputError("compile: expected Triton, which torch.compile needs on a GPU, but it is not installed")
    if device_type == "cuda":  # Triton compiles its launchers, in C
        language, names = "C", [os.environ["CC"]] if "CC" in os.environ else ["gcc", "clang"]
    elif device_type == "cpu":
        usual = {"darwin": "clang++", "win32": "cl"}.get(sys.platform, "g++")
        language, names = "C++", [os.environ.get("CXX", usual)]
    else:
        return
    if not any(map(shutil.which, names)):
        raise InputError(
            f"compile: expected a {language} compiler ({' or '.join(names)}), which torch.compile needs on a device of "
            f"type {device_type}, but none was found; install one or train without compile"
        )
