from __future__ import annotations

import torch

from monai_nce.networks.fused_conv import FusedConv2d


def test_a_fused_convolution_by_hand():
    weight = torch.zeros(1, 1, 3, 3)
    weight[0, 0, 1, 1] = 2.0
    convolution = FusedConv2d(weight, torch.tensor([1.0]), torch.float32, negative_slope=0.1)
    x = torch.tensor([[[[1.0, -3.0]]]])
    with torch.no_grad():
        torch.testing.assert_close(convolution(x), torch.tensor([[[[3.0, -0.5]]]]))
        torch.testing.assert_close(convolution(x, torch.tensor([[[[-4.0, 7.0]]]])), torch.tensor([[[[-0.1, 2.0]]]]))
