from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from monai_nce.errors import InputError
from monai_nce.handlers import CheckpointFolder


@pytest.fixture(autouse=True)
def no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


def content(number: int) -> dict[str, torch.Tensor]:
    return {"number": torch.full((40,), float(number))}


def number_in(loaded: dict[str, torch.Tensor]) -> int:
    return int(loaded["number"][0])


def filled(path: Path, count: int) -> CheckpointFolder:
    folder = CheckpointFolder(path)
    for number in range(1, count + 1):
        folder.save(content(number), epoch=number // 4, iteration=number)
    return folder


def test_the_newest_is_loaded_and_three_stay(tmp_path: Path) -> None:
    folder = filled(tmp_path / "stage1", 12)
    assert [file.name for file in folder.files()] == [
        "000010-epoch2-iteration10.pt", "000011-epoch2-iteration11.pt", "000012-epoch3-iteration12.pt"
    ]  # fmt: skip
    path, loaded, damaged = folder.load()
    assert (path, number_in(loaded), damaged) == (folder.files()[-1], 12, [])
    assert len(list(folder.path.iterdir())) == 6  # each with its checksum


def test_the_checksums_are_those_of_sha256sum(tmp_path: Path) -> None:
    for file in filled(tmp_path, 2).files():
        line = file.with_name(file.name + ".sha256").read_text()
        assert line == f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n"
        if shutil.which("sha256sum"):
            subprocess.run(["sha256sum", "-c", f"{file.name}.sha256"], cwd=tmp_path, check=True, capture_output=True)


def test_a_new_training_keeps_the_old_ones_until_its_own_first_is_safe(tmp_path: Path) -> None:
    filled(tmp_path, 5)
    folder = CheckpointFolder(tmp_path)
    folder.begin()
    assert [int(file.name[:6]) for file in folder.files()] == [3, 4, 5]
    folder.save(content(1), 0, 1)
    assert [file.name for file in folder.files()] == ["000006-epoch0-iteration1.pt"]


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of a folder with three checkpoints."""
    folder = filled(tmp_path_factory.mktemp("three"), 3)
    return {file.name: file.read_bytes() for file in folder.path.iterdir()}


def copied(files: dict[str, bytes], path: Path) -> CheckpointFolder:
    for name, data in files.items():
        (path / name).write_bytes(data)
    return CheckpointFolder(path)


@settings(deadline=None, max_examples=200)
@given(data=st.data())
def test_any_flipped_bit_in_the_newest_is_noticed(three: dict[str, bytes], data: st.DataObject) -> None:
    newest = max(name for name in three if name.endswith(".pt"))
    bit = data.draw(st.integers(0, 8 * len(three[newest]) - 1))
    flipped = bytearray(three[newest])
    flipped[bit // 8] ^= 1 << bit % 8
    with tempfile.TemporaryDirectory() as name:
        folder = copied({**three, newest: bytes(flipped)}, Path(name))
        path, loaded, damaged = folder.load()
        assert number_in(loaded) == 2
        assert [file.name for file in damaged] == [newest]


def truncate(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-3])


def lengthen(file: Path) -> None:
    file.write_bytes(file.read_bytes() + b"\0")


def lose_checksum(file: Path) -> None:
    file.with_name(file.name + ".sha256").unlink()


def empty_checksum(file: Path) -> None:
    file.with_name(file.name + ".sha256").write_bytes(b"")


@pytest.mark.parametrize("spoil", [truncate, lengthen, lose_checksum, empty_checksum])
def test_other_damage_is_noticed_too(tmp_path: Path, spoil, three: dict[str, bytes]) -> None:
    folder = copied(three, tmp_path)
    spoil(folder.files()[-1])
    spoil(folder.files()[-2])
    path, loaded, damaged = folder.load()
    assert number_in(loaded) == 1 and len(damaged) == 2
    folder.save(content(4), 1, 4)
    assert number_in(folder.load()[1]) == 4


def test_what_a_kill_in_a_save_left_goes_with_the_next_save(tmp_path: Path) -> None:
    left = tmp_path / ".01234567-000002-epoch0-iteration2.pt.partial"
    left.mkdir()
    (left / "000002-epoch0-iteration2.pt").write_bytes(b"half")
    filled(tmp_path, 1)
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        "000001-epoch0-iteration1.pt", "000001-epoch0-iteration1.pt.sha256"
    ]  # fmt: skip


def test_none_that_is_whole_is_an_error(tmp_path: Path, three: dict[str, bytes]) -> None:
    folder = copied(three, tmp_path)
    for file in folder.files():
        truncate(file)
    with pytest.raises(InputError, match="expected a checkpoint that is whole but got 3 damaged"):
        folder.load()


@pytest.mark.parametrize("fails_at", [1, 2, 3, 4])
def test_a_kill_at_any_step_leaves_what_was_there_or_the_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails_at: int, three: dict[str, bytes]
) -> None:
    """A power cut between two steps: neither the steps after it nor any tidying up."""
    folder = copied(three, tmp_path)
    steps = iter(range(1, 100))

    def killed_at_its_turn(real):
        def step(*arguments, **options):
            if next(steps) >= fails_at:
                raise KeyboardInterrupt
            return real(*arguments, **options)

        return step

    monkeypatch.setattr(os, "replace", killed_at_its_turn(os.replace))  # of the checksum and the checkpoint
    monkeypatch.setattr(Path, "unlink", killed_at_its_turn(Path.unlink))  # of the oldest and its checksum
    with pytest.raises(KeyboardInterrupt):
        folder.save(content(4), 1, 4)
    path, loaded, damaged = CheckpointFolder(tmp_path).load()
    assert number_in(loaded) == (3 if fails_at <= 2 else 4) and not damaged


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"iteration1\.pt: cannot be written: (Not a directory|File exists)"):
        CheckpointFolder(tmp_path / "file").save(content(1), 0, 1)
