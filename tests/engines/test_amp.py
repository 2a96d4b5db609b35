from __future__ import annotations

import pytest
import torch
from torch import nn

from monai_nce.engines import Precision
from monai_nce.errors import InputError


@pytest.mark.parametrize("name", ["fp32", "bf16"])
def test_networks_run_in_the_format_and_weights_stay_fp32(name):
    network = nn.Conv2d(1, 1, 1)
    precision = Precision(name)
    with precision.autocast():
        y = network(torch.ones(1, 1, 2, 2))
    assert y.dtype == {"fp32": torch.float32, "bf16": torch.bfloat16}[name]
    precision.backward(y.sum(), None)
    assert network.weight.dtype == network.weight.grad.dtype == torch.float32
    assert not precision.scales


def test_a_step_by_hand():
    weight = nn.Parameter(torch.tensor(2.0))
    other = nn.Parameter(torch.tensor(1.0))
    optimizers = torch.optim.SGD([weight], lr=0.5), torch.optim.SGD([other], lr=0.25)
    Precision.backward(3 * weight * other, None)
    Precision.step(None, *optimizers)
    assert weight.item() == 2 - 0.5 * 3 * 1 and other.item() == 1 - 0.25 * 3 * 2


def test_a_scaled_step_by_hand_and_one_that_overflows():
    weight = nn.Parameter(torch.tensor(2.0))
    optimizer = torch.optim.SGD([weight], lr=0.5)
    scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
    Precision.backward(3 * weight, scaler)
    assert weight.grad.item() == 24
    Precision.step(scaler, optimizer)
    assert weight.item() == 0.5 and scaler.get_scale() == 8
    optimizer.zero_grad()
    Precision.backward(weight * float("inf"), scaler)
    Precision.step(scaler, optimizer)
    assert weight.item() == 0.5 and scaler.get_scale() == 4


def test_fp16_without_a_gpu_is_refused_in_one_line():
    with pytest.raises(InputError, match="fp16.*needs a GPU"):
        Precision("fp16", "cpu")


def test_an_unknown_name_is_refused():
    with pytest.raises(InputError, match="expected fp32, bf16, fp16 or auto but got 'half'"):
        Precision("half")


@pytest.mark.parametrize(
    ("can", "expected"), [({"amx_bf16": True}, "bf16"), ({"avx512_bf16": True}, "bf16"), ({"avx2": True}, "fp32")]
)
def test_auto_on_a_cpu_is_what_the_cpu_computes_in(monkeypatch, can, expected):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: can, raising=False)
    assert Precision("auto", "cpu").name == expected


@pytest.mark.parametrize(("can", "expected"), [(True, "bf16"), (False, "fp16")])
def test_auto_on_a_gpu_is_bf16_if_it_is_no_emulation(monkeypatch, can, expected):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: can and not including_emulation)
    precision = Precision("auto", "cuda:1")
    assert precision.name == expected and precision.scales == (expected == "fp16")
