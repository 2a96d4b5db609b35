from __future__ import annotations

import pytest
import torch
from torch import nn

from monai_nce.engines import AlternatingTrainer


def test_networks_held_still_pass_gradients_and_keep_none():
    network, x = nn.Linear(2, 1), torch.ones(1, 2, requires_grad=True)
    with AlternatingTrainer._held_still(network) as (held,):
        held(x).sum().backward()
    assert x.grad is not None and network.weight.grad is None
    assert all(p.requires_grad for p in network.parameters())


def test_held_networks_are_released_after_an_exception():
    network = nn.Linear(2, 1)
    with pytest.raises(RuntimeError), AlternatingTrainer._held_still(network):
        raise RuntimeError
    assert all(p.requires_grad for p in network.parameters())


def test_what_was_frozen_before_stays_frozen():
    network = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))
    network[0].requires_grad_(False)
    with AlternatingTrainer._held_still(network):
        assert not any(p.requires_grad for p in network.parameters())
    assert [p.requires_grad for p in network.parameters()] == [False, False, True, True]


def test_a_wrapped_network_is_held_bare():
    wrapper = nn.Module()
    wrapper.module = nn.Linear(2, 1)
    with AlternatingTrainer._held_still(wrapper) as (held,):
        assert held is wrapper.module


def test_a_step_clears_what_was_left_and_moves_every_optimizer_once():
    networks = [nn.Linear(1, 1, bias=False) for _ in range(2)]
    optimizers = [torch.optim.SGD(network.parameters(), lr=1.0) for network in networks]
    for network in networks:
        nn.init.constant_(network.weight, 2.0)
        network.weight.grad = torch.full_like(network.weight, 100.0)
    trainer = AlternatingTrainer("cpu", 1, [])
    trainer._step(sum(network.weight.sum() for network in networks), *optimizers)
    assert [network.weight.item() for network in networks] == [1.0, 1.0]
