"""Worker processes end with their parent."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from monai_nce.processes import end_with_parent

PARENT = """
import multiprocessing, os, signal, sys, time
from pathlib import Path
from monai_nce.processes import end_with_parent

def work(file):
    end_with_parent()
    Path(file).write_text(str(os.getpid()))
    time.sleep(60)

if __name__ == "__main__":
    multiprocessing.get_context("spawn").Process(target=work, args=(sys.argv[1],)).start()
    while not Path(sys.argv[1]).is_file() or not Path(sys.argv[1]).read_text():
        time.sleep(0.01)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_worker_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    script, file = tmp_path / "parent.py", tmp_path / "worker"
    script.write_text(PARENT)
    assert subprocess.run([sys.executable, str(script), str(file)], timeout=60).returncode == -9
    worker = Path("/proc") / file.read_text() / "stat"
    for _ in range(500):
        if not worker.exists() or worker.read_text().rpartition(")")[2].split()[0] == "Z":
            return
        time.sleep(0.01)
    pytest.fail("the worker is still there")


def test_a_process_without_such_a_parent_goes_on() -> None:
    end_with_parent()
