"""``torch.compile`` that shows on the clock alone: weights keep their names, and a missing compiler is said first."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys

import torch
from torch import nn

from monai_nce.errors import InputError

__all__ = ["compiled", "missing_for_compile"]


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
    if missing := missing_for_compile(torch.device(device).type):
        raise InputError(f"compile: {missing}")
    network.compile()
    features = getattr(network, "features", None)
    if callable(features):
        network.features = torch.compile(features)  # type: ignore[assignment]
    return network


def missing_for_compile(device_type: str) -> str:
    """What ``torch.compile`` lacks on a device of this type, in one line; empty where nothing is known to be missing.

    It would tell it at the first call, over several screens.
    """
    if device_type == "cuda" and importlib.util.find_spec("triton") is None:
        return "expected Triton, which torch.compile needs on a GPU, but it is not installed"
    if device_type == "cuda":  # Triton compiles its launchers, in C
        language, names = "C", [os.environ["CC"]] if "CC" in os.environ else ["gcc", "clang"]
    elif device_type == "cpu":
        usual = {"darwin": "clang++", "win32": "cl"}.get(sys.platform, "g++")
        language, names = "C++", [os.environ.get("CXX", usual)]
    else:
        return ""
    if any(map(shutil.which, names)):
        return ""
    return (
        f"expected a {language} compiler ({' or '.join(names)}), which torch.compile needs on a device of type "
        f"{device_type}, but none was found; install one or train without compile"
    )
