from __future__ import annotations

import dataclasses
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from monai_nce.errors import InputError
from monai_nce.handlers import StartingWeights, TrainedFor
from monai_nce.handlers.weights.starting_weights import auxiliary_beside
from monai_nce.handlers.weights.state_file import write_torch
from monai_nce.networks import Generator

OURS = {"name": "our CT", "kind": "real", "patients": 3, "licence": "CC BY 4.0"}
VIRTUAL = {"name": "virtual", "kind": "virtual", "patients": 9}
MADE_FOR = TrainedFor("NECT", "CECT", 50, 300, 2.0, 3, data=[VIRTUAL])


def generator(seed: int = 0, channels: tuple[int, ...] = (8, 8)) -> Generator:
    torch.manual_seed(seed)
    return Generator(channels=channels, hidden_channels=8, num_groups=4)


def save(path: Path, said: TrainedFor | None = MADE_FOR, seed: int = 0) -> Path:
    network = generator(seed)
    weights: Any = network.state_dict()
    if said is not None:
        said.write_to(weights, network)
    write_torch(weights, path)
    return path


def same(one: nn.Module, other: nn.Module) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))


@pytest.mark.parametrize("path", [None, ""])
def test_without_a_file_nothing_changes(path: str | None, capsys: pytest.CaptureFixture[str]) -> None:
    start, network = StartingWeights(path), generator(1)
    assert start.into(network) is start.into_auxiliary(network) is network and same(network, generator(1))
    assert start.data([OURS]) == [OURS] and start.sha256 is None
    start.check(MADE_FOR)
    assert not capsys.readouterr().out


def test_both_networks_start_from_the_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = save(tmp_path / "model.pt", seed=1)
    save(tmp_path / "auxiliary.pt", MADE_FOR.reversed(), seed=2)
    start = StartingWeights(path)
    assert same(start.into(generator()), generator(1)) and same(start.into_auxiliary(generator()), generator(2))
    assert start.sha256 == sha256(path.read_bytes()).hexdigest()
    start.check(MADE_FOR)
    assert capsys.readouterr().out == f"starting from {path} and auxiliary.pt beside it\n"


@pytest.mark.parametrize(
    "said",
    [
        MADE_FOR,
        TrainedFor(),
        dataclasses.replace(MADE_FOR.reversed(), window_width=400),
        dataclasses.replace(MADE_FOR.reversed(), spacing=1.0),
        dataclasses.replace(MADE_FOR.reversed(), source="T2"),
    ],
)
def test_an_auxiliary_network_for_something_else_is_left_alone(
    said: TrainedFor, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = save(tmp_path / "model.pt")
    save(tmp_path / "auxiliary.pt", said, seed=2)
    start = StartingWeights(path)
    assert auxiliary_beside(path) is None
    assert same(start.into_auxiliary(generator(3)), generator(3))
    start.check(MADE_FOR)
    assert "auxiliary.pt" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("before", "back", "expected"),
    [
        ([VIRTUAL], None, [OURS, VIRTUAL]),
        ([OURS], None, [OURS]),
        ([VIRTUAL, OURS], [VIRTUAL], [OURS, VIRTUAL]),
        ([VIRTUAL], [{"name": "third"}], [OURS, VIRTUAL, {"name": "third"}]),
        (None, None, [OURS, {"name": "data that earlier weights do not name"}]),
        (None, [VIRTUAL], [OURS, {"name": "data that earlier weights do not name"}, VIRTUAL]),
    ],
)
def test_data_of_both_are_named_once(before: Any, back: Any, expected: Any, tmp_path: Path) -> None:
    path = save(tmp_path / "model.pt", dataclasses.replace(MADE_FOR, data=before))
    if back is not None:
        save(tmp_path / "auxiliary.pt", dataclasses.replace(MADE_FOR.reversed(), data=back))
    assert StartingWeights(path).data([OURS]) == expected


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"window_width": 400}, "a window of level 50 and width 300, not for a window of level 50 and width 400"),
        ({"spacing": 1.0}, "pixels of 2.0 mm, not for pixels of 1.0 mm"),
        ({"source": "T2", "target": "PD"}, "NECT to CECT, not for T2 to PD"),
        ({"slices": 5}, "stacks of 3 slices, not for stacks of 5 slices"),
    ],
)
def test_weights_for_something_else_are_refused(changed: dict[str, Any], expected: str, tmp_path: Path) -> None:
    path = save(tmp_path / "model.pt")
    with pytest.raises(InputError, match=f"{path}: trained for {expected}: choose other weights, or data") as error:
        StartingWeights(path).check(dataclasses.replace(MADE_FOR, **changed))
    assert "--spacing" not in str(error.value)  # no flag of a training


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    start = StartingWeights(save(tmp_path / "model.pt"))
    with pytest.raises(InputError, match=r"channels \[8, 8\], not for a network of channels \[8, 4\]"):
        start.into(generator(channels=(8, 4)))
    with pytest.raises(InputError, match="made for another network than Conv2d"):
        StartingWeights(save(tmp_path / "model.pt", None)).into(nn.Conv2d(3, 3, 1))


def test_what_is_no_target_network_s_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="missing.pt: no such checkpoint"):
        StartingWeights(tmp_path / "missing.pt")
    with pytest.raises(InputError, match="expected a target network's weights but got an auxiliary network's"):
        StartingWeights(save(tmp_path / "a.pt", MADE_FOR.reversed()))
    (tmp_path / "text.pt").write_text("hello")
    with pytest.raises(InputError, match="not a readable checkpoint"):
        StartingWeights(tmp_path / "text.pt")
