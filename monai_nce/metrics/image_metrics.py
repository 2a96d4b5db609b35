"""MSE, MAE, PSNR and MS-SSIM per slice, on the paper's scale and in HU (paper Table 1; decisions 25 to 27)."""

from __future__ import annotations

import torch
from monai.metrics import MAEMetric, MSEMetric, MultiScaleSSIMMetric

__all__ = ["METRICS", "ImageMetrics", "ms_ssim_setting"]

METRICS = ("mse", "mse_01", "mse_hu2", "mae_hu", "psnr", "ms_ssim", "ms_ssim_01")

DATA_RANGE = 2.0  # of [-1, 1]
MAX_PSNR_DB = 100.0  # of two equal slices, whose PSNR is infinite
SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # Wang et al., "Multiscale structural similarity", 2003


def ms_ssim_setting(height: int, width: int) -> dict[str, int]:
    """Window and number of scales of MS-SSIM that an image allows (decision 26).

    11×11 and 5 scales where the shorter side has 176 pixels or more, 11 at the coarsest scale; else 7×7, with fewer
    scales where MONAI would refuse 5.

    >>> ms_ssim_setting(256, 256)
    {'window': 11, 'scales': 5}
    >>> ms_ssim_setting(128, 128)
    {'window': 7, 'scales': 5}
    """
    side = min(height, width)
    scales = len(SCALE_WEIGHTS)
    window = 11 if side >= 11 * 2 ** (scales - 1) else 7
    # MONAI asks for (scales - 1)² where 2 ** (scales - 1) would do, which is more for four scales
    while scales > 1 and side // max(2 ** (scales - 1), (scales - 1) ** 2) < window:
        scales -= 1
    if side < window:
        raise ValueError(f"expected images of at least {window} x {window} for MS-SSIM but got {height} x {width}")
    return {"window": window, "scales": scales}


class ImageMetrics:
    """Metrics of each slice of a volume against the real one (decision 27: the paper averages slices).

    ``mse`` is on [-1, 1], the paper's scale by all evidence (decision 25); ``mse_01`` the same on [0, 1]; ``mse_hu2``
    in HU² and ``mae_hu`` in HU, both within the window; ``psnr`` in dB, at most 100.

    ``ms_ssim`` is on [-1, 1] with a data range of 2 (decision 26). SSIM was made for intensities from 0 on: where a
    coarse window's mean is above 0 in one image and below it in the other, its luminance term is negative and the whole
    slice gets 0. ``ms_ssim_01``, on [0, 1] with a data range of 1, has no such trap and stands beside it.

    Args:
        window_width: of the HU window that [-1, 1] stands for, in HU.
    """

    def __init__(self, window_width: float = 300.0) -> None:
        self.half_width = window_width / 2

    def __call__(self, pred: torch.Tensor, target: torch.Tensor) -> dict[str, torch.Tensor]:
        """
        Args:
            pred: intensities; clamped to the window, [-1, 1].
            target: intensities in [-1, 1].

        Shape:
            - pred, target: ``(1, H, W, D)``
            - each output: ``(D,)``
        """
        if pred.shape != target.shape or pred.ndim != 4 or pred.shape[0] != 1:
            raise ValueError(
                f"expected two volumes of shape (1, H, W, D) but got {tuple(pred.shape)} and {tuple(target.shape)}"
            )
        # slices as a batch of images; plain tensors, since metadata only slows the metrics
        pred, target = (
            torch.as_tensor(volume).as_subclass(torch.Tensor).detach().float().clamp(-1, 1).permute(3, 0, 1, 2)
            for volume in (pred, target)
        )
        mse = MSEMetric(reduction="none")(pred, target).flatten()
        mae = MAEMetric(reduction="none")(pred, target).flatten()
        psnr = (10 * torch.log10(DATA_RANGE**2 / mse)).clamp(max=MAX_PSNR_DB)
        return {
            "mse": mse,
            "mse_01": mse / 4,
            "mse_hu2": mse * self.half_width**2,
            "mae_hu": mae * self.half_width,
            "psnr": psnr,
            "ms_ssim": _ms_ssim(pred, target, DATA_RANGE),
            "ms_ssim_01": _ms_ssim((pred + 1) / 2, (target + 1) / 2, DATA_RANGE / 2),
        }


def _ms_ssim(pred: torch.Tensor, target: torch.Tensor, data_range: float) -> torch.Tensor:
    """MS-SSIM of each image, ``(N, 1, H, W)`` to ``(N,)``."""
    setting = ms_ssim_setting(*pred.shape[2:])
    weights = torch.tensor(SCALE_WEIGHTS[: setting["scales"]])
    metric = MultiScaleSSIMMetric(
        spatial_dims=2,
        data_range=data_range,
        kernel_size=setting["window"],
        weights=(weights / weights.sum()).tolist(),
        reduction="none",
    )
    return metric(pred, target).flatten()
