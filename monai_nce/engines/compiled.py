"""Compile networks in place, after a check that there is a compiler."""

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
    """Compile a network, and its method ``features`` if it has one, in place for a device, and return it.

    ``torch.compile(network)`` would return a wrapper whose state dict has other names. Compilation itself happens at
    the first call and takes a minute or so per network and shape.

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
    """Return in one line what ``torch.compile`` lacks, or "": it would tell at the first call, over several screens."""
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
