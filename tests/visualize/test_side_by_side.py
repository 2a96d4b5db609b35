from __future__ import annotations

import torch
from monai.data import MetaTensor

from monai_nce.visualize import side_by_side


def test_middle_slices_next_to_each_other_as_they_are_looked_at() -> None:
    image, pred, label = (torch.full((1, 4, 6, 5), value) for value in (-1.0, 0.0, 0.5))
    pred[0, 3, 5, 2] = 1  # right-anterior in the middle slice
    pred[0, 0, 0, 1] = 1  # in another slice
    picture = side_by_side({"image": image, "pred": pred, "label": label})
    assert picture.shape == (1, 6, 12)
    assert picture.dtype == torch.float32
    expected = torch.cat([torch.full((6, 4), value) for value in (0.0, 0.5, 0.75)], dim=1)
    expected[0, 4] = 1
    torch.testing.assert_close(picture[0], expected)


def test_values_beyond_the_window_are_clamped() -> None:
    volume = torch.tensor([-3.0, 3.0]).reshape(1, 2, 1, 1)
    assert side_by_side({"pred": volume}, keys=["pred"]).tolist() == [[[1.0, 0.0]]]


def test_metatensors_with_a_graph() -> None:
    volume = MetaTensor(torch.rand(1, 4, 6, 3)).requires_grad_()
    picture = side_by_side({"a": volume, "b": volume}, keys=("a", "b"))
    assert type(picture) is torch.Tensor and not picture.requires_grad
    assert picture.shape == (1, 6, 8)
    assert torch.equal(picture[..., :4], picture[..., 4:])
