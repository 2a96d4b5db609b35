"""Weights say what they were trained for, and are refused where something else is wanted."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from ignite.engine import Engine
from torch import nn

from monai_nce.errors import InputError
from monai_nce.handlers import TrainedFor, WeightsSaver, load_weights

CT = TrainedFor("NECT", "CECT", 50, 300, 1.3333)


@pytest.fixture
def network() -> nn.Module:
    return nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))


def saved(network: nn.Module, path: Path, trained_for: TrainedFor | None) -> Path:
    saver = WeightsSaver(network, path, trained_for=trained_for)
    engine = Engine(lambda engine, batch: None)
    saver.attach(engine)
    engine.run([0])
    return path


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"window_level": 50.0},
        {"spacing": 341.3 / 256},  # as the files have it
        {"spacing": None},
    ],
)
def test_what_is_the_same_is_taken(changed, network, tmp_path):
    load_weights(network, saved(network, tmp_path / "model.pt", CT), dataclasses.replace(CT, **changed))


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        (CT.reversed(), "trained for NECT to CECT, not for CECT to NECT: choose other weights"),
        (
            dataclasses.replace(CT, window_level=40, window_width=400),
            "trained for a window of level 50 and width 300, not for a window of level 40 and width 400: choose other "
            "weights, or give --window_level 50 --window_width 300",
        ),
        (
            dataclasses.replace(CT, window_width=301),
            "trained for a window of level 50 and width 300, not for a window of level 50 and width 301: choose other "
            "weights, or give --window_width 300",
        ),
        (
            dataclasses.replace(CT, spacing=2.6667),
            "trained for pixels of 1.3333 mm, not for pixels of 2.6667 mm: choose other weights, or give --spacing "
            "1.3333",
        ),
        (
            TrainedFor("NECT", "PD", 500, 1000, 2.6667),
            "trained for NECT to CECT and a window of level 50 and width 300 and pixels of 1.3333 mm, not for NECT to "
            "PD and a window of level 500 and width 1000 and pixels of 2.6667 mm: choose other weights, or give "
            "--window_level 50 --window_width 300 --spacing 1.3333",
        ),
    ],
)
def test_anything_else_is_refused_and_nothing_is_loaded(wanted, said, network, tmp_path):
    path = saved(network, tmp_path / "model.pt", CT)
    other = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    before = {name: value.clone() for name, value in other.state_dict().items()}
    with pytest.raises(InputError) as error:
        load_weights(other, path, wanted)
    assert str(error.value) == f"{path}: {said}"
    assert all(torch.equal(value, before[name]) for name, value in other.state_dict().items())


def test_the_file_is_a_state_dict_like_any_other(network, tmp_path):
    plain = torch.load(saved(network, tmp_path / "model.pt", CT), weights_only=True)
    assert nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)).load_state_dict(plain, strict=True)
    assert list(plain) == list(network.state_dict()) and all(isinstance(x, torch.Tensor) for x in plain.values())


def test_equal_weights_make_equal_files(network, tmp_path):
    files = [saved(network, tmp_path / f"{name}.pt", CT).read_bytes() for name in "ab"]
    assert files[0] == files[1]


@pytest.mark.parametrize("by", ["another tool", "no name"])
def test_weights_that_do_not_say_are_taken(by, network, tmp_path):
    path = tmp_path / "model.pt"
    if by == "no name":
        saved(network, path, None)
    else:
        torch.save({name: value.clone() for name, value in network.state_dict().items()}, path)
    load_weights(network, path, CT.reversed())


def test_one_that_was_loaded_can_be_saved_for_something_else(network, tmp_path):
    load_weights(network, saved(network, tmp_path / "model.pt", CT), CT)
    load_weights(network, saved(network, tmp_path / "model.pt", CT.reversed()), CT.reversed())


def test_what_a_file_does_not_say_is_taken_for_the_same():
    assert CT.differences({}) == [] == CT.differences({"source": "NECT", "spacing": None})
    assert CT.differences({"target": "PD", "window_width": 300}) == ["target"]


def test_plain_is_what_json_can_hold():
    plain: dict[str, Any] = {"source": "CECT", "target": "NECT", "window_level": 50, "window_width": 300}
    assert CT.reversed().plain() == {**plain, "spacing": 1.3333}
