"""One training at a time in a folder, and its checkpoints are its own."""

from __future__ import annotations

import multiprocessing
import os
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monai_nce.errors import InputError
from monai_nce.handlers import CheckpointFolder, TrainingFolder, refuse_trained
from tests.handlers.stage import Stage

FORK = multiprocessing.get_context("fork")


@pytest.fixture(autouse=True)
def no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


def take_and_wait(path: Path, connection: Connection) -> None:
    folder = TrainingFolder(path)
    folder.take()
    folder.take()  # each stage does
    connection.send("taken")
    connection.recv()


def test_a_folder_is_one_process_s_until_that_ends_however_it_does(tmp_path: Path) -> None:
    path = tmp_path / "checkpoints"
    ours, theirs = FORK.Pipe()
    other = FORK.Process(target=take_and_wait, args=(path, theirs), daemon=True)
    other.start()
    assert ours.recv() == "taken"
    refused = TrainingFolder(path)
    for _ in range(2):  # asking again does not help
        with pytest.raises(InputError, match=f"{path}: another training is at work in it"):
            refused.take()
    other.kill()
    other.join()
    refused.take()


def test_a_folder_that_cannot_be_written_to(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="file/checkpoints: cannot be written: Not a directory"):
        TrainingFolder(tmp_path / "file" / "checkpoints").take()


def test_the_first_stage_says_which_training_it_is() -> None:
    folder = TrainingFolder()
    folder.take()  # nothing to lock
    assert folder.has("a") and folder.has("a") and not folder.has("b")
    folder.begin()
    assert folder.name == "a"
    new, other = TrainingFolder(), TrainingFolder()
    new.begin()
    other.begin()
    assert new.name and new.name != other.name and not new.has("a")


def stages(path: Path, resume: bool = False, kill: int | None = None) -> list[Stage]:
    """A training of two stages, killed in one of them or in none."""
    training = TrainingFolder(path)
    made = []
    for number in range(2):
        kill_after = 2 if number == kill else None
        made.append(Stage(path / str(number), 1, resume, kill_after, minutes=0, training=training))
        if number == kill:
            made[-1].run_until_killed()
            break
        made[-1].run()
    return made


@pytest.mark.parametrize("kill", [0, 1])
def test_a_resumed_training_does_not_go_on_with_the_stages_of_an_earlier_one(tmp_path, kill, capsys) -> None:
    stages(tmp_path)
    stages(tmp_path, kill=kill)
    capsys.readouterr()
    first, second = stages(tmp_path, resume=True)
    said = capsys.readouterr().out
    assert len(first.seen) == (4 if kill == 0 else 0)
    assert len(second.seen) == (8 if kill == 0 else 4)
    assert (f"stage starts anew: {tmp_path / '1'} is an earlier training's" in said) == (kill == 0)
    first, second = stages(tmp_path, resume=True)
    assert not first.seen and not second.seen


def test_a_training_killed_before_its_first_checkpoint_leaves_the_earlier_one(tmp_path) -> None:
    stages(tmp_path)
    training = TrainingFolder(tmp_path)
    Stage(tmp_path / "0", 1, kill_after=2, training=training).run_until_killed()
    first, second = stages(tmp_path, resume=True)
    assert not first.seen and not second.seen


CHECKPOINT = "stage1/000001-epoch1-iteration4.pt"
TRAINED = [{CHECKPOINT}, {CHECKPOINT, "model.pt"}, {"model.pt"}, {"classifier.pt", "model_best.pt"}]


@settings(max_examples=25, deadline=None)
@given(
    left=st.sampled_from([set(), *TRAINED, {"notes.txt"}, {"stage1/.lock"}, {"stage1/notes.pt"}]),
    resume=st.booleans(),
    overwrite=st.booleans(),
)
def test_what_an_earlier_training_left_is_kept_unless_it_is_resumed_or_to_be_overwritten(
    tmp_path_factory: pytest.TempPathFactory, left: set[str], resume: bool, overwrite: bool
) -> None:
    folder = tmp_path_factory.mktemp("training")
    for name in left:
        file = folder / ("checkpoints" if "/" in name else "models") / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(name)
    kept = left in TRAINED and not overwrite and not (resume and CHECKPOINT in left)
    try:
        refuse_trained(folder / "checkpoints", folder / "models", resume, overwrite)
    except InputError as error:
        assert kept and "--overwrite True" in str(error)
        assert ("--resume True" in str(error)) == (CHECKPOINT in left)
    else:
        assert not kept
    assert {file.read_text() for file in folder.rglob("*") if file.is_file()} == left


def test_a_trainer_that_is_run_by_itself_loses_nothing_either(tmp_path: Path) -> None:
    def stage(**options: bool) -> Stage:
        training = TrainingFolder(tmp_path / "checkpoints", weights=tmp_path / "models", **options)
        return Stage(tmp_path / "checkpoints" / "0", 1, training.resume, training=training)

    stage().run()
    before = CheckpointFolder(tmp_path / "checkpoints" / "0").files()
    with pytest.raises(InputError, match="holds a training already; --resume True goes on with it, --overwrite True"):
        stage().run()
    assert CheckpointFolder(tmp_path / "checkpoints" / "0").files() == before
    assert not stage(resume=True).run().seen
    assert stage(overwrite=True).run().seen
