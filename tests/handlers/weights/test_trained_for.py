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
from monai_nce.handlers.weights.trained_for import network_arguments
from monai_nce.networks import Generator

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
    assert CT.reversed().plain() == {**plain, "spacing": 1.3333, "auxiliary": True}
    assert CT.reversed().reversed() == CT


ARGUMENTS = {"slices": 1, "channels": [8, 4], "hidden_channels": 4, "num_groups": 32, "negative_slope": 0.2}


def generator(**changed: Any) -> Generator:
    return Generator(**{**ARGUMENTS, **changed})


def test_the_file_says_how_to_build_the_network(tmp_path):
    said = TrainedFor.read(saved(generator(), tmp_path / "model.pt", CT))
    assert said == dataclasses.replace(CT, network=network_arguments(generator()))
    kind = {"residual": False, "condition_channels": 0, "_target_": "monai_nce.networks.Generator"}
    assert said.network == {**ARGUMENTS, **kind}
    built = said.build_like(Generator(channels=(4,)))
    assert isinstance(built, Generator)
    load_weights(built, tmp_path / "model.pt", CT)


def test_a_class_that_a_file_names_is_never_built(network, tmp_path):
    path = saved(network, tmp_path / "model.pt", CT)
    weights = torch.load(path, weights_only=True)
    weights._metadata[""]["trained_for"]["network"] = {"_target_": "os.system", "command": "false"}
    torch.save(weights, path)
    own = generator()
    assert TrainedFor.read(path).build_like(own) is own
    with pytest.raises(InputError, match=r"a network of _target_ os.system, command false, not for"):
        load_weights(own, path, CT)


def test_arguments_that_the_class_does_not_take_are_one_line(tmp_path):
    arguments = {**network_arguments(generator()), "depth": 3}
    with pytest.raises(InputError, match=r"cannot be built: monai_nce.networks.Generator: .*'depth'"):
        TrainedFor(network=arguments | {"slices": 3}).build_like(generator())


def test_another_network_is_refused_by_its_arguments(tmp_path):
    path = saved(generator(), tmp_path / "model.pt", CT)
    with pytest.raises(InputError) as error:
        load_weights(generator(channels=[8, 8], residual=True), path, CT)
    assert str(error.value) == (
        f"{path}: trained for a network of channels [8, 4], residual False, not for a network of channels [8, 8], "
        "residual True: choose other weights, or give --network_def#channels '[8, 4]' --network_def#residual 'False'"
    )


def test_a_network_that_does_not_keep_its_arguments_says_nothing(network, tmp_path):
    assert network_arguments(network) is None
    said = TrainedFor.read(saved(network, tmp_path / "model.pt", CT))
    assert said == CT and said.build_like(network) is network


def test_what_a_file_does_not_say_is_filled_in(tmp_path):
    path = saved(generator(), tmp_path / "model.pt", dataclasses.replace(CT, spacing=None))
    expected = TrainedFor.expected(path, source="A", target="B", spacing=2.0, slices=3, network={"new": 1})
    assert expected.source == "NECT" and expected.spacing == 2.0 and expected.slices == 3
    assert expected.network == {"new": 1, **network_arguments(generator())}
    nothing = TrainedFor.expected(tmp_path / "none.pt", source="A", network={"new": 1})
    assert nothing == TrainedFor("A", network={"new": 1})


@pytest.mark.parametrize("marked", [True, False])
def test_an_auxiliary_network_is_expected_to_go_the_other_way(marked, network, tmp_path):
    auxiliary = dataclasses.replace(CT.reversed(), auxiliary=marked or None)
    path = saved(network, tmp_path / "auxiliary.pt", auxiliary)
    expected = TrainedFor.expected(path, **({} if marked else {"source": "NECT", "target": "CECT"}))
    assert (expected.source, expected.target) == ("NECT", "CECT")
    with pytest.raises(InputError, match="trained for CECT to NECT, not for NECT to CECT"):
        load_weights(network, path, expected)


@pytest.mark.parametrize("wrong", [{"source": 3}, {"window_width": "wide"}, {"network": {3: 4}}, {"network": 5}])
def test_what_cannot_be_is_refused(wrong, network, tmp_path):
    path = saved(network, tmp_path / "model.pt", CT)
    weights = torch.load(path, weights_only=True)
    weights._metadata[""]["trained_for"] |= wrong
    torch.save(weights, path)
    with pytest.raises(InputError, match=r"model\.pt: what it says it was trained for is damaged"):
        TrainedFor.read(path)


DATA = [
    {"name": "a", "kind": "phantom", "patients": 15, "scans": 30, "licence": "l"},
    {"name": "b", "patients": 3, "scans": 3},
]


def test_the_data_that_weights_learnt_from_come_back(network, tmp_path):
    learnt = dataclasses.replace(CT, data=DATA)
    path = saved(network, tmp_path / "model.pt", learnt)
    assert TrainedFor.read(path) == learnt and TrainedFor.read(path).data == DATA
    assert learnt.reversed().data == DATA and TrainedFor.expected(path).data == DATA
    assert TrainedFor.read(saved(network, tmp_path / "old.pt", CT)).data is None
    unsaid = TrainedFor.expected(tmp_path / "old.pt", data=DATA[:1])
    assert unsaid.data == DATA[:1]
    with pytest.raises(InputError, match="data: expected a list such as .* but got 'our CT'"):
        TrainedFor.expected(path, data="our CT")


def test_other_data_are_no_other_purpose(network, tmp_path):
    path = saved(network, tmp_path / "model.pt", dataclasses.replace(CT, data=DATA))
    load_weights(network, path, CT)
    load_weights(network, path, dataclasses.replace(CT, data=DATA[:1]))
    assert dataclasses.replace(CT, data=DATA).differences(CT.plain()) == []


@pytest.mark.parametrize("wrong", ["a", [3], [{}], [{"name": 3}], [{"name": "a", "patients": "many"}], {"name": "a"}])
def test_data_that_cannot_be_are_refused(wrong, network, tmp_path):
    path = saved(network, tmp_path / "model.pt", CT)
    weights = torch.load(path, weights_only=True)
    weights._metadata[""]["trained_for"]["data"] = wrong
    torch.save(weights, path)
    with pytest.raises(InputError, match=r"model\.pt: what it says it was trained for is damaged"):
        load_weights(network, path, CT)
