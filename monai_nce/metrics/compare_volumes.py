"""Compare a synthetic volume with the real one, slice by slice as the paper does, and within a mask."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from monai_nce.errors import InputError
from monai_nce.metrics.image_metrics import METRICS, ImageMetrics
from monai_nce.metrics.metric import Metric
from monai_nce.transforms.window import WindowHU

__all__ = ["IDENTITY", "SYNTHETIC", "WITHIN", "compare_volumes"]

SYNTHETIC, IDENTITY = "synthetic", "identity"
WITHIN = ("mse", "mae_hu", "psnr")  # the metrics of METRICS that are means over pixels, and so can be had of a mask


def compare_volumes(
    synthetic: np.ndarray,
    real: np.ndarray,
    mask: np.ndarray,
    scan: np.ndarray | None = None,
    window_level: float = 50.0,
    window_width: float = 300.0,
    additional: Sequence[Metric | str] = (),
    spacing: Sequence[float] | None = None,
) -> dict[str, dict[str, dict[str, float]]]:
    """Measure how far a synthetic volume is from the real one, and as the floor the scan that it was made from.

    Args:
        synthetic, real: (H, W, D) in HU, axial slices along D.
        mask: (H, W, D), bool: where the real one counts beside the whole slices.
        scan: without contrast medium, as it was given to the network.
        window_level, window_width: in HU; what lies beyond is clamped.
        additional: metrics beside the standard ones, as :class:`~monai_nce.metrics.ImageMetrics` takes them.
        spacing: sides of a voxel in mm, for metrics that take it.

    Returns:
        For ``synthetic``, and ``identity`` if there is a scan: ``slices``, the means over slices of all of
        :data:`~monai_nce.metrics.METRICS` and the additional ones; and ``within``, those of ``WITHIN`` over the voxels
        of the mask.

    Raises:
        InputError: for slices that are too small for MS-SSIM, an empty mask, or a metric that is not known or cannot be
            had of what is given.
    """
    if not mask.any():
        raise InputError("mask: expected voxels to compare but it is empty")
    window, metrics = WindowHU(window_level, window_width), ImageMetrics(window_width, additional=additional)
    target = window(torch.from_numpy(real.astype(np.float32))[None])
    source = None if scan is None else window(torch.from_numpy(scan.astype(np.float32))[None])
    within = torch.from_numpy(mask)
    found: dict[str, dict[str, Any]] = {}
    for name, volume in ((SYNTHETIC, synthetic), (IDENTITY, scan)):
        if volume is None:
            continue
        image = window(torch.from_numpy(volume.astype(np.float32))[None])
        try:
            slices = metrics(image, target, source, spacing)
        except InputError:
            raise
        except ValueError as error:  # slices of a few pixels
            raise InputError(str(error)) from error
        # the voxels of the mask as one image of one line
        pair = [whole[0][within].double()[None, None, None] for whole in (image, target)]
        found[name] = {
            "slices": {key: float(values.double().mean()) for key, values in slices.items()},
            "within": {
                key: float(METRICS[key].function(*pair)) * (window_width / 2) ** METRICS[key].hu_power for key in WITHIN
            },
        }
    return found
