from __future__ import annotations

import torch

from monai_nce.precision import plain_fp32


def test_fp32_is_fp32_on_a_gpu():
    places = torch.backends.cudnn, torch.backends.cuda.matmul
    before = [place.allow_tf32 for place in places]
    try:
        for place in places:
            place.allow_tf32 = True
        plain_fp32()
        assert not any(place.allow_tf32 for place in places)
    finally:
        for place, value in zip(places, before, strict=True):
            place.allow_tf32 = value
