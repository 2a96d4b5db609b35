from __future__ import annotations

import io
import random
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from ignite.engine import Engine
from torch import nn

from monai_nce.errors import InputError
from monai_nce.handlers import WeightsLoader, load_weights


def make_network(seed: int = 0, width: int = 4) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(3, width, 3), nn.BatchNorm2d(width))


def snapshot(network: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in network.state_dict().items()}


def assert_same(network: nn.Module, expected: dict[str, torch.Tensor]) -> None:
    for name, value in network.state_dict().items():
        assert torch.equal(value, expected[name]), name


class Custom:
    """What ``weights_only`` must not build."""

    built = False

    def __setstate__(self, state: object) -> None:
        Custom.built = True


def missing(path: Path) -> None:
    pass


def folder(path: Path) -> None:
    path.mkdir()


def empty(path: Path) -> None:
    path.write_bytes(b"")


def text(path: Path) -> None:
    path.write_text("not a checkpoint\nof any kind\n")


def truncated(path: Path) -> None:
    torch.save(make_network(1).state_dict(), path)
    path.write_bytes(path.read_bytes()[:-200])


def truncated_old_format(path: Path) -> None:
    torch.save(make_network(1).state_dict(), path, _use_new_zipfile_serialization=False)
    path.write_bytes(path.read_bytes()[:300])


def needs_code(path: Path) -> None:
    custom = Custom()
    custom.attribute = 1  # type: ignore[attr-defined]
    torch.save({"0.weight": custom}, path)


def whole_module(path: Path) -> None:
    torch.save(make_network(1), path)


def a_list(path: Path) -> None:
    torch.save([torch.zeros(3)], path)


def nested(path: Path) -> None:
    torch.save({"state_dict": make_network(1).state_dict()}, path)


def foreign(path: Path) -> None:
    torch.save(nn.Linear(3, 2).state_dict(), path)


def lacks_one(path: Path) -> None:
    weights = make_network(1).state_dict()
    del weights["1.running_var"]
    torch.save(weights, path)


def one_too_many(path: Path) -> None:
    torch.save({**make_network(1).state_dict(), "extra": torch.zeros(1)}, path)


def wrong_shape(path: Path) -> None:
    torch.save(make_network(1, width=5).state_dict(), path)


def not_a_number(path: Path) -> None:
    weights = make_network(1).state_dict()
    weights["1.running_var"][2] = float("nan")
    torch.save(weights, path)


def infinite(path: Path) -> None:
    weights = make_network(1).state_dict()
    weights["0.bias"][0] = float("-inf")
    torch.save(weights, path)


def test_a_flipped_bit_in_a_tensor_is_noticed(tmp_path: Path) -> None:
    network, path = make_network(0), tmp_path / "model.pt"
    torch.save(make_network(1).state_dict(), path)
    before = snapshot(network)
    whole = path.read_bytes()
    weight = make_network(1).state_dict()["0.weight"].numpy().tobytes()
    damaged = bytearray(whole)
    damaged[whole.index(weight) + 5] ^= 1  # still a number, and torch.load takes it
    path.write_bytes(damaged)
    torch.load(path, weights_only=True)
    with pytest.raises(InputError, match="not a readable checkpoint: damaged"):
        load_weights(network, path)
    assert_same(network, before)


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (missing, "no such checkpoint"),
        (folder, "no such checkpoint"),
        (empty, "not a readable checkpoint"),
        (text, "not a readable checkpoint"),
        (truncated, "not a readable checkpoint"),
        (truncated_old_format, "not a readable checkpoint"),
        (needs_code, "not a readable checkpoint"),
        (whole_module, "not a readable checkpoint"),
        (a_list, "expected a state dict of tensors"),
        (nested, "expected a state dict of tensors"),
        (foreign, "made for another network than Sequential"),
        (lacks_one, "lacks 1.running_var (1 tensors missing, 0 unknown)"),
        (one_too_many, "has extra (0 tensors missing, 1 unknown)"),
        (wrong_shape, "0.weight has shape (5, 3, 3, 3), expected (4, 3, 3, 3)"),
        (not_a_number, "1.running_var holds NaN or Inf"),
        (infinite, "0.bias holds NaN or Inf"),
    ],
)
def test_what_cannot_be_used_is_one_line_and_changes_nothing(
    tmp_path: Path, spoil: Callable[[Path], None], reason: str
) -> None:
    path = tmp_path / "spoiled.pt"
    spoil(path)
    network = make_network()
    before = snapshot(network)
    with pytest.raises(InputError) as caught:
        load_weights(network, path)
    message = str(caught.value)
    assert str(path) in message and reason in message and "\n" not in message
    assert not Custom.built
    assert_same(network, before)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("zipped", [True, False])
def test_no_damage_raises_anything_else(tmp_path: Path, zipped: bool) -> None:
    network, path = make_network(), tmp_path / "damaged.pt"
    file = io.BytesIO()
    torch.save(network.state_dict(), file, _use_new_zipfile_serialization=zipped)
    whole = file.getvalue()
    generator = random.Random(0)
    refused = 0
    for _ in range(300):
        damaged = bytearray(whole[: generator.randrange(len(whole))])
        for _ in range(generator.randrange(4) if damaged else 0):
            damaged[generator.randrange(len(damaged))] = generator.randrange(256)
        path.write_bytes(damaged)
        try:
            load_weights(network, path)
        except InputError:
            refused += 1
    assert refused >= 290  # a few lack only what comes after the tensors


def test_weights_are_loaded(tmp_path: Path) -> None:
    source, network = make_network(1), make_network(0)
    source(torch.rand(2, 3, 8, 8))  # buffers that are not the initial ones
    torch.save(source.state_dict(), tmp_path / "model.pt")
    load_weights(network, str(tmp_path / "model.pt"))
    assert_same(network, source.state_dict())


def test_the_network_inside_a_wrapper_is_loaded(tmp_path: Path) -> None:
    source, network = make_network(1), nn.DataParallel(make_network(0))
    torch.save(source.state_dict(), tmp_path / "model.pt")
    load_weights(network, tmp_path / "model.pt")
    assert_same(network.module, source.state_dict())


def test_handler_loads_at_the_start_and_before_the_first_iteration(tmp_path: Path) -> None:
    network, path = make_network(0), tmp_path / "model.pt"
    loaded: list[bool] = []

    def step(engine: Engine, batch: int) -> None:
        loaded.append(torch.equal(network[0].weight, make_network(1)[0].weight))

    engine = Engine(step)
    WeightsLoader(network, path).attach(engine)
    torch.save(make_network(1).state_dict(), path)  # written after the handler was made, as stage 1 does
    engine.run([0, 1])
    assert loaded == [True, True]


def test_handler_stops_the_engine_at_a_fault(tmp_path: Path) -> None:
    steps: list[int] = []
    engine = Engine(lambda engine, batch: steps.append(batch))
    engine.logger.disabled = True
    WeightsLoader(make_network(), tmp_path / "none.pt").attach(engine)
    with pytest.raises(InputError, match=r"none\.pt: no such checkpoint"):
        engine.run([0])
    assert steps == []
