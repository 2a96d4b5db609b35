from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from monai_nce.data.files import atomic
from monai_nce.data.files.atomic import atomic_folder, atomic_path

# Writes "new" to a file or into a folder, says so, and waits to be killed before it is moved to its place.
KILLED = """
import sys, time
from monai_nce.data.files import atomic
path = sys.argv[2]
with getattr(atomic, sys.argv[1])(path) as temporary:
    (temporary if sys.argv[1] == "atomic_path" else temporary / "0.dcm").write_text("new")
    print("written", flush=True)
    time.sleep(60)
"""


def files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def contents(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir()}


def fill(folder: Path, text: str, count: int = 3) -> None:
    for index in range(count):
        (folder / f"{index}.dcm").write_text(text)


def test_a_file_is_replaced_and_keeps_its_suffix(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.b.nii.gz"
    for text in ("one", "two"):
        with atomic_path(path) as temporary:
            assert temporary.name == "a.b.nii.gz" and temporary != path
            temporary.write_text(text)
    assert path.read_text() == "two"
    assert files(tmp_path) == ["new", "new/a.b.nii.gz"]


def test_a_failure_in_the_middle_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt), atomic_path(path) as temporary:
        temporary.write_text("ha")
        raise KeyboardInterrupt
    assert path.read_text() == "old"
    assert files(tmp_path) == ["a.txt"]


@pytest.mark.parametrize("writer", [atomic_path, atomic_folder])
def test_a_failure_removes_the_folders_it_made(writer: Callable, tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), writer(tmp_path / "x" / "y" / "a.txt"):
        _ = 1 / 0
    assert files(tmp_path) == []


