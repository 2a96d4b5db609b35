"""Measure one volume from file to file: by a command, within a process, and its forward passes alone."""

from __future__ import annotations

import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.bundle import ConfigWorkflow
from torch import nn

from benchmarks.cell import CONFIGS
from benchmarks.forwards import differences
from benchmarks.timing import in_turns, spread
from monai_nce.data import write_nifti_hu
from monai_nce.inferers import Runtime, SliceStackInferer
from monai_nce.phantom import make_phantom_patient

__all__ = ["measure_volume", "phantom_volume"]


def phantom_volume(path: Path, size: int, slices: int, spacing: float) -> Path:
    """Write a phantom patient's scan without contrast medium, where it is not there yet; ``spacing`` in mm."""
    if not path.is_file():
        patient = make_phantom_patient(0, size=size, slices=slices)
        write_nifti_hu(path, patient.nect, np.diag([spacing, spacing, 2.5, 1.0]))
    return path


def _command(flags: dict[str, Any], status: int = 0) -> None:
    """Run the bundle's inference as people do."""
    command = [sys.executable, "-m", "monai.bundle", "run", "inferring", *(f"--{k}={v}" for k, v in flags.items())]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != status:
        raise RuntimeError(done.stderr)


def measure_volume(
    network: nn.Module, image: Path, checkpoint: Path, folder: Path, backend: str, rounds: int
) -> dict[str, Any]:
    """Measure the bundle's inference on one scan, with stride 1.

    The network has the weights of ``checkpoint`` and the bundle's default settings; ``backend`` is name and number
    format, such as ``openvino bf16``.

    Returns:
        ``seconds`` of ``start``, the command until it refuses an input that is not there; ``cold``, the whole command;
        ``warm``, from file to file in a process that has the libraries; ``forwards``, the network alone. Two ratios of
        them, and how far the volume is ``off`` in HU.
    """
    kind, precision = backend.split()
    inferer, plain = SliceStackInferer(runtime=Runtime(kind, precision, checkpoint)), SliceStackInferer()
    flags = {"checkpoint": str(checkpoint), "backend": kind, "precision": precision, "output_dir": str(folder)}
    flags["config_file"] = str(CONFIGS / "inference.json")
    warm = ConfigWorkflow(**flags, logging_file=False, workflow_type="inference", input=str(image))
    warm.initialize()
    device = next(network.parameters()).device
    intensity = warm.parser.get_parsed_content("dataset")[0]["image"].as_tensor()[None].to(device)
    candidates = {
        "start": partial(_command, {**flags, "input": image.with_name("missing.nii.gz")}, status=1),
        "cold": partial(_command, {**flags, "input": image}),
        "warm": warm.run,
        "forwards": partial(inferer, intensity, network),
    }
    times = in_turns(candidates, rounds)
    with torch.inference_mode():
        expected, got = (one(intensity, network)[0].permute(3, 0, 1, 2) for one in (plain, inferer))

    def ratio(whole: str, part: str) -> dict[str, float]:
        return spread([a / b for a, b in zip(times[whole], times[part], strict=True)])

    return {
        "volume": list(intensity.shape[2:]),
        "seconds": {name: spread(values) for name, values in times.items()},
        "cold_over_warm": ratio("cold", "warm"),
        "warm_over_forwards": ratio("warm", "forwards"),
        "off": differences(expected, got),
    }
