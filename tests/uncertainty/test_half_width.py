from __future__ import annotations

import math

import pytest
import torch

from monai_nce.uncertainty import SIGNALS, HalfWidth, fit_half_width
from monai_nce.uncertainty.half_width import features


def test_half_width_by_hand():
    signals = torch.zeros(1, len(SIGNALS), 2, 2, 1)
    signals[0, 0] = 50.0  # HU of the scan
    signals[0, 3] = math.e - 1  # HU of the cycle's residual
    weights = [0.5, 0, 0, 2.0, *[0] * 6]
    widths = HalfWidth(weights, 1.0)(signals)
    torch.testing.assert_close(widths, torch.full((1, 1, 2, 2, 1), math.exp(0.25 + 2 + 1)))


def test_the_quantile_is_fitted():
    generator = torch.Generator().manual_seed(3)
    signals = 20 * torch.rand(1500, len(SIGNALS), generator=generator)
    scale = 2 * (1 + signals[:, 3])  # errors grow with the cycle's residual
    errors = (scale * torch.randn(1500, generator=generator)).abs()
    fitted = fit_half_width(signals, errors, 0.9, steps=250)
    widths = fitted(signals)[:, 0]
    assert float((errors <= widths).float().mean()) == pytest.approx(0.9, abs=0.02)
    for part in (signals[:, 3] < 5, signals[:, 3] > 15):  # not only on average
        assert float((errors <= widths)[part].float().mean()) == pytest.approx(0.9, abs=0.06)
    few = [fit_half_width(signals, errors, 0.9, steps=3) for _ in range(2)]
    assert few[0] == few[1]


def test_other_signals_are_refused():
    with pytest.raises(ValueError, match="expected signals of shape"):
        features(torch.zeros(1, 3, 2, 2))
