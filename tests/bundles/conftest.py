"""A data set and networks small enough to run the whole bundle in seconds."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from monai.bundle import ConfigWorkflow

from monai_nce.data.nifti.writer import write_nifti_labels
from monai_nce.phantom import write_phantom_dataset
from tests.tiny import TINY

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def bundle() -> Path:
    return REPOSITORY / "bundles" / "nce"


@pytest.fixture(scope="session")
def tiny_dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_phantom_dataset(
        tmp_path_factory.mktemp("tiny") / "phantom", patients=4, size=64, slices=4, progress=False
    )
    content = json.loads((folder / "datalist.json").read_text())
    for item in content["training"]:  # as if the sources had been registered to synthetic ones
        shutil.copy(folder / item["aligned_source"], folder / f"volumes/{item['patient']}_synthetic_source.nii")
        mask = np.ones((64, 64, 4))
        mask[20:30, 20:30] = 0
        affine = nib.load(folder / item["source"]).affine
        write_nifti_labels(folder / f"volumes/{item['patient']}_mask.nii", mask, affine)
        item |= {role: f"volumes/{item['patient']}_{role}.nii" for role in ("synthetic_source", "mask")}
    (folder / "datalist.json").write_text(json.dumps(content))
    return folder


@pytest.fixture
def tiny(tiny_dataset: Path, tmp_path: Path) -> dict:
    """Overrides of train.json: one epoch a stage on four patients of 64 x 64 x 4."""
    return {
        "dataset_dir": str(tiny_dataset),
        "output_dir": str(tmp_path / "out"),
        **TINY,
        "classifier#trainer#max_epochs": 1,
        "stage1#trainer#max_epochs": 1,
        "train#trainer#max_epochs": 1,
    }


@pytest.fixture
def evaluate(bundle: Path, tiny: dict):
    """Run the bundle's ``evaluating`` on the tiny data set, with further overrides; returns the output folder."""

    def run(**overrides) -> Path:
        workflow = ConfigWorkflow(
            config_file=[str(bundle / "configs" / f"{name}.json") for name in ("train", "evaluate")],
            workflow_type="train",
            logging_file=False,
            run_id="evaluating",
            **{**tiny, **overrides},
        )
        workflow.initialize()
        workflow.run()
        return Path(tiny["output_dir"])

    return run


@pytest.fixture
def run_bundle():
    """``python -m monai.bundle run`` as a person types it; returns the finished process.

    With ``kill_when``, it gets a SIGKILL as soon as that returns true.
    """

    def run(*arguments: str, cwd: Path = REPOSITORY, launcher: tuple[str, ...] = (), kill_when=None, **overrides):
        command = [sys.executable, "-m", *launcher, "monai.bundle", "run", *arguments]
        for key, value in overrides.items():
            command += [f"--{key}", str(value)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY)}
        if kill_when is None:
            return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=600)
        with subprocess.Popen(command, cwd=cwd, env=environment, stderr=subprocess.DEVNULL) as process:
            while process.poll() is None and not kill_when():
                time.sleep(0.01)
            process.kill()
        return process

    return run


@pytest.fixture(scope="session")
def infer(bundle: Path):
    """Runs the inference in this process; exactly, unless the overrides name another backend or precision."""

    def run(path, output_dir: Path, **overrides: object) -> ConfigWorkflow:
        workflow = ConfigWorkflow(
            config_file=str(bundle / "configs" / "inference.json"),
            workflow_type="inference",
            logging_file=False,
            input=str(path),
            output_dir=str(output_dir),
            **{"backend": "torch", "precision": "fp32", **overrides},
        )
        workflow.initialize()
        workflow.run()
        return workflow

    return run
