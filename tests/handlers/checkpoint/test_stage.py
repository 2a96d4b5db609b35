"""A stage that is stopped and resumed ends with the weights of one that was not."""

from __future__ import annotations

import os
import random
import signal
import threading
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from ignite.engine import Engine, Events
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from monai_nce.errors import InputError
from monai_nce.handlers import (
    CheckpointFolder,
    StageCheckpoint,
    StageLog,
    StageProgress,
    TrainedFor,
    TrainingFolder,
    WeightsSaver,
)
from monai_nce.handlers.checkpoint import stage as stage_checkpoint
from tests.handlers.stage import Killed, Stage

EPOCHS = 4
ITERATIONS = 4 * EPOCHS


@pytest.fixture(autouse=True)
def no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Stage:
    return Stage(tmp_path_factory.mktemp("whole"), EPOCHS).run()


def iterations_saved(folder: Path) -> list[int]:
    return [torch.load(file, weights_only=True)["iteration"] for file in CheckpointFolder(folder).files()]


@pytest.mark.parametrize("kill_after", range(1, ITERATIONS))
def test_a_killed_stage_draws_the_same_and_ends_the_same(tmp_path, whole, kill_after):
    """Killed in the iteration after any other, with a checkpoint after each."""
    Stage(tmp_path, EPOCHS, kill_after=kill_after, minutes=0).run_until_killed()
    resumed = Stage(tmp_path, EPOCHS, resume=True).run()
    assert resumed.seen == whole.seen[2 * kill_after :]
    assert resumed.validated == whole.validated[2 * (kill_after // 4) :]
    assert resumed.ends_like(whole)


@pytest.mark.parametrize("kill_after", [2, 5, 8, 11])
def test_without_checkpoints_in_between_it_goes_on_after_the_last_epoch(tmp_path, whole, kill_after, capsys):
    Stage(tmp_path, EPOCHS, kill_after=kill_after).run_until_killed()
    resumed = Stage(tmp_path, EPOCHS, resume=True).run()
    assert resumed.seen == whole.seen[kill_after // 4 * 8 :]
    assert resumed.ends_like(whole)
    assert ("stage goes on after" in capsys.readouterr().out) == (kill_after >= 4)


def test_several_kills_and_workers_make_no_difference(tmp_path, whole):
    for kill_after in (3, 6, 7, 13):
        Stage(tmp_path, EPOCHS, resume=True, kill_after=kill_after, minutes=0, workers=2).run_until_killed()
    resumed = Stage(tmp_path, EPOCHS, resume=True, workers=2).run()
    assert resumed.seen == whole.seen[2 * 13 :]
    assert resumed.ends_like(whole)


def test_where_it_goes_on_is_said(tmp_path, capsys):
    Stage(tmp_path, EPOCHS, kill_after=6, minutes=0).run_until_killed()
    capsys.readouterr()
    Stage(tmp_path, EPOCHS, resume=True).run()
    line = capsys.readouterr().out
    assert f"stage goes on after iteration 2 of 4 in epoch 2 of 4 ({tmp_path}" in line


def test_the_interval_is_kept_and_three_stay(tmp_path, monkeypatch):
    now = [0.0]
    # for this module alone: whoever waits for a process by a clock that stands still waits for ever
    monkeypatch.setattr(stage_checkpoint, "time", SimpleNamespace(monotonic=lambda: now[0]))
    stage = Stage(tmp_path, EPOCHS, kill_after=14, minutes=3)
    stage.trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda engine: now.append(now.pop() + 60))
    with pytest.raises(Killed):
        stage.run()
    assert iterations_saved(tmp_path) == [8, 11, 12]  # and 3, 4 and 7 before


def test_a_finished_stage_is_not_trained_again_and_leaves_the_random_numbers_as_if_it_were(tmp_path, capsys):
    whole = Stage(tmp_path, 2).run()
    expected = torch.rand(5), np.random.rand(), random.random()
    again = Stage(tmp_path, 2, resume=True).run()
    assert not again.seen
    assert again.ends_like(whole)
    assert torch.equal(torch.rand(5), expected[0])
    assert (np.random.rand(), random.random()) == expected[1:]
    assert "stage is finished" in capsys.readouterr().out


def test_without_resume_a_stage_starts_afresh_and_its_first_checkpoint_replaces_the_old_ones(tmp_path):
    first = Stage(tmp_path, 3).run()
    assert iterations_saved(tmp_path) == [4, 8, 12]
    Stage(tmp_path, 3, kill_after=2).run_until_killed()
    assert iterations_saved(tmp_path) == [4, 8, 12]  # whoever forgot to say resume can still do so
    second = Stage(tmp_path, 1).run()
    assert second.seen == first.seen[:8]
    assert iterations_saved(tmp_path) == [4]
    assert not Stage(tmp_path, 1, resume=True).run().seen


def test_more_epochs_can_be_added(tmp_path, whole):
    Stage(tmp_path, 2).run()
    longer = Stage(tmp_path, EPOCHS, resume=True).run()
    assert longer.seen == whole.seen[16:]
    assert longer.ends_like(whole)


@pytest.mark.parametrize("first", [False, True])
def test_the_bar_starts_where_the_stage_goes_on_whichever_is_attached_first(tmp_path, first):
    Stage(tmp_path, 3, kill_after=6, minutes=0).run_until_killed()
    progress = StageProgress("stage", keys=())
    stage = Stage(tmp_path, 3, resume=True, first=progress if first else None)
    if not first:
        progress.attach(stage.trainer)
    starts, ends = [], []
    stage.trainer.add_event_handler(Events.EPOCH_STARTED(once=2), lambda engine: starts.append(progress._bar.initial))
    stage.trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda engine: ends.append(progress._bar.n))
    stage.run()
    assert starts == [6] and ends == [8, 12]


def test_the_curves_go_on_where_the_stage_does(tmp_path):
    log = StageLog(str(tmp_path / "tensorboard"))
    Stage(tmp_path, 3, kill_after=6, minutes=0, log=log).run_until_killed()
    stage = Stage(tmp_path, 3, resume=True, log=log)
    stage.run()
    assert log._purge_step == 7
    Stage(tmp_path, 1, log=log).run()
    assert log._purge_step == 1  # what an earlier training wrote is hidden


def stop(stage: Stage, iteration: int, number: int = signal.SIGTERM, event: Events = Events.ITERATION_STARTED) -> Stage:
    stage.trainer.add_event_handler(event(once=iteration), lambda engine: os.kill(os.getpid(), number))
    return stage


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("iteration", [1, 6, 8, 16])
def test_a_signal_ends_the_iteration_saves_and_stops(tmp_path, whole, number, iteration, capsys):
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    stage = stop(Stage(tmp_path, EPOCHS), iteration, number)
    WeightsSaver(stage.network, tmp_path / "model.pt").attach(stage.trainer)
    with pytest.raises(SystemExit) as stopped:
        stage.run()
    assert stopped.value.code == 128 + number
    assert stage.seen == whole.seen[: 2 * iteration]
    assert iterations_saved(tmp_path)[-1] == iteration
    assert not (tmp_path / "model.pt").exists()
    name = signal.Signals(number).name
    place = f"after iteration {(iteration - 1) % 4 + 1} of 4 in epoch {(iteration + 3) // 4}"
    (line,) = capsys.readouterr().out.splitlines()
    assert line == f"stage: stopped by {name} {place}; saved in {tmp_path}; go on with --resume True"
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before
    resumed = Stage(tmp_path, EPOCHS, resume=True).run()
    assert resumed.seen == whole.seen[2 * iteration :] and resumed.ends_like(whole)


@pytest.mark.parametrize("patient", [1, 3])
@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize("epoch", [2, EPOCHS])
def test_a_signal_in_a_validation_ends_it_and_it_is_done_again(tmp_path, whole, epoch, number, patient):
    """Even twice; what was done before it is not done again."""

    def stopped(stage: Stage) -> Stage:
        def signal_myself(engine: Engine) -> None:
            if (engine.state.epoch, engine.state.iteration) == (epoch, patient):
                os.kill(os.getpid(), signal.SIGTERM)

        stage.validators[number].add_event_handler(Events.ITERATION_STARTED, signal_myself)
        with pytest.raises(SystemExit) as error:
            stage.run()
        assert error.value.code == 128 + signal.SIGTERM
        assert stage.validators[number].state.iteration == patient
        return stage

    done = 2 * (epoch - 1) + number
    assert stopped(Stage(tmp_path, EPOCHS)).validated == whole.validated[:done]
    assert iterations_saved(tmp_path)[-1] == 4 * epoch
    assert stopped(Stage(tmp_path, EPOCHS, resume=True)).validated == []
    assert CheckpointFolder(tmp_path).load()[1]["missing_validations"] == ([0, 1] if number == 0 else [1])
    resumed = Stage(tmp_path, EPOCHS, resume=True).run()
    assert resumed.validated == whole.validated[done:] and resumed.seen == whole.seen[8 * epoch :]
    assert resumed.ends_like(whole)
    assert Stage(tmp_path, EPOCHS, resume=True).run().validated == []  # even if it was the last one


def test_a_signal_before_the_validations_leaves_them_to_the_resumed_training(tmp_path, whole):
    stage = stop(Stage(tmp_path, EPOCHS), 8)
    with pytest.raises(SystemExit):
        stage.run()
    assert stage.validated == whole.validated[:2] and not stage.validators[0].state.iteration
    resumed = Stage(tmp_path, EPOCHS, resume=True).run()
    assert resumed.validated == whole.validated[2:] and resumed.ends_like(whole)


def test_a_signal_after_the_validations_leaves_nothing_to_be_done_again(tmp_path, whole):
    stage = stop(Stage(tmp_path, EPOCHS), 2, event=Events.EPOCH_COMPLETED)
    with pytest.raises(SystemExit):
        stage.run()
    assert stage.validated == whole.validated[:4] and iterations_saved(tmp_path)[-1] == 8
    resumed = Stage(tmp_path, EPOCHS, resume=True).run()
    assert resumed.validated == whole.validated[4:] and resumed.ends_like(whole)


def test_a_signal_after_the_last_save_still_stops_what_follows(tmp_path):
    stage = Stage(tmp_path, 1)
    save = stage.checkpoint._save

    def save_and_signal(engine):
        save(engine)
        os.kill(os.getpid(), signal.SIGTERM)

    stage.checkpoint._save = save_and_signal
    stage.checkpoint._end_epoch = lambda engine: save_and_signal(engine)
    WeightsSaver(stage.network, tmp_path / "model.pt").attach(stage.trainer)
    with pytest.raises(SystemExit):
        stage.run()
    assert not (tmp_path / "model.pt").exists()


def test_the_signals_are_given_back_at_the_end_and_after_an_error(tmp_path):
    before = signal.getsignal(signal.SIGTERM)
    stage = Stage(tmp_path, 1)
    during = []
    stage.trainer.add_event_handler(
        Events.EPOCH_STARTED, lambda engine: during.append(signal.getsignal(signal.SIGTERM))
    )
    stage.run()
    assert during != [before] and signal.getsignal(signal.SIGTERM) == before
    Stage(tmp_path, 1, kill_after=2).run_until_killed()
    assert signal.getsignal(signal.SIGTERM) == before


def test_outside_of_the_main_thread_it_trains_without_signals(tmp_path):
    stage = Stage(tmp_path, 1)
    thread = threading.Thread(target=stage.run)
    thread.start()
    thread.join()
    assert len(stage.seen) == 8


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
    checkpoint = StageCheckpoint(tmp_path, {"network": wrapped})
    assert checkpoint.objects["network"] is wrapped.module


def test_a_loss_scaler_is_saved_and_loaded(tmp_path):
    stage = Stage(tmp_path, 1)
    stage.trainer.scaler = torch.amp.GradScaler("cpu", init_scale=512.0)
    stage.trainer.scaler._lazy_init_scale_growth_tracker("cpu")
    stage.run()
    again = Stage(tmp_path, 1, resume=True)
    again.trainer.scaler = torch.amp.GradScaler("cpu")
    again.run()
    assert again.trainer.scaler.state_dict() == stage.trainer.scaler.state_dict()


def test_a_full_disk_leaves_the_last_checkpoint_and_says_so_in_one_line(tmp_path, monkeypatch):
    Stage(tmp_path, 1).run()
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}

    def fail(content, file):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(InputError, match=r"epoch2-iteration8\.pt: cannot be written: No space left on device"):
        Stage(tmp_path, 2, resume=True).run()
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