def test_a_body_that_writes_nothing_leaves_the_old_file(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("old")
    with pytest.raises(FileNotFoundError), atomic_path(tmp_path / "a.txt"):
        pass
    assert (tmp_path / "a.txt").read_text() == "old"
    assert files(tmp_path) == ["a.txt"]


@pytest.mark.parametrize("can_exchange", [True, False])
def test_a_folder_is_replaced_as_a_whole(can_exchange: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not can_exchange:
        monkeypatch.setattr(atomic, "_exchange", lambda one, other: False)
    path = tmp_path / "new" / "series"
    with atomic_folder(path) as temporary:
        fill(temporary, "one", 5)
    with atomic_folder(path) as temporary:
        assert temporary.name == "series" and temporary != path and not files(temporary)
        fill(temporary, "two", 3)
        assert contents(path) == {f"{index}.dcm": "one" for index in range(5)}  # until the new one is complete
    assert contents(path) == {f"{index}.dcm": "two" for index in range(3)}
    assert files(path.parent) == ["series", "series/0.dcm", "series/1.dcm", "series/2.dcm"]


@pytest.mark.skipif(sys.platform != "linux", reason="a system call of Linux")
def test_on_linux_two_folders_change_places_in_one_step(tmp_path: Path) -> None:
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        fill(tmp_path / name, name, 1)
    if not atomic._exchange(tmp_path / "one", tmp_path / "other"):
        pytest.skip("this file system cannot exchange folders")
    assert contents(tmp_path / "one") == {"0.dcm": "other"} and contents(tmp_path / "other") == {"0.dcm": "one"}


@pytest.mark.parametrize("when", ["in the body", "fsync", "rename"])
def test_a_full_disk_leaves_the_old_folder(when: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "series"
    with atomic_folder(path) as temporary:
        fill(temporary, "old")
    real = os.rename

    def full(*args: object) -> None:
        if when == "rename" and str(args[0]).endswith(atomic.OLD):
            return real(*args)  # the way back needs no space
        if when == "rename" and not str(args[1]).endswith("series"):
            return real(*args)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(atomic, "_exchange", lambda one, other: False)
    if when != "in the body":
        monkeypatch.setattr(os, when, full)
    with pytest.raises(OSError, match="No space"), atomic_folder(path) as temporary:
        fill(temporary, "new", 2)
        if when == "in the body":
            full()
    assert contents(path) == {f"{index}.dcm": "old" for index in range(3)}
    assert sorted(file.name for file in tmp_path.iterdir()) == ["series"]


@contextlib.contextmanager
def writing_process(writer: str, path: Path) -> Iterator[subprocess.Popen]:
    command = [sys.executable, "-c", KILLED, writer, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": "."}) as process:
        assert process.stdout is not None and process.stdout.readline() == "written\n"
        yield process
        process.kill()


@pytest.mark.parametrize("writer", ["atomic_path", "atomic_folder"])
@pytest.mark.parametrize("exists", [True, False])
def test_after_a_kill_the_old_one_is_whole_and_the_next_writer_clears_up(
    writer: str, exists: bool, tmp_path: Path
) -> None:
    path = tmp_path / "result"
    if exists:
        with getattr(atomic, writer)(path) as temporary:
            (temporary if writer == "atomic_path" else temporary / "0.dcm").write_text("old")
    before = {name: (tmp_path / name).read_bytes() for name in files(tmp_path) if (tmp_path / name).is_file()}
    with writing_process(writer, path) as process:
        process.send_signal(signal.SIGKILL)
    visible = [file for file in files(tmp_path) if not file.startswith(".")]
    assert {name: (tmp_path / name).read_bytes() for name in visible if (tmp_path / name).is_file()} == before
    assert path.exists() == exists
    assert any(file.name.startswith(".") for file in tmp_path.iterdir())  # what nobody could remove
    with getattr(atomic, writer)(path) as temporary:
        (temporary if writer == "atomic_path" else temporary / "0.dcm").write_text("newer")
    assert [file.name for file in tmp_path.iterdir()] == ["result"]
    assert (path if writer == "atomic_path" else path / "0.dcm").read_text() == "newer"


def test_what_writers_of_any_name_left_can_be_removed(tmp_path: Path) -> None:
    (tmp_path / "other").touch()
    with writing_process("atomic_path", tmp_path / "a") as at_work:
        with writing_process("atomic_folder", tmp_path / "b") as killed:
            killed.send_signal(signal.SIGKILL)
        atomic.remove_abandoned(tmp_path)
        assert at_work.poll() is None
        assert [name.rpartition("/")[2] for name in files(tmp_path) if "partial/" in name] == ["a"]
    atomic.remove_abandoned(tmp_path)
    assert files(tmp_path) == ["other"]
    atomic.remove_abandoned(tmp_path / "nothing")


def test_the_workspace_of_a_writer_at_work_is_left_alone(tmp_path: Path) -> None:
    with writing_process("atomic_path", tmp_path / "a") as process:
        with atomic_path(tmp_path / "a") as temporary:
            temporary.write_text("mine")
        assert process.poll() is None
        theirs = [file for file in tmp_path.iterdir() if file.name != "a"]
        assert len(theirs) == 1 and (theirs[0] / "a").read_text() == "new"


def test_a_kill_between_the_two_steps_of_a_replacement_is_put_right(tmp_path: Path) -> None:
    workspace = tmp_path / f".01234567-series{atomic.WORKSPACE}"
    (workspace / atomic.OLD).mkdir(parents=True)
    fill(workspace / atomic.OLD, "old")
    with pytest.raises(ZeroDivisionError), atomic_folder(tmp_path / "series"):
        _ = 1 / 0
    assert contents(tmp_path / "series") == {f"{index}.dcm": "old" for index in range(3)}
    assert [file.name for file in tmp_path.iterdir()] == ["series"]


def test_other_hidden_files_are_not_touched(tmp_path: Path) -> None:
    names = [".partial", f".01234567-b{atomic.WORKSPACE}", ".01234567-a", f"01234567-a{atomic.WORKSPACE}"]
    for name in names:
        (tmp_path / name).mkdir()
    with atomic_path(tmp_path / "a") as temporary:
        temporary.write_text("x")
    assert sorted(file.name for file in tmp_path.iterdir()) == sorted([*names, "a"])


def test_two_writers_of_one_name_at_once_both_succeed(tmp_path: Path) -> None:
    path = tmp_path / "series"
    with atomic_folder(path) as one:
        fill(one, "one")
        with atomic_folder(path) as two:
            fill(two, "two")
        assert contents(path) == {f"{index}.dcm": "two" for index in range(3)}
    assert contents(path) == {f"{index}.dcm": "one" for index in range(3)}
    assert [file.name for file in tmp_path.iterdir()] == ["series"]
