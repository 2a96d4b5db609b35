"""Train for MONAI Label, by the bundle's ``training`` as ``nce train`` starts it."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from monailabel.interfaces.datastore import Datastore
from monailabel.interfaces.tasks.train import TrainTask

from monai_nce.data.files.atomic import atomic_path
from monai_nce.errors import InputError


class BundleTrainTask(TrainTask):
    """Train all stages on a data set that ``nce prepare`` made; images of the datastore say nothing of contrast medium.

    The model ``nce_trained`` stays as it was until the training has ended.

    Args:
        dataset_dir: data set, unless the request names another one.
        output_dir: gets ``training``, and ``model.pt`` at its end.
    """

    def __init__(self, dataset_dir: str, output_dir: Path) -> None:
        super().__init__("Train on non-contrast and contrast-enhanced CT that need not be aligned")
        self.dataset_dir = dataset_dir
        self.output_dir = output_dir

    def config(self) -> dict[str, Any]:
        return {"dataset_dir": self.dataset_dir, "epochs": "", "init_weights": "", "resume": False}

    def __call__(self, request: dict[str, Any], datastore: Datastore) -> dict[str, Any]:
        """Train as ``request`` says: the keys of ``config``, and ``settings`` of the bundle as a list of KEY=VALUE.

        Raises:
            InputError: without a data set, or if the training fails, with the last line that it printed.
        """
        dataset_dir = request.get("dataset_dir") or self.dataset_dir
        if not dataset_dir:
            raise InputError("dataset_dir: expected a data set of nce prepare; see nce prepare --help")
        folder = self.output_dir / "training"
        command = [str(Path(sys.executable).with_name("nce")), "train", "--quiet"]
        command += ["--data", str(dataset_dir), "--output-dir", str(folder)]
        command += ["--resume" if request.get("resume") else "--overwrite"]
        for key in ("epochs", "init_weights"):
            if request.get(key):
                command += [f"--{key.replace('_', '-')}", str(request[key])]
        done = subprocess.run([*command, *request.get("settings", [])], stderr=subprocess.PIPE, text=True)
        print(done.stderr, end="")
        if done.returncode:
            *_, last = ["", *done.stderr.splitlines()]
            raise InputError(f"{folder}: no training, status {done.returncode}, {last}")
        with atomic_path(self.output_dir / "model.pt") as temporary:
            shutil.copyfile(folder / "models" / "model.pt", temporary)
        return {"weights": str(self.output_dir / "model.pt")}
