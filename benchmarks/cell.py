"""Train and evaluate one cell of Table 1, or make one of its data sets, in a process of its own.

    python -m benchmarks.cell SPEC.json

:mod:`benchmarks.table1` starts these. A cell runs the bundle's own workflows with nothing added but paths, seed and
method, so the command line gives the same. Stopped and started again, it goes on where it was.
"""

from __future__ import annotations

import json
import os
import re
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from monai.bundle import ConfigWorkflow

from monai_nce.data import write_json
from monai_nce.errors import find_input_error
from monai_nce.phantom import ensure_phantom_dataset

__all__ = ["CONFIGS", "RESULT", "folder_name", "main", "parse_folder_name", "prepare", "train_and_evaluate"]

CONFIGS = Path(__file__).parents[1] / "bundles" / "nce" / "configs"
RESULT = "cell.json"  # written last: where it is, the cell is finished
FOLDER = re.compile(r"(?P<method>[a-z0-9]+)(_k(?P<distortion>[0-9.e-]+))?_s(?P<seed>[0-9]+)")


def folder_name(method: str, distortion: float | None, seed: int) -> str:
    """Name a cell's folder, such as ``joint_k0.05_s0``."""
    return "_".join([method, *([] if distortion is None else [f"k{distortion:g}"]), f"s{seed}"])


def parse_folder_name(name: str) -> tuple[str, float | None, int] | None:
    """Read method, distortion and seed from the name of a cell's folder; None if it is no cell's."""
    if (found := FOLDER.fullmatch(name)) is None:
        return None
    k = found["distortion"]
    return found["method"], None if k is None else float(k), int(found["seed"])


def prepare(kind: str, out_dir: Path, settings: Mapping[str, Any]) -> None:
    """Make a data set where it is not there yet.

    Args:
        kind: ``phantom``, ``ixi``, ``ixi-like`` or ``registered``.
        out_dir: folder of the data set.
        settings: arguments of the function that makes it.
    """
    if (out_dir / "datalist.json").exists():
        return
    given = {**settings, **{key: Path(settings[key]) for key in ("t2", "pd") if key in settings}}
    if kind == "phantom":
        ensure_phantom_dataset(out_dir, **given)
    elif kind == "ixi":
        from data_prep.ixi import prepare_ixi

        prepare_ixi(out_dir=out_dir, **given)
    elif kind == "ixi-like":
        from data_prep.ixi_like import write_ixi_like_dataset  # needs nilearn, an extra

        write_ixi_like_dataset(out_dir, **given)
    else:
        from data_prep.register import register_dataset

        register_dataset(out_dir=out_dir, **given)


def train_and_evaluate(
    configs: list[str], overrides: Mapping[str, Any], dataset_dir: str, out_dir: str, seed: int
) -> dict[str, Any]:
    """Train with the bundle's ``training`` and evaluate with its ``evaluating``.

    Args:
        configs: names of the configuration files, ``train`` first.
        overrides: of their keys.
        dataset_dir: data set to train on and to evaluate on.
        out_dir: for weights, checkpoints and ``metrics.json``.
        seed: of the training.

    Returns:
        ``seconds`` that the training took, None where it was stopped in between, and ``metrics``, the file's content.
    """
    given = {**overrides, "dataset_dir": dataset_dir, "output_dir": out_dir, "seed": seed}
    resumed = Path(out_dir, "checkpoints").exists()
    start = time.monotonic()
    _run(configs, {**given, "resume": True}, "training")
    seconds = None if resumed else time.monotonic() - start
    _run([*configs, "evaluate"], {**given, "checkpoint": str(Path(out_dir, "models", "model.pt"))}, "evaluating")
    return {"seconds": seconds, "metrics": json.loads(Path(out_dir, "metrics.json").read_text(encoding="utf-8"))}


def _run(configs: list[str], overrides: Mapping[str, Any], run_id: str) -> None:
    files = [str(CONFIGS / f"{name}.json") for name in configs]
    workflow = ConfigWorkflow(files, workflow_type="train", logging_file=False, run_id=run_id, **overrides)
    workflow.initialize()
    workflow.run()
    workflow.finalize()


def main(path: str) -> int:
    """Do what a specification says. Returns 2 for wrong input, which is said in one line, else 0.

    Args:
        path: of a JSON file with either ``prepare``, arguments of :func:`prepare`, or ``train``, arguments of
            :func:`train_and_evaluate`; and ``parent``, the process with which this one ends.
    """
    spec = json.loads(Path(path).read_text(encoding="utf-8"))
    if "parent" in spec:
        threading.Thread(target=_end_with, args=(spec["parent"],), daemon=True).start()
    try:
        if "prepare" in spec:
            prepare(**{**spec["prepare"], "out_dir": Path(spec["prepare"]["out_dir"])})
        else:
            result = train_and_evaluate(**spec["train"])
            write_json(Path(spec["train"]["out_dir"], RESULT), {"spec": spec["train"], **result})
    except Exception as error:
        if (cause := find_input_error(error)) is None:
            raise
        print(f"error: {cause}", file=sys.stderr)
        return 2
    return 0


def _end_with(parent: int) -> None:
    """Leave when the table's process is gone, even by SIGKILL: it may be started again, and train this cell anew."""
    while os.getppid() == parent:  # compared with the table's own id, which may be gone before this process is there
        time.sleep(0.5)
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
