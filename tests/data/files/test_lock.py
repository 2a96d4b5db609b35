from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from monai_nce.data.files.lock import Timeout, lock_folder

# Locks a folder, forks a process that outlives it by far, says so, and waits to be killed.
HOLDER = """
import os, sys, time
from pathlib import Path
from monai_nce.data.files.lock import lock_folder
lock = lock_folder(Path(sys.argv[1]))
if os.fork():
    print("locked", flush=True)
os.close(1)
time.sleep(20)
"""


def test_a_killed_process_lets_go_although_what_it_forked_lives_on(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": "."}) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == "locked\n"
        with pytest.raises(Timeout):
            lock_folder(tmp_path)
        holder.kill()
        holder.wait()
        lock_folder(tmp_path).release()


def test_a_process_may_lock_again_only_where_it_says_so(tmp_path: Path) -> None:
    held = lock_folder(tmp_path, reentrant=True)
    again = lock_folder(tmp_path, reentrant=True)
    held.release()
    with pytest.raises(Timeout):
        lock_folder(tmp_path)
    again.release()
    lock_folder(tmp_path).release()


def test_a_folder_that_cannot_be_written_to_is_said(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        lock_folder(tmp_path / "none")
