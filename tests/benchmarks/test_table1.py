"""The table's command: what it plans, what it refuses, and that nothing is lost when it is stopped."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks.table1 import main
from monai_nce.errors import InputError
from monai_nce.phantom import write_phantom_dataset

REPOSITORY = Path(__file__).parents[2]
TINY = [
    "batch_size=2",
    "network_def#channels=[8, 8]",
    "network_def#hidden_channels=8",
    "discriminator_def#channels=[8, 8]",
    "domain_classifier_def#channels=[4, 4, 8, 8, 8]",
    "classifier#max_epochs=1",
    "stage1#max_epochs=1",
    "stage2#max_epochs=1",
]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_phantom_dataset(
        tmp_path_factory.mktemp("table") / "set", patients=4, size=64, slices=4, progress=False
    )


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--methods", "pix2pix"], "method: expected some of identity, unregistered, .* but got 'pix2pix'"),
        (["--data", "ixi-like", "--distortions", "-0.01"], "distortion: expected 0 or more.* but got -0.01"),
        (["--data", "ixi-like", "--distortions", "nan"], "distortion: expected 0 or more.* but got nan"),
        (["--preset", "medium"], "preset: expected one of small, paper but got 'medium'"),
        (["--methods", "identity"], "at least one method besides identity"),
        (["--data", "ixi"], "name the T2 and PD scans"),
        (["--data", "/no/such/folder"], "/no/such/folder: no such data set folder"),
        (["--set", "batch_size"], "expected KEY=VALUE but got 'batch_size'"),
    ],
)
def test_wrong_input_gets_one_line_and_writes_nothing(arguments, line, tmp_path, capsys):
    out_dir = tmp_path / "out"
    assert main([*arguments, "--out-dir", str(out_dir)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    with pytest.raises(InputError, match=line):
        raise InputError(error)
    assert not out_dir.exists()


def start(dataset: Path, out_dir: Path, *arguments: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "benchmarks.table1", "--data", str(dataset), "--out-dir", str(out_dir)]
    return subprocess.Popen(
        [*command, *arguments, "--jobs", "1", "--set", *TINY],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.slow
def test_a_killed_table_goes_on_where_it_was(dataset, tmp_path, capsys):
    out_dir = tmp_path / "out"
    methods = ("--methods", "unregistered", "oracle")
    running = start(dataset, out_dir, *methods)
    last = out_dir / "cells" / "oracle_s0" / "checkpoints" / "classifier"
    deadline = time.monotonic() + 300
    while not any(last.glob("*.pt")) and running.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    running.send_signal(signal.SIGKILL)
    running.wait()
    assert any(last.glob("*.pt")), running.stderr.read()
    first = out_dir / "cells" / "unregistered_s0" / "cell.json"
    finished = first.stat().st_mtime_ns
    assert not (out_dir / "cells" / "oracle_s0" / "cell.json").exists()
    time.sleep(2)  # the orphaned cell notices and leaves
    before = {file: file.stat().st_mtime_ns for file in out_dir.rglob("*") if file.is_file()}
    time.sleep(2)
    assert {file: file.stat().st_mtime_ns for file in out_dir.rglob("*") if file.is_file()} == before

    assert main(["--data", str(dataset), "--out-dir", str(out_dir), *methods, "--set", *TINY]) == 2
    assert "holds cells already" in capsys.readouterr().err
    resumed = start(dataset, out_dir, *methods, "--resume")
    output, error = resumed.communicate(timeout=600)
    assert resumed.returncode == 0, error
    assert first.stat().st_mtime_ns == finished  # not trained again
    assert "is finished" in (out_dir / "cells" / "oracle_s0" / "log.txt").read_text()
    table = json.loads((out_dir / "table1.json").read_text())
    assert [row["method"] for row in table["rows"]] == ["identity", "unregistered", "oracle"]
    assert set(table) >= {"data", "preset", "hardware", "rows"}
    for row in table["rows"]:
        assert row["mse"]["low"] is None or row["mse"]["low"] <= row["mse"]["mean"] <= row["mse"]["high"]
    assert "| **" not in output or "Table 1" in output
    assert {file.name for file in out_dir.iterdir()} >= {"table1.json", "table1.md"}


@pytest.mark.slow
def test_a_failing_cell_is_named_and_the_others_finish(dataset, tmp_path):
    out_dir = tmp_path / "out"
    (out_dir / "cells").mkdir(parents=True)
    (out_dir / "cells" / "oracle_s0").write_text("in the way")
    running = start(dataset, out_dir, "--methods", "separate", "oracle", "--resume")
    output, error = running.communicate(timeout=600)
    assert running.returncode == 1
    assert "oracle_s0: " in error
    assert [row["method"] for row in json.loads((out_dir / "table1.json").read_text())["rows"]] == [
        "identity",
        "separate",
    ]
