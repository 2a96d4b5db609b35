from __future__ import annotations

import copy
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from monai_nce.errors import InputError
from monai_nce.handlers import StageLog, stage_log


def write(folder: Path, steps: range, value: float, after: int | None = None) -> None:
    log = StageLog(str(folder))
    if after is not None:
        log.go_on(after)
    for step in steps:
        log.add_scalar("loss", value, step)
    log.close()


def test_what_came_after_the_checkpoint_is_hidden(tmp_path: Path) -> None:
    write(tmp_path, range(1, 9), 1.0)
    write(tmp_path, range(7, 12), 2.0, after=6)
    events = EventAccumulator(str(tmp_path)).Reload().Scalars("loss")
    assert [event.step for event in events] == list(range(1, 12))
    assert [event.value for event in events] == [1.0] * 6 + [2.0] * 5


def test_nothing_is_made_before_something_is_written(tmp_path: Path) -> None:
    copy.copy(StageLog(str(tmp_path / "log")))
    assert not (tmp_path / "log").exists()


def test_rank_0_alone_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage_log, "is_main_process", lambda: False)
    write(tmp_path / "log", range(3), 1.0)
    assert not (tmp_path / "log").exists()


FULL_DISK = """
import resource, signal, sys
from monai_nce.errors import InputError
from monai_nce.handlers import StageLog
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # then a file that grows too large is an error
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
log = StageLog(sys.argv[1])
try:
    for step in range(1000):
        log.add_scalar("loss", 1.0, step)
        log.flush()
except InputError as error:
    print(step > 10, error)
"""


def test_a_full_disk_is_one_line(tmp_path: Path) -> None:
    command = [sys.executable, "-c", FULL_DISK, str(tmp_path / "log")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env={**os.environ, "PYTHONPATH": "."})
    assert done.stdout == (
        f"True {tmp_path / 'log'}: cannot be written: File too large; make room and go on with --resume True\n"
    )
    assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="file/log: cannot be written: Not a directory"):
        write(tmp_path / "file" / "log", range(1), 1.0)
