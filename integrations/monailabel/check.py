"""Ask a running MONAI Label server for an enhanced scan and a training, and compare with the bundle's ``inferring``."""

import argparse
import gzip
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import requests

from monai_nce.data.files.sha256 import file_sha256
from monai_nce.errors import InputError
from monai_nce.handlers.weights.state_file import read_state_dict
from monai_nce.phantom import write_phantom_dataset
from monai_nce.weights_store import find_weights

EXACT = {"backend": "torch", "precision": "fp32"}  # the same numbers in every process
START, INFERENCE, TRAINING = 180, 300, 420  # seconds to wait at most


def check_app(url: str, inferred: Path, data: Path, out: Path) -> None:
    """Check the app of this folder: what it says of itself, the scan ``ct``, wrong requests, and a training."""
    info = _started(url)
    models = {name: model["type"] for name, model in info["models"].items()}
    if models != {"nce": "others"} or list(info["trainers"]) != ["nce"] or info["scoring"]:
        raise InputError(f"/info/: expected one model of the type others, a trainer and no scoring but got {info}")
    shipped = _compare("nce", _infer(url, "nce", EXACT), inferred)
    for path, params, status in (
        ("nce?image=nobody", {}, 404),
        ("nce_trained?image=ct", {}, 404),
        ("nce?image=ct", {"stride": "many"}, 400),
    ):
        answer = _post(url, f"/infer/{path}", params)
        if answer.status_code != status or not answer.json().get("detail"):
            raise InputError(f"/infer/{path}: expected status {status} and why but got {answer.status_code}")
        print(f"/infer/{path}: {status}, {answer.json()['detail']}")

    write_phantom_dataset(data, patients=3, size=128, slices=3, seed=1, progress=False)
    request = {"dataset_dir": str(data), "epochs": 1, "init_weights": "default"}
    requests.post(f"{url}/train/nce", json=request, timeout=60).raise_for_status()
    task = _wait("training", TRAINING, lambda: _ended(url))
    if task["status"] != "DONE":
        raise InputError(f"/train/nce: expected DONE but got {task['status']}: {task['details'][-1]}")
    folder = out / "training" / "models"
    before, after = (read_state_dict(file) for file in (find_weights("default"), out / "model.pt"))
    moved = [key for key, value in before.items() if not np.array_equal(value.numpy(), after[key].numpy())]
    if not moved or file_sha256(out / "model.pt") != file_sha256(folder / "model.pt"):
        raise InputError(f"{out}: expected the training's weights, other than those that it started from")
    print(f"training: {task['start_ts']} to {task['end_ts']}, {len(moved)} of {len(before)} tensors changed")
    trained, said = _infer(url, "nce_trained", EXACT)
    same = np.array_equal(np.asanyarray(trained.dataobj), shipped)
    if same or said["weights_sha256"] != file_sha256(out / "model.pt"):
        raise InputError("nce_trained: expected the trained weights and their image but got others")
    if _infer(url, "nce", EXACT)[1]["weights_sha256"] != file_sha256(find_weights("default")):
        raise InputError("nce: expected the same weights as before the training but got others")
    trained.to_filename(out / "trained.nii.gz")


def check_trained(inferred: Path, out: Path) -> None:
    """Compare what ``nce_trained`` returned with ``inferring`` by the same weights."""
    _compare("nce_trained", (nib.load(out / "trained.nii.gz"), {}), inferred)


def check_stock(url: str, inferred: Path) -> None:
    """Check MONAI Label's own app for bundles: it returns the same scan."""
    _started(url)
    _compare("MONAI Label's monaibundle", _infer(url, "nce", {"device": "cpu"}), inferred)


def _compare(name: str, answer: tuple[Any, dict[str, Any]], inferred: Path) -> np.ndarray:
    """Expect float HU that are those of the file once they are rounded, and its affine; return them."""
    image, expected = answer[0], nib.load(inferred)
    hu = np.asanyarray(image.dataobj)
    if hu.dtype.kind != "f" or hu.shape != expected.shape or not np.allclose(image.affine, expected.affine, atol=1e-4):
        raise InputError(f"{name}: expected float HU on the grid of {inferred} but got {hu.dtype} {hu.shape}")
    apart = float(np.abs(np.rint(hu) - np.asanyarray(expected.dataobj)).max())
    if apart > 0:
        raise InputError(f"{name}: expected the HU of {inferred} but got up to {apart:g} HU more or less")
    print(f"{name}: {hu.dtype} {hu.shape}, rounded equal to the result of inferring")
    return hu


def _infer(url: str, model: str, params: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Return the image of the scan ``ct`` and what is said of it."""
    answer = _post(url, f"/infer/{model}?image=ct&output=image", params)
    said = _post(url, f"/infer/{model}?image=ct&output=json", params) if answer.ok else answer
    if not said.ok:
        raise InputError(f"/infer/{model}: expected status 200 but got {said.status_code}: {said.text}")
    return nib.Nifti1Image.from_bytes(_unpacked(answer.content)), said.json()


def _unpacked(content: bytes) -> bytes:
    return gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content


def _post(url: str, path: str, params: dict[str, Any]) -> requests.Response:
    return requests.post(url + path, data={"params": json.dumps(params)}, timeout=INFERENCE)


def _started(url: str) -> dict[str, Any]:
    def ask() -> dict[str, Any] | None:
        try:
            return requests.get(f"{url}/info/", timeout=30).json()
        except requests.ConnectionError:
            return None

    return _wait("start of the server", START, ask)


def _ended(url: str) -> dict[str, Any] | None:
    task = requests.get(f"{url}/train/", timeout=60).json()
    return task if task["status"] in ("DONE", "ERROR", "STOPPED") else None


def _wait(what: str, seconds: float, ask: Callable[[], dict[str, Any] | None]) -> dict[str, Any]:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if (answer := ask()) is not None:
            return answer
        time.sleep(1)
    raise InputError(f"{what}: expected within {seconds:g} s but it did not come")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("step", choices=["app", "trained", "stock"])
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    parser.add_argument("--inferred", type=Path, required=True, help="the same scan's result of inferring")
    parser.add_argument("--data", type=Path, help="app: folder for a data set to train on")
    parser.add_argument("--out", type=Path, help="app, trained: output_dir of the app")
    args = parser.parse_args(arguments)
    if args.step == "app":
        check_app(args.url, args.inferred, args.data, args.out)
    elif args.step == "trained":
        check_trained(args.inferred, args.out)
    else:
        check_stock(args.url, args.inferred)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except InputError as error:
        sys.exit(f"error: {error}")
