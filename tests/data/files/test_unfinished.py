from __future__ import annotations

from pathlib import Path

import pytest

from monai_nce.data.files.unfinished import UnfinishedRun
from monai_nce.errors import InputError


def test_what_is_finished_is_found_again(tmp_path: Path) -> None:
    run = UnfinishedRun(tmp_path / "x" / "out", "a")
    assert run.made == [tmp_path / "x" / "out" / ".unfinished", tmp_path / "x" / "out", tmp_path / "x"]
    run.note("q", {"n": 2})
    run.note("p", {"n": 1})
    run.release()
    again = UnfinishedRun(tmp_path / "x" / "out", "a", resume=True)
    assert again.finished() == [{"n": 1}, {"n": 2}]


def test_it_is_asked_for(tmp_path: Path) -> None:
    run = UnfinishedRun(tmp_path, "a")
    run.note("p", 1)
    run.release()
    with pytest.raises(InputError, match="--resume goes on with it, --overwrite starts anew"):
        UnfinishedRun(tmp_path, "a")
    with pytest.raises(InputError, match="other input or settings"):
        UnfinishedRun(tmp_path, "b", resume=True)
    assert UnfinishedRun(tmp_path, "b", overwrite=True).finished() == []


def test_nothing_to_resume_is_a_start(tmp_path: Path) -> None:
    (tmp_path / ".unfinished").mkdir()  # killed before it said what it was
    assert UnfinishedRun(tmp_path, "a", resume=True).finished() == []


def test_one_at_a_time(tmp_path: Path) -> None:
    run = UnfinishedRun(tmp_path, "a")
    for options in ({"resume": True}, {"overwrite": True}):
        with pytest.raises(InputError, match="another run is at work there"):
            UnfinishedRun(tmp_path, "a", **options)
    run.release()
    UnfinishedRun(tmp_path, "a", resume=True).release()


def test_parts_are_removed(tmp_path: Path) -> None:
    run = UnfinishedRun(tmp_path, "a")
    volumes = run.folder / "volumes"
    (volumes / ".1234-q.nii.partial").mkdir(parents=True)
    for name in ("p.nii", "q.nii"):
        (volumes / name).touch()
    run.keep_only("volumes", {"p.nii"})
    assert [path.name for path in volumes.iterdir()] == ["p.nii"]