def test_a_network_with_nan_is_not_saved(tmp_path):
    stage = Stage(tmp_path, 2)

    @stage.trainer.on(Events.ITERATION_COMPLETED(once=6))
    def spoil(engine):
        with torch.no_grad():
            stage.network[0].bias[0] = float("nan")

    with pytest.raises(InputError, match="stage, epoch 2, iteration 8: network holds NaN or Inf"):
        stage.run()
    assert iterations_saved(tmp_path) == [4]


def test_a_damaged_checkpoint_is_named_and_the_one_before_is_taken(tmp_path, whole, capsys):
    Stage(tmp_path, EPOCHS, kill_after=14, minutes=0).run_until_killed()
    *_, before, newest = CheckpointFolder(tmp_path).files()
    newest.write_bytes(newest.read_bytes()[:-1])
    resumed = Stage(tmp_path, EPOCHS, resume=True).run()
    assert resumed.seen == whole.seen[2 * 13 :] and resumed.ends_like(whole)
    (line,) = capsys.readouterr().err.splitlines()
    assert line == f"warning: {newest}: damaged; {before.name} is taken instead"


def rewrite(folder: Path, **changes) -> None:
    """Put a checkpoint with other content, and a good checksum, in place of all."""
    checkpoints = CheckpointFolder(folder)
    _, content, _ = checkpoints.load()
    checkpoints.begin()
    checkpoints.save({**content, **changes}, 1, 4)


