"""Measure how fast the bundle's inference computes a network's passes here."""

from __future__ import annotations

import time
import warnings
from pathlib import Path
from typing import Any

import torch
from monai.bundle import ConfigParser
from monai.data import MetaTensor

from monai_nce.bundle_folder import bundle_folder
from monai_nce.handlers import TrainedFor, load_weights

__all__ = ["PIXELS", "PIXEL_MM", "SLICES", "measure_speed"]

PIXELS, SLICES = 512, 100  # of the scan that the answer is for
PIXEL_MM = 0.8
MEASURED = 16  # slices


def measure_speed(checkpoint: Path) -> dict[str, Any]:
    """Measure passes of a network over part of a scan, by the bundle's own ``inference.json``.

    The scan is made up: a body of water with noise. Nothing is written; where OpenVINO would be taken but its file has
    to be exported first, PyTorch is measured.

    Returns:
        ``backend`` and ``precision`` that inference would take for a whole scan, whether they are ``ready``, what was
        ``measured`` and on which ``device``; ``ms_per_slice``; ``seconds`` for the passes of a scan of ``PIXELS`` ×
        ``PIXELS`` × ``SLICES`` voxels, ``PIXEL_MM`` wide; their in-plane ``size``; ``warnings`` on the way.

    Raises:
        InputError: if the weights cannot be used.
    """
    TrainedFor.read(checkpoint)  # MONAI's parser would wrap the error
    parser = ConfigParser()
    parser.read_config(bundle_folder() / "configs" / "inference.json")
    parser.update({"checkpoint": checkpoint, "items": [], "runtime#volumes": 1, "inferer#progress": False})
    parser["runtime#quiet"] = True
    parser.parse()
    network, inferer, runtime = (parser.get_parsed_content(key) for key in ("network", "inferer", "runtime"))
    load_weights(network, checkpoint, parser.get_parsed_content("trained_for"))
    resampling, windowing = parser.get_parsed_content("preprocessing").transforms[-2:]
    scan = windowing(resampling({"image": _scan()}))["image"].as_tensor()[None].to(parser.get_parsed_content("device"))
    height, width = scan.shape[2:4]
    divisor = int(getattr(network, "size_factor", 1))
    padded = [size + -size % divisor for size in (height, width)]
    stacks = scan.new_zeros(3, inferer.slices + int(getattr(network, "condition_channels", 0)), *padded)
    backend, precision, ready = runtime.first_choice(network, stacks, SLICES)
    runtime.backend, runtime.precision = (backend if ready else "torch"), precision
    with warnings.catch_warnings(record=True) as caught, torch.inference_mode():
        warnings.simplefilter("always")
        inferer(scan, network)  # makes it ready, and the first pass is slower
        start = time.perf_counter()
        inferer(scan, network).cpu()  # waits for a GPU
        seconds = (time.perf_counter() - start) / MEASURED
    return {
        "backend": backend,
        "precision": precision,
        "ready": ready,
        "measured": runtime.backend,
        "device": str(scan.device),
        "size": [height, width],
        "ms_per_slice": 1000 * seconds,
        "seconds": SLICES * seconds,
        "warnings": [str(one.message) for one in caught if issubclass(one.category, UserWarning)],
    }


def _scan() -> MetaTensor:
    """Make slices of a round body of 40 HU with noise, in air."""
    across = torch.linspace(-1, 1, PIXELS)
    body = (across[:, None] ** 2 + across[None] ** 2 < 0.7)[..., None].expand(-1, -1, MEASURED)
    noise = torch.randn(body.shape, generator=torch.Generator().manual_seed(0))
    hu = torch.where(body, 40 + 10 * noise, torch.tensor(-1000.0))
    return MetaTensor(hu[None], affine=torch.diag(torch.tensor([PIXEL_MM, PIXEL_MM, 3.0, 1.0])))
