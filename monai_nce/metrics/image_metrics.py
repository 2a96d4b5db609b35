"""Compute MSE, MAE, PSNR, MS-SSIM and metrics of one's own per slice (paper Table 1; decisions 25 to 27)."""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType

import torch
from monai.metrics import MAEMetric, MSEMetric, MultiScaleSSIMMetric

from monai_nce.errors import InputError
from monai_nce.metrics.additional import find_metrics
from monai_nce.metrics.metric import Metric

__all__ = ["METRICS", "ImageMetrics", "ms_ssim_setting"]

DATA_RANGE = 2.0  # of [-1, 1]
MAX_PSNR_DB = 100.0  # of two equal slices, whose PSNR is infinite
NAMES = {"source": "image before", "spacing": "voxels' sides in mm"}
SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # Wang et al., "Multiscale structural similarity", 2003


class ImageMetrics:
    """Compare each slice of a volume with the real one (decision 27: the paper averages slices).

    ``mse`` is on [-1, 1], the paper's scale by all evidence (decision 25); ``mse_01`` the same on [0, 1]; ``mse_hu2``
    in HU² and ``mae_hu`` in HU, both within the window; ``psnr`` in dB, at most 100.

    ``ms_ssim`` is on [-1, 1] with a data range of 2 (decision 26). SSIM was made for intensities from 0 on: where a
    coarse window's mean is above 0 in one image and below it in the other, its luminance term is negative and the whole
    slice gets 0. ``ms_ssim_01``, on [0, 1] with a data range of 1, has no such trap and stands beside it.

    Args:
        window_width: of the window that [-1, 1] stands for, in ``unit``.
        unit: of the images; in another one than HU there are no metrics in HU.
        additional: metrics beside the standard ones, :data:`METRICS`; those of
            :data:`~monai_nce.metrics.ADDITIONAL_METRICS` by name.

    Raises:
        InputError: when two metrics have one name, or there is none of a name.
    """

    def __init__(self, window_width: float = 300.0, unit: str = "HU", additional: Sequence[Metric | str] = ()) -> None:
        metrics = [metric for metric in METRICS.values() if unit == "HU" or not metric.hu_power]
        metrics += find_metrics(additional)
        self.metrics = {metric.name: metric for metric in metrics}
        if len(self.metrics) < len(metrics):
            raise InputError(
                f"metrics: expected a name for each but got {', '.join(metric.name for metric in metrics)}"
            )
        self.half_width = window_width / 2

    def __call__(
        self,
        pred: torch.Tensor,
        target: torch.Tensor,
        source: torch.Tensor | None = None,
        spacing: Sequence[float] | None = None,
    ) -> dict[str, torch.Tensor]:
        """
        Args:
            pred: intensities; clamped to the window, [-1, 1].
            target: intensities in [-1, 1].
            source: what the prediction was made from, likewise, for metrics that take it.
            spacing: sides of a voxel along H, W and D in mm, likewise.

        Shape:
            - pred, target, source: ``(1, H, W, D)``
            - each output: ``(D,)``

        Raises:
            InputError: when a metric does not give a value for each slice, or what it takes is not given.
        """
        if pred.shape != target.shape or pred.ndim != 4 or pred.shape[0] != 1:
            raise ValueError(
                f"expected two volumes of shape (1, H, W, D) but got {tuple(pred.shape)} and {tuple(target.shape)}"
            )
        pred, target = _as_slices(pred), _as_slices(target)
        given = {"source": None if source is None else _as_slices(source), "spacing": spacing}
        values = {}
        for name, metric in self.metrics.items():
            for key in metric.takes:
                if given[key] is None:
                    raise InputError(f"metric {name}: expected the {NAMES[key]}, which is not known here")
            values[name] = metric.function(pred, target, **{key: given[key] for key in metric.takes}).flatten()
        for name, value in values.items():
            if len(value) != len(pred):
                raise InputError(f"metric {name}: expected a value for each of {len(pred)} slices but got {len(value)}")
        return {name: value * self.half_width ** self.metrics[name].hu_power for name, value in values.items()}


def _as_slices(volume: torch.Tensor) -> torch.Tensor:
    """Turn a volume to a batch of images; plain tensors, since metadata only slows the metrics."""
    return torch.as_tensor(volume).as_subclass(torch.Tensor).detach().float().clamp(-1, 1).permute(3, 0, 1, 2)


def ms_ssim_setting(height: int, width: int) -> dict[str, int]:
    """Choose window and number of scales of MS-SSIM that an image allows (decision 26).

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


def _mse(pred: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    return MSEMetric(reduction="none")(pred, target)


def _mae(pred: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    return MAEMetric(reduction="none")(pred, target)


def _psnr(pred: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    return (10 * torch.log10(DATA_RANGE**2 / _mse(pred, target))).clamp(max=MAX_PSNR_DB)


def _ms_ssim(pred: torch.Tensor, target: torch.Tensor, data_range: float = DATA_RANGE) -> torch.Tensor:
    """Compute MS-SSIM of each image, ``(D, 1, H, W)`` to ``(D, 1)``."""
    setting = ms_ssim_setting(*pred.shape[2:])
    weights = torch.tensor(SCALE_WEIGHTS[: setting["scales"]])
    metric = MultiScaleSSIMMetric(
        spatial_dims=2,
        data_range=data_range,
        kernel_size=setting["window"],
        weights=(weights / weights.sum()).tolist(),
        reduction="none",
    )
    return metric(pred, target)


def _ms_ssim_01(pred: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    return _ms_ssim((pred + 1) / 2, (target + 1) / 2, DATA_RANGE / 2)


METRICS = MappingProxyType(
    {
        metric.name: metric
        for metric in (
            Metric("mse", _mse, "MSE [-1, 1]"),
            Metric("mse_01", lambda pred, target: _mse(pred, target) / 4, "MSE [0, 1]", shown=False),
            Metric("mse_hu2", _mse, "MSE HU²", ".1f", shown=False, hu_power=2),
            Metric("mae_hu", _mae, "MAE HU", ".2f", hu_power=1),
            Metric("psnr", _psnr, "PSNR dB", ".2f", lower_is_better=False),
            Metric("ms_ssim", _ms_ssim, "MS-SSIM", lower_is_better=False),
            Metric("ms_ssim_01", _ms_ssim_01, "MS-SSIM [0, 1]", lower_is_better=False),
        )
    }
)
