from __future__ import annotations

import numpy as np
import pytest
import torch

from monai_nce.errors import InputError
from monai_nce.metrics import ADDITIONAL_METRICS, METRICS, ImageMetrics, Metric
from monai_nce.metrics.additional import find_metrics

TARGET = torch.from_numpy(np.random.default_rng(0).uniform(-1, 1, (1, 16, 18, 4)))
GIVEN = {"source": TARGET / 2, "spacing": (2.0, 2.0, 3.0)}


def test_each_is_best_for_the_real_image_itself() -> None:
    metrics = ImageMetrics(300, additional=list(ADDITIONAL_METRICS))
    pred = (TARGET + 0.4 * torch.flip(TARGET, [3])).clamp(-1, 1)
    perfect, worse = metrics(TARGET, TARGET, **GIVEN), metrics(pred, TARGET, **GIVEN)
    assert list(perfect) == [*METRICS, *ADDITIONAL_METRICS]
    for name, metric in ADDITIONAL_METRICS.items():
        assert perfect[name].shape == (4,) and torch.isfinite(worse[name]).all()
        assert metric.badness(perfect[name].mean().item()) < metric.badness(worse[name].mean().item())
    for name, best in (("tolerant_mae_hu", 0), ("cw_ssim", 1), ("gradient_ratio", 1), ("noise_power_db", 0)):
        assert perfect[name].numpy() == pytest.approx(best)
    assert ImageMetrics(300, additional=["source_nmi"])(GIVEN["source"], TARGET, **GIVEN)["source_nmi"].numpy() == (
        pytest.approx(2)  # the floor, identity
    )


def test_values_in_hu_follow_the_window() -> None:
    narrow, wide = (ImageMetrics(w, additional=["tolerant_mae_hu"])(TARGET / 2, TARGET, **GIVEN) for w in (300, 400))
    assert (wide["tolerant_mae_hu"] / narrow["tolerant_mae_hu"]).numpy() == pytest.approx(4 / 3)


@pytest.mark.parametrize("name", [name for name, metric in ADDITIONAL_METRICS.items() if metric.takes])
def test_what_a_metric_takes_has_to_be_given(name: str) -> None:
    with pytest.raises(
        InputError, match=f"metric {name}: expected the (image before|voxels' sides in mm), which is not"
    ):
        ImageMetrics(300, additional=[name])(TARGET, TARGET)


def test_names_and_metrics_of_ones_own() -> None:
    own = Metric("own", lambda pred, target: pred.mean((1, 2, 3)))
    assert find_metrics(["cw_ssim", own]) == [ADDITIONAL_METRICS["cw_ssim"], own]
    with pytest.raises(InputError, match="metrics: expected one of tolerant_mae_hu, .* but got 'ssim'"):
        find_metrics(["ssim"])
    with pytest.raises(InputError, match="expected a name for each"):
        ImageMetrics(300, additional=["cw_ssim", "cw_ssim"])
