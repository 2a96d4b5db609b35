"""Whole volumes: from file to file by the bundle's inference against the forward passes that this takes."""

from __future__ import annotations

import copy
import shutil
import statistics
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.bundle import ConfigWorkflow
from torch import nn

from benchmarks.apart import Apart
from benchmarks.cell import CONFIGS
from benchmarks.forwards import HU, differences
from benchmarks.timing import faster, in_turns, spread
from monai_nce.data import evaluation_pairs, inference_items, read_ct, write_nifti_hu
from monai_nce.inferers import Runtime, SliceStackInferer
from monai_nce.inferers.slice_stack_inferer import even_batches, run_batches
from monai_nce.phantom import make_phantom_patient
from monai_nce.transforms import WindowHU, slice_stacks, stack_centres

__all__ = ["measure_strides", "measure_volume", "phantom_volume"]

BATCH = 8  # as in inference.json
SEVERAL = 3  # volumes
STRIDES = (1, 3)
MEMORY, FILES = "in memory", "file to file"  # how the whole of a volume is run


def phantom_volume(path: Path, size: int, slices: int, spacing: float) -> Path:
    """A phantom patient's scan without contrast medium as ``.nii.gz``, where it is not there yet.

    Args:
        path: of the file.
        size: pixels along both in-plane axes.
        slices: of the volume.
        spacing: in-plane, in mm.
    """
    if not path.is_file():
        patient = make_phantom_patient(0, size=size, slices=slices)
        write_nifti_hu(path, patient.nect, np.diag([spacing, spacing, 2.5, 1.0]))
    return path


def _inference(image: Path, folder: Path, network: nn.Module, /, **overrides: Any) -> Callable[[], None]:
    """The bundle's inference by a network, to be run again and again."""
    workflow = ConfigWorkflow(
        config_file=str(CONFIGS / "inference.json"),
        workflow_type="inference",
        logging_file=False,
        run_id="inferring",
        input=str(image),
        output_dir=str(folder),
        network_def=copy.deepcopy(network),
        spacing=1.3333,
        **{"inferer#progress": False, "handlers#0#_disabled_": True},
        **overrides,
    )
    workflow.initialize()

    def run() -> None:
        inference_items(image, folder)  # as each run lists its input, which a workflow that runs again does not
        workflow.run()

    return run


