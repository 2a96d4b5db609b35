"""``nce`` and ``python -m monai.bundle run`` do the same, to the last bit."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from monai_nce.bundle_folder import bundle_folder
from monai_nce.phantom import write_phantom_dataset
from tests.tiny import TINY

NCE = [sys.executable, "-c", "import sys; from monai_nce.cli.app import main; sys.exit(main())"]
CONFIGS = bundle_folder() / "configs"


def run(*command: str) -> str:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def bundle(workflow: str, config: str, *flags: str) -> str:
    return run(sys.executable, "-m", "monai.bundle", "run", workflow, "--config_file", str(CONFIGS / config), *flags)


@pytest.mark.slow
def test_nce_and_the_bundle_write_the_same(tmp_path: Path) -> None:
    data = str(write_phantom_dataset(tmp_path / "data", patients=4, size=64, slices=4, progress=False))
    settings = {**TINY, **{f"{stage}#max_epochs": 1 for stage in ("classifier", "stage1", "stage2")}}
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"

    given = [f"{key}={value}" for key, value in settings.items()]
    said = run(*NCE, "train", "--data", data, "-o", str(ours), "--quiet", *given)
    assert said == f"trained separate; weights in {ours}/models\n"
    flags = [word for key, value in settings.items() for word in (f"--{key}", str(value))]
    bundle("training", "train.json", "--dataset_dir", data, "--output_dir", str(theirs), *flags)
    files = sorted(file.name for file in (theirs / "models").iterdir())
    assert files == sorted(file.name for file in (ours / "models").iterdir())
    for file in files:
        assert (ours / "models" / file).read_bytes() == (theirs / "models" / file).read_bytes(), file

    scan, weights = f"{data}/volumes/phantom_000_source.nii", f"{ours}/models/model.pt"
    run(*NCE, "enhance", scan, "-o", str(ours), "--weights", str(ours), "--no-report")
    bundle("inferring", "inference.json", "--input", scan, "--output_dir", str(theirs), "--checkpoint", weights)
    images = [nib.load(folder / "phantom_000_source_synthetic_cect.nii.gz") for folder in (ours, theirs)]
    mine, other = (np.asarray(image.dataobj) for image in images)
    np.testing.assert_array_equal(mine, other)
    assert mine.shape == (64, 64, 4) and np.ptp(mine) > 0
    np.testing.assert_array_equal(*(image.affine for image in images))
