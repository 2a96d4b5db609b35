"""The notebooks run from their first cell to their last."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))
REAL = "NCE_REAL_DATA"


@pytest.mark.slow
@pytest.mark.parametrize("name", [*(path.name for path in NOTEBOOKS), "enhance_and_judge.ipynb on a real scan"])
def test_a_notebook_runs(name: str) -> None:
    name, _, real = name.partition(" ")
    if real and REAL not in os.environ:
        pytest.skip(f"{REAL} is not set")
    environment = {key: value for key, value in os.environ.items() if real or key != REAL}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--nbmake", f"docs/notebooks/{name}"]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**environment, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_kept_without_its_outputs(path: Path) -> None:
    assert '"output_type"' not in path.read_text(encoding="utf-8")
