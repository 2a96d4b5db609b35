"""One cell of Table 1: a method trained and evaluated on one data set with one seed, in a process of its own.

    python -m benchmarks.cell SPEC.json

:mod:`benchmarks.table1` starts these. A cell uses the bundle's own workflows and nothing else, so whatever it gives can
be had from the command line too. Stopped and started again, it goes on after its last complete epoch.
"""

from __future__ import annotations

import json
import os
import re
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from monai.bundle import ConfigWorkflow

from monai_nce.data import write_json
from monai_nce.errors import find_input_error
from monai_nce.phantom import ensure_phantom_dataset

__all__ = ["CONFIGS", "RESULT", "folder_name", "main", "parse_folder_name", "prepare", "train_and_evaluate"]

CONFIGS = Path(__file__).parents[1] / "bundles" / "nce" / "configs"
RESULT = "cell.json"  # written last: where it is, the cell is finished
FOLDER = re.compile(r"(?P<method>[a-z0-9]+)(_k(?P<distortion>[0-9.e-]+))?_s(?P<seed>[0-9]+)")


def folder_name(method: str, distortion: float | None, seed: int) -> str:
    """The name of a cell's folder, such as ``joint_k0.05_s0``."""
    return "_".join([method, *([] if distortion is None else [f"k{distortion:g}"]), f"s{seed}"])


def parse_folder_name(name: str) -> tuple[str, float | None, int] | None:
    """Method, distortion and seed of the cell whose folder has this name; None if it is no cell's."""
    found = FOLDER.fullmatch(name)
    if found is None:
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
    MAKERS[kind](out_dir, **settings)


def _ixi(out_dir: Path, **settings: Any) -> None:
    from data_prep.ixi import prepare_ixi

    t2, pd = (Path(settings.pop(key)) for key in ("t2", "pd"))
    prepare_ixi(t2, pd, out_dir, **settings)


def _ixi_like(out_dir: Path, **settings: Any) -> None:
    # here and not above: what it needs, nilearn, is an extra
    from data_prep.ixi_like import write_ixi_like_dataset

    write_ixi_like_dataset(out_dir, **settings)


def _registered(out_dir: Path, **settings: Any) -> None:
    from data_prep.register import register_dataset

    register_dataset(Path(settings.pop("dataset_dir")), out_dir, **settings)


MAKERS: dict[str, Callable[..., Any]] = {
    "phantom": ensure_phantom_dataset,
    "ixi": _ixi,
    "ixi-like": _ixi_like,
    "registered": _registered,
}


def train_and_evaluate(
    configs: list[str], overrides: Mapping[str, Any], dataset_dir: str, out_dir: Path, seed: int
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
    given = {**overrides, "dataset_dir": dataset_dir, "output_dir": str(out_dir), "seed": seed}
    resumed = (out_dir / "checkpoints").exists()
    start = time.monotonic()
    _run(configs, {**given, "resume": True}, "training")
    seconds = None if resumed else time.monotonic() - start
    _run([*configs, "evaluate"], {**given, "checkpoint": str(out_dir / "models" / "model.pt")}, "evaluating")
    return {"seconds": seconds, "metrics": json.loads((out_dir / "metrics.json").read_text(encoding="utf-8"))}


def _run(configs: list[str], overrides: Mapping[str, Any], run_id: str) -> None:
    workflow = ConfigWorkflow(
        config_file=[str(CONFIGS / f"{name}.json") for name in configs],
        workflow_type="train",
        logging_file=False,
        run_id=run_id,
        **overrides,
    )
    workflow.initialize()
    workflow.run()
    workflow.finalize()


def main(path: str) -> int:
    """Do what a specification says.

    Args:
        path: of a JSON file with either ``prepare``, arguments of :func:`prepare`, or ``train``, arguments of
            :func:`train_and_evaluate`; ``threads``, of PyTorch, 0 for its own choice; and ``parent``, the process with
            which this one ends.

    Returns:
        The exit code: 2 for wrong input, which is said in one line.
    """
    spec = json.loads(Path(path).read_text(encoding="utf-8"))
    if "parent" in spec:
        _end_with_parent(spec["parent"])
    if spec["threads"]:
        torch.set_num_threads(spec["threads"])
    try:
        if "prepare" in spec:
            prepare(spec["prepare"]["kind"], Path(spec["prepare"]["out_dir"]), spec["prepare"]["settings"])
        else:
            out_dir = Path(spec["train"]["out_dir"])
            result = train_and_evaluate(**{**spec["train"], "out_dir": out_dir})
            write_json(out_dir / RESULT, {"spec": spec["train"], **result})
    except Exception as error:
        cause = find_input_error(error)
        if cause is None:
            raise
        print(f"error: {cause}", file=sys.stderr)
        return 2
    return 0


def _end_with_parent(parent: int) -> None:
    """Leave when the table's process is gone, even by SIGKILL: it may be started again, and train this cell anew.

    Args:
        parent: its process id. Asked for here, it could be another's: the table may end while this process still loads.
    """

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
