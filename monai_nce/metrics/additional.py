"""Name the metrics that can be had beside the standard ones: those that survive motion between the two scans."""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType

from monai_nce.errors import InputError
from monai_nce.metrics.complex_wavelet_ssim import complex_wavelet_ssim
from monai_nce.metrics.metric import Metric
from monai_nce.metrics.mutual_information import source_mutual_information
from monai_nce.metrics.texture import gradient_ratio, noise_power_db
from monai_nce.metrics.tolerant_error import TOLERANCE_MM, tolerant_mae
from monai_nce.metrics.z_flicker import z_flicker

__all__ = ["ADDITIONAL_METRICS", "find_metrics"]

ADDITIONAL_METRICS = MappingProxyType(
    {
        metric.name: metric
        for metric in (
            Metric(
                "tolerant_mae_hu",
                tolerant_mae,
                f"MAE within {TOLERANCE_MM:g} mm HU",
                ".2f",
                hu_power=1,
                takes=("spacing",),
            ),
            Metric("cw_ssim", complex_wavelet_ssim, "CW-SSIM", lower_is_better=False),
            Metric(
                "source_nmi",
                source_mutual_information,
                "NMI with the input",
                ".3f",
                lower_is_better=False,
                takes=("source",),
            ),
            Metric("gradient_ratio", gradient_ratio, "gradient / real", ".2f", ideal=1.0),
            Metric("noise_power_db", noise_power_db, "noise power dB", "+.1f", ideal=0.0),
            Metric("z_flicker", z_flicker, "z-flicker / real", ".2f", takes=("spacing",), ideal=1.0),
        )
    }
)


def find_metrics(names: Sequence[Metric | str]) -> list[Metric]:
    """Return metrics by their names in ``ADDITIONAL_METRICS``; those that are metrics already stay.

    Raises:
        InputError: if there is no metric of a name.
    """
    found = []
    for one in names:
        if isinstance(one, str) and one not in ADDITIONAL_METRICS:
            raise InputError(f"metrics: expected one of {', '.join(ADDITIONAL_METRICS)} but got {one!r}")
        found.append(ADDITIONAL_METRICS[one] if isinstance(one, str) else one)
    return found