def _eager(
    network: nn.Module, intensity: torch.Tensor, image: Path, checkpoint: Path, folder: Path, device: torch.device
) -> Callable[[str], None]:
    """All stacks of a volume by PyTorch as it is, without the bundle's settings: in memory, or from file to file."""
    network = network.to(device=device, memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    intensity = intensity.to(device)
    plain: dict[str, Any] = {"network": "$@network_def.to(@device)", "inferer#runtime": None, "initialize": []}
    inference = _inference(image, folder, network, checkpoint=str(checkpoint), **plain)

    def work(how: str) -> None:
        if how == FILES:
            inference()
        else:
            with torch.inference_mode():
                SliceStackInferer(batch_size=BATCH)(intensity, network)
        _wait(device)

    return work


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def measure_volume(
    network: nn.Module, image: Path, checkpoint: Path, folder: Path, backend: str, precision: str, rounds: int
) -> dict[str, Any]:
    """File to file against forward passes, with stride 1 and 3; and against eager PyTorch in fp32 with stride 1.

    Eager PyTorch has a process of its own, without the bundle's allocator settings, where the bundle runs the network
    as it is. Passes in memory are compared with its passes, files with its files. A file-to-file round is what
    ``python -m monai.bundle run`` does once libraries and weights are loaded: list, read and check, preprocess, run,
    go back to the scan's grid, write, draw; of one volume, and of several with the next one read and the last one
    finished meanwhile. The forward passes are those of the same backend on the volume's stacks in memory.

    Args:
        network: the paper's, with the weights of ``checkpoint``, on the device to measure.
        image: a volume at the network's spacing.
        checkpoint: file of the weights.
        folder: for the results.
        backend: the fastest, by name.
        precision: its number format.
        rounds: turns of each.

    Returns:
        Seconds of everything a volume, ``over_forwards``, how many times faster than eager each is, and per stride how
        far ``off`` the backend's volume is from the network's own with that stride, in HU.
    """
    device = next(network.parameters()).device
    volume, _ = read_ct(image)
    intensity = WindowHU()(torch.from_numpy(np.asarray(volume)).float()[None, None]).to(device)
    runtime = Runtime(backend, precision, checkpoint)
    depth = intensity.shape[4]
    ready = runtime.prepare(network, slice_stacks(intensity[0], centres=[depth // 2]), BATCH)

    def forwards(batches: Sequence[torch.Tensor]) -> None:
        for _ in run_batches(ready, batches, ready.workers, ready.threads):
            pass
        _wait(device)

    several = folder / "several"
    several.mkdir(parents=True, exist_ok=True)
    for index in range(SEVERAL):
        shutil.copy(image, several / f"{index}_{image.name}")
    off: dict[str, Any] = {}
    candidates: dict[str, Any] = {}
    for stride in STRIDES:
        settings = {"checkpoint": str(checkpoint), "stride": stride, "backend": backend, "precision": precision}
        stacks = slice_stacks(intensity[0], centres=stack_centres(depth, stride=stride))
        batches = [torch.stack(list(batch)) for batch in even_batches(list(stacks), BATCH, ready.sharing)]
        candidates[f"forwards, stride {stride}"] = partial(forwards, batches)
        candidates[f"{FILES}, stride {stride}"] = _inference(image, folder / "one", network, **settings)
        off[f"stride {stride}"] = _differences_of_volumes(network, intensity, stride, runtime)
        candidates[f"each of {SEVERAL}, stride {stride}"] = _inference(several, folder / "all", network, **settings)
    eager_in, eager_files = (f"eager fp32, stride 1, {how}" for how in (MEMORY, FILES))
    inputs = copy.deepcopy(network).cpu(), intensity.cpu(), image, checkpoint, folder / "eager", device
    with Apart(_eager, *inputs) as eager:
        everything = {eager_in: partial(eager, MEMORY), eager_files: partial(eager, FILES), **candidates}
        times = in_turns(everything, rounds)
    for name in times:
        if name.startswith("each of"):
            times[name] = [seconds / SEVERAL for seconds in times[name]]
    return {
        "volume": list(intensity.shape[2:]),
        "backend": f"{backend} {precision}",
        "seconds": {name: spread(values) for name, values in times.items()},
        "faster_than_eager": {
            name: faster(times[eager_in if name.startswith("forwards") or name == eager_in else eager_files], values)
            for name, values in times.items()
        },
        "over_forwards": {
            name: spread([whole / passes for whole, passes in zip(values, times[f"forwards, {strided}"], strict=True)])
            for name, values in times.items()
            if (strided := name.partition(", ")[2]) and name.startswith((FILES, "each"))
        },
        "off": off,
    }


def _differences_of_volumes(
    network: nn.Module, intensity: torch.Tensor, stride: int, runtime: Runtime
) -> dict[str, float]:
    """What a number format does to a volume, where predictions of neighbouring stacks are averaged."""
    with torch.inference_mode():
        expected, got = (
            SliceStackInferer(batch_size=BATCH, stride=stride, runtime=how)(intensity, network)
            for how in (None, runtime)
        )
    return differences(expected, got)


def measure_strides(network: nn.Module, items: list[dict[str, Any]]) -> dict[str, Any]:
    """What a stride costs: the error against the aligned truth, on test patients.

    Args:
        network: trained, from source to target.
        items: of the data set, as ``read_datalist`` gives them.

    Returns:
        Per stride the MSE on [-1, 1], mean over the patients, and the mean absolute difference from stride 1 in HU.
    """
    window = WindowHU()
    errors: dict[int, list[float]] = {1: [], 2: [], 3: []}
    moved: dict[int, list[float]] = {1: [], 2: [], 3: []}
    pairs = [pair for pair in evaluation_pairs(items) if pair["aligned"]]
    for pair in pairs:
        hu = [torch.from_numpy(np.asarray(read_ct(pair[key])[0])).float() for key in ("image", "label")]
        source, target = (window(volume[None, None]) for volume in hu)
        with torch.inference_mode():
            predictions = {stride: SliceStackInferer(stride=stride)(source, network) for stride in errors}
        for stride, prediction in predictions.items():
            errors[stride].append(float((prediction - target).square().mean()))
            moved[stride].append(float((prediction - predictions[1]).abs().mean()) * HU)
    means = {
        str(stride): {"mse": statistics.mean(errors[stride]), "mean_hu_from_stride_1": statistics.mean(moved[stride])}
        for stride in errors
    }
    return {"patients": len(pairs), "strides": means}
