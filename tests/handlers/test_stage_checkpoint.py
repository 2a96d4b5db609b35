"""A stage that is stopped and resumed ends with the weights of one that was not."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
import torch
from ignite.engine import Engine, Events
from torch import nn

from monai_nce.errors import InputError
from monai_nce.handlers import StageCheckpoint, StageProgress, WeightsSaver


class Stage:
    """A training that draws from every generator, with a scheduler and a validation that draws too."""

    def __init__(self, path: Path, max_epochs: int, resume: bool = False, stop_after: int | None = None) -> None:
        torch.manual_seed(0)
        np.random.seed(0)
        random.seed(0)
        self.network = nn.Sequential(nn.Linear(2, 3), nn.Dropout(0.5), nn.BatchNorm1d(3), nn.Linear(3, 1))
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=0.1)
        self.scheduler = torch.optim.lr_scheduler.ExponentialLR(self.optimizer, 0.5)
        self.max_epochs = max_epochs
        self.seen: list[int] = []
        self.trainer = Engine(self.step)
        self.trainer.state.device = torch.device("cpu")
        objects = {"network": self.network, "optimizer": self.optimizer, "scheduler": self.scheduler}
        StageCheckpoint(path, objects, resume, name="stage").attach(self.trainer)
        self.trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda engine: self.scheduler.step())
        self.trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda engine: torch.rand(3))
        if stop_after is not None:
            # in the middle of the next epoch, as a kill would
            self.trainer.add_event_handler(Events.ITERATION_COMPLETED(once=4 * stop_after + 2), self.fail)
        data = torch.utils.data.TensorDataset(torch.arange(8.0).reshape(8, 1).expand(8, 2) / 8, torch.arange(8))
        self.loader = torch.utils.data.DataLoader(data, batch_size=2, shuffle=True)

    @staticmethod
    def fail(engine: Engine) -> None:
        raise KeyboardInterrupt

    def step(self, engine: Engine, batch: tuple[torch.Tensor, torch.Tensor]) -> None:
        self.seen += batch[1].tolist()
        noise = float(np.random.rand()) + random.random()
        loss = (self.network(batch[0]) - noise).square().mean()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()

    def run(self) -> Stage:
        self.trainer.run(self.loader, max_epochs=self.max_epochs)
        return self


def weights(stage: Stage) -> list[torch.Tensor]:
    return list(stage.network.state_dict().values())


def test_a_resumed_stage_draws_the_same_and_ends_the_same(tmp_path, capsys):
    whole = Stage(tmp_path / "whole.pt", 4).run()
    following = torch.rand(5)
    path = tmp_path / "stage.pt"
    with pytest.raises(KeyboardInterrupt):
        Stage(path, 4, stop_after=2).run()
    resumed = Stage(path, 4, resume=True).run()
    assert resumed.seen == whole.seen[16:]
    assert all(torch.equal(a, b) for a, b in zip(weights(resumed), weights(whole), strict=True))
    assert resumed.optimizer.param_groups[0]["lr"] == whole.optimizer.param_groups[0]["lr"] == 0.1 * 0.5**4
    assert torch.equal(torch.rand(5), following)
    assert f"stage goes on after epoch 2 of 4 ({path})" in capsys.readouterr().out


def test_a_finished_stage_is_not_trained_again_and_leaves_the_random_numbers_as_if_it_were(tmp_path, capsys):
    path = tmp_path / "stage.pt"
    whole = Stage(path, 2).run()
    expected = torch.rand(5), np.random.rand(), random.random()
    again = Stage(path, 2, resume=True).run()
    assert not again.seen
    assert all(torch.equal(a, b) for a, b in zip(weights(again), weights(whole), strict=True))
    assert torch.equal(torch.rand(5), expected[0])
    assert (np.random.rand(), random.random()) == expected[1:]
    assert "stage is finished" in capsys.readouterr().out


def test_without_resume_a_stage_starts_afresh_over_an_old_checkpoint(tmp_path):
    path = tmp_path / "stage.pt"
    first = Stage(path, 2).run()
    second = Stage(path, 1).run()
    assert second.seen == first.seen[:8]
    assert torch.load(path, weights_only=True)["epoch"] == 1


def test_more_epochs_can_be_added(tmp_path):
    path = tmp_path / "stage.pt"
    Stage(path, 2).run()
    longer = Stage(path, 3, resume=True).run()
    whole = Stage(tmp_path / "whole.pt", 3).run()
    assert longer.seen == whole.seen[16:]
    assert all(torch.equal(a, b) for a, b in zip(weights(longer), weights(whole), strict=True))


def test_the_bar_starts_where_the_stage_goes_on(tmp_path, monkeypatch):
    path = tmp_path / "stage.pt"
    Stage(path, 2).run()
    stage = Stage(path, 3, resume=True)
    progress = StageProgress("stage", keys=())
    progress.attach(stage.trainer)
    starts = []
    stage.trainer.add_event_handler(Events.STARTED, lambda engine: starts.append(progress._bar.initial))
    stage.run()
    assert starts == [8]


def test_the_best_score_survives(tmp_path):
    network = nn.Linear(1, 1)
    saver = WeightsSaver(network, tmp_path / "best.pt", key_metric="score")
    saver.load_state_dict({"best": 0.5})
    evaluator = Engine(lambda engine, batch: None)
    evaluator.add_event_handler(Events.EPOCH_COMPLETED, lambda engine: engine.state.metrics.update(score=0.6))
    saver.attach(evaluator)
    evaluator.run([0])
    assert not (tmp_path / "best.pt").exists()
    assert saver.state_dict() == {"best": 0.5}


def test_a_wrapped_network_is_saved_without_its_wrapper(tmp_path):
    wrapped = nn.Module()
    wrapped.module = nn.Linear(1, 1)
    checkpoint = StageCheckpoint(tmp_path / "stage.pt", {"network": wrapped})
    assert checkpoint.objects["network"] is wrapped.module


def test_a_full_disk_leaves_the_last_checkpoint(tmp_path, monkeypatch):
    path = tmp_path / "stage.pt"
    Stage(path, 1).run()
    before = path.read_bytes()

    def fail(content, file):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(OSError, match="No space left"):
        Stage(path, 2, resume=True).run()
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["stage.pt"]


def test_checkpoints_that_cannot_be_gone_on_from(tmp_path):
    path = tmp_path / "stage.pt"
    Stage(path, 1).run()
    good = torch.load(path, weights_only=True)

    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(InputError, match=r"stage\.pt: not a readable checkpoint of a stage"):
        Stage(path, 2, resume=True).run()

    torch.save({"0.weight": torch.zeros(1)}, path)
    with pytest.raises(InputError, match="not a readable checkpoint"):
        Stage(path, 2, resume=True).run()

    torch.save({**good, "epoch_length": 7}, path)
    with pytest.raises(InputError, match="made with 7 iterations an epoch but here are 4"):
        Stage(path, 2, resume=True).run()

    torch.save({**good, "objects": {"network": good["objects"]["network"]}}, path)
    with pytest.raises(InputError, match="made by another method"):
        Stage(path, 2, resume=True).run()

    other = nn.Linear(5, 5).state_dict()
    torch.save({**good, "objects": {**good["objects"], "network": other}}, path)
    with pytest.raises(InputError, match="network was saved from another network"):
        Stage(path, 2, resume=True).run()