def test_checkpoints_that_cannot_be_gone_on_from(tmp_path):
    Stage(tmp_path, 1).run()
    _, good, _ = CheckpointFolder(tmp_path).load()

    with pytest.raises(InputError) as raised:
        Stage(tmp_path, 2, resume=True, batch_size=4).run()
    assert "made with 8 slice stacks in batches of 2 on 1 process (4 iterations an epoch) but" in str(raised.value)
    assert "but here are 8 slice stacks in batches of 4 on 1 process (2 iterations" in str(raised.value)

    rewrite(tmp_path, made_with={**good["made_with"], "data": "0123456789abcdef"})
    with pytest.raises(InputError, match=r"8 slice stacks \(0123456789abcdef\) in .* but here are 8 .*other patients"):
        Stage(tmp_path, 2, resume=True).run()

    rewrite(tmp_path, made_with={**good["made_with"], "processes": 2})
    with pytest.raises(InputError, match="on 2 processes .* but here are .* on 1 process .*number of processes"):
        Stage(tmp_path, 2, resume=True).run()

    rewrite(tmp_path, made_with=good["made_with"], objects={"network": good["objects"]["network"]})
    with pytest.raises(InputError, match="made by another method"):
        Stage(tmp_path, 2, resume=True).run()

    rewrite(tmp_path, objects={**good["objects"], "network": nn.Linear(5, 5).state_dict()})
    with pytest.raises(InputError, match="network was saved from another network"):
        Stage(tmp_path, 2, resume=True).run()

    ct = TrainedFor("NECT", "CECT", 50, 300)
    rewrite(tmp_path, objects=good["objects"], trained_for=ct.plain())
    Stage(tmp_path, 1, resume=True, training=TrainingFolder(trained_for=ct)).run()
    with pytest.raises(InputError, match="window of level 50 and width 300, not .* 50 and width 400: train in"):
        other = TrainedFor("NECT", "CECT", 50, 400)
        Stage(tmp_path, 2, resume=True, training=TrainingFolder(trained_for=other)).run()

    tuned = TrainedFor("NECT", "CECT", 50, 300, started_from="0a1b")
    with pytest.raises(InputError, match="started from no earlier weights, this one from weights with SHA-256 0a1b"):
        Stage(tmp_path, 2, resume=True, training=TrainingFolder(trained_for=tuned)).run()
    rewrite(tmp_path, trained_for=tuned.plain())
    Stage(tmp_path, 1, resume=True, training=TrainingFolder(trained_for=tuned)).run()
    with pytest.raises(InputError, match="SHA-256 0a1b, this one from no earlier weights: give the same init_weights"):
        Stage(tmp_path, 2, resume=True, training=TrainingFolder(trained_for=ct)).run()

    for file in CheckpointFolder(tmp_path).files():
        file.write_bytes(b"")
    with pytest.raises(InputError, match="expected a checkpoint that is whole but got 1 damaged; train anew with"):
        Stage(tmp_path, 2, resume=True).run()


def test_a_loader_without_an_order_of_its_own_is_refused(tmp_path):
    stage = Stage(tmp_path, 1)
    stage.loader = DataLoader(TensorDataset(torch.zeros(8, 2), torch.arange(8)), batch_size=2, shuffle=True)
    with pytest.raises(InputError, match="stage: expected a loader with an EpochSampler"):
        stage.run()
