from __future__ import annotations

import io
import random

import numpy as np
import torch

from monai_nce.handlers.checkpoint.random_state import random_state, set_random_state

CPU = torch.device("cpu")


def draws() -> list[float]:
    return [random.random(), random.gauss(0, 1), float(np.random.normal()), float(torch.rand(()))]


def test_what_is_drawn_repeats_after_a_safe_load() -> None:
    draws()  # leaves NumPy and Python with half a pair of normal numbers
    file = io.BytesIO()
    torch.save(random_state(CPU), file)
    first = draws()
    file.seek(0)
    set_random_state(torch.load(file, weights_only=True), CPU)
    assert draws() == first
