"""Preparations by ``torchrun``: two processes on one machine stand for any number on machines with a shared folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from data_prep.__main__ import main
from data_prep.parallel import gather, others_end_on_error, share
from monai_nce.data.dataset.datalist import read_datalist
from monai_nce.data.nifti.writer import write_nifti_hu
from tests.data_prep.dicom_samples import AFFINE, HU

Add = Callable[..., Path]
ROOT = Path(__file__).resolve().parents[2]
SMALL = ["--size", "32", "--spacing", "10", "--min-slices", "5"]


def two_processes(*options: object, program: tuple[str, ...] = ("-m", "data_prep")) -> subprocess.CompletedProcess[str]:
    launcher = ("torch.distributed.run", "--standalone", "--nproc_per_node=2")
    return subprocess.run(
        [sys.executable, "-m", *launcher, *program, *map(str, options)],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_a_process_alone_has_all_the_work_and_nobody_to_wait_for() -> None:
    assert share(["a", "b"]) == ["a", "b"]
    assert gather("c") == ["c"]
    with pytest.raises(KeyError), others_end_on_error():
        raise KeyError


def test_what_is_not_shared_is_left_to_the_first_process(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    write_nifti_hu(tmp_path / "in.nii.gz", HU, AFFINE)
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert main(["convert", str(tmp_path / "in.nii.gz"), "-o", str(tmp_path / "out.nii.gz")]) == 0
    named = ["--nect", str(tmp_path), "--cect", str(tmp_path), "--out-dir", str(tmp_path / "set")]
    assert main(["ct", *named]) == 0
    assert os.listdir(tmp_path) == ["in.nii.gz"]


@pytest.mark.slow
def test_two_processes_inspect_what_one_does(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a", "b", "c"):
        write_nifti_hu(tmp_path / f"{name}.nii.gz", HU, AFFINE)
    (tmp_path / "b.nii.gz").write_bytes(b"broken")
    done = two_processes("inspect", tmp_path, "--json")
    assert main(["inspect", str(tmp_path), "--json"]) == done.returncode == 0
    out, err = capsys.readouterr()
    assert json.loads(done.stdout) == json.loads(out) and len(json.loads(out)) == 3
    assert err.strip() and err.strip() in done.stderr
    # nothing there: both end, and rank 0 alone says why
    (tmp_path / "empty").mkdir()
    done = two_processes("inspect", tmp_path / "empty")
    assert done.returncode == 1 and done.stderr.count("no image found") == 1
    assert done.stderr.count("Traceback") == 0 or "ChildFailedError" in done.stderr


SEEN_AT_THE_END = """
import atexit, os
from tests.gloo_threads import gloo_threads
# in one piece, as print is not where torchrun starts Python unbuffered: the other process writes to the same pipe
atexit.register(lambda: os.write(1, f"left behind: {len(gloo_threads())}\\n".encode()))
from data_prep.parallel import gather, share
from monai_nce.distributed import rank
assert share(["a", "b"]) == ["ab"[rank()]]
assert gather(rank()) == [0, 1] and gloo_threads()
"""


@pytest.mark.slow
def test_no_thread_is_left_to_an_interpreter_that_ends(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SEEN_AT_THE_END)
    done = two_processes(program=(str(tmp_path / "script.py"),))
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("left behind: 0") == 2


def content(folder: Path) -> dict[str, Any]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}


@pytest.mark.slow
def test_two_processes_make_the_data_set_that_one_makes(add_series: Add, tmp_path: Path) -> None:
    """Five patients of whom one is left out, by each process some; and again after a run that was killed."""
    for study in range(1, 6):
        add_series(f"s/{study}/a", "nativ", f"DOE-{study}", study=study)
        if study != 2:  # one that the second process has to leave out
            add_series(f"s/{study}/b", "portal", f"DOE-{study}", enhanced=True, study=study)
    options = ["--studies", str(tmp_path / "s"), *SMALL, "--out-dir"]
    assert main(["ct", *options, str(tmp_path / "one")]) == 0
    done = two_processes("ct", *options, tmp_path / "two")
    assert done.returncode == 0, done.stderr[-3000:]
    assert content(tmp_path / "two") == content(tmp_path / "one")
    assert len(read_datalist(tmp_path / "two", require=["source", "target"])) == 4
    assert done.stderr.count("pair_001: left out") == 1 and done.stdout.count("ct: 4 pairs") == 1
    # where one has been before, both processes end without touching it, and one line says why
    done = two_processes("ct", *options, tmp_path / "two")
    assert done.returncode != 0 and done.stderr.count("error: ") == 1 and "--overwrite" in done.stderr
    assert content(tmp_path / "two") == content(tmp_path / "one")
