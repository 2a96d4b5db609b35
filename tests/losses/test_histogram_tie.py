from __future__ import annotations

import pytest
import torch

from monai_nce.losses import HistogramTie

LOW, HIGH = -0.5, 0.5


def images(*values: float) -> torch.Tensor:
    return torch.tensor(values).view(1, 1, 1, -1)


def test_what_the_output_domain_has_less_often_may_change() -> None:
    """Half of the input is high, an eighth of the output: a quarter of the high pixels could stay."""
    real_input = images(HIGH, HIGH, HIGH, HIGH, LOW, LOW, LOW, LOW)
    real_output = images(HIGH, LOW, LOW, LOW, LOW, LOW, LOW, LOW)
    change = torch.tensor([0.4, 0.0, 0.0, 0.0, 0.1, 0.0, 0.0, 0.0]).view_as(real_input)
    loss = HistogramTie(weight=2.0, bins=4)(real_input - change, real_input, real_output)
    assert loss.item() == pytest.approx(2.0 * (0.25 * 0.4 + 1.0 * 0.1) / 8)


def test_an_intensity_that_the_output_domain_lacks_is_free() -> None:
    real_input, real_output = images(HIGH, LOW), images(LOW, LOW)
    tie = HistogramTie(bins=4)
    assert tie(images(-1.0, LOW), real_input, real_output).item() == 0
    assert tie(images(HIGH, LOW + 0.25), real_input, real_output).item() == pytest.approx(0.125)


def test_the_gradient_reaches_the_synthetic_image_alone() -> None:
    synthetic, real_input, real_output = (torch.zeros(2, 3, 4, 4, requires_grad=True) for _ in range(3))
    HistogramTie()(synthetic + 0.1, real_input, real_output).backward()
    assert (synthetic.grad != 0).all()
    assert real_output.grad is None


def test_the_ends_of_the_range_are_counted_and_domains_may_differ_in_number() -> None:
    real_input, real_output = images(-1.0, 1.0), torch.full((3, 1, 1, 2), 1.0)
    loss = HistogramTie(bins=8)(real_input + 0.5, real_input, real_output)
    assert loss.item() == pytest.approx(0.25)  # the bright one is held, the dark one free


def test_wrong_shapes() -> None:
    with pytest.raises(ValueError, match="shape"):
        HistogramTie()(torch.zeros(1, 1, 2, 2), torch.zeros(1, 1, 2, 3), torch.zeros(1, 1, 2, 2))
