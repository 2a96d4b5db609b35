"""Look at what ``nce`` needs of a machine: packages, processor, GPU, decoders, disk, memory, weights, speed."""

from __future__ import annotations

import os
import platform
import shlex
import shutil
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

import monai_nce
from monai_nce.bundle_folder import bundle_folder
from monai_nce.cli.run_bundle import count_cores
from monai_nce.errors import fault_text
from monai_nce.weights_store import DEFAULT, find_weights, named_weights, store_folder

__all__ = ["CHECKS", "MISSING", "OK", "WARNING", "Finding", "check_speed", "findings"]

OK, WARNING, MISSING = "ok", "warning", "missing"
TOLD = ("torch", "monai", "pytorch-ignite", "itk", "SimpleITK", "nibabel", "numpy", "openvino", "pydicom")
FASTER = {"amx_bf16": "AMX", "avx512_bf16": "AVX512-BF16", "avx512_vnni": "AVX512-VNNI", "avx_vnni": "AVX-VNNI"}
FREE_DISK, FREE_MEMORY = 2e9, 4e9  # bytes, below which it warns
BUSY = 0.5  # of the cores, by other programs


class Finding(NamedTuple):
    """Tell what was found of one thing."""

    name: str
    status: str
    text: str


def findings(checks: dict[str, Callable[[], Iterator[Finding]]]) -> Iterator[Finding]:
    """Yield what checks find; one that fails is a finding too."""
    for name, check in checks.items():
        try:
            yield from check()
        except Exception as error:
            yield Finding(name, MISSING, fault_text(error, "checked"))


def _program() -> Iterator[Finding]:
    yield Finding("monai-nce", OK, f"{monai_nce.__version__} in {Path(monai_nce.__file__).parent}")
    yield Finding("Python", OK, f"{platform.python_version()} on {platform.system()} {platform.machine()}")


def _packages() -> Iterator[Finding]:
    from packaging.requirements import Requirement

    try:
        lines = metadata.requires("monai-nce") or []
    except metadata.PackageNotFoundError:
        yield Finding(
            "packages", WARNING, "monai-nce is not installed, so what it requires is not known: pip install ."
        )
        lines = []
    required = [Requirement(line) for line in lines]
    wrong = []
    for one in required:
        if one.marker is None or one.marker.evaluate({"extra": ""}):
            version = _version(one.name)
            if not version or not one.specifier.contains(version, prereleases=True):
                wrong.append(f"{one.name}{one.specifier}")
    if wrong:
        yield Finding("packages", MISSING, f"pip install {shlex.join(wrong)}")
    said = [f"{name} {version}" for name in TOLD if (version := _version(name))]
    yield Finding("packages", OK, ", ".join(said))


def _processor() -> Iterator[Finding]:
    import psutil
    import torch

    can: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()
    has = [name for key, name in FASTER.items() if can.get(key)]
    name = can.get("cpu_name") or platform.processor() or platform.machine()
    text = f"{name}, {count_cores()} cores for this process"
    fast = f"{', '.join(has)}" if has else "neither AMX nor AVX512-BF16: networks run in fp32"
    yield Finding("processor", OK, f"{text}; {fast}")
    load = psutil.getloadavg()[0]
    status = WARNING if load > BUSY * (os.cpu_count() or 1) else OK
    slower = "; other programs slow inference down" if status == WARNING else ""
    yield Finding("load", status, f"{load:.1f} over the last minute, of {os.cpu_count()} cores{slower}")


def _gpu() -> Iterator[Finding]:
    import torch

    if not torch.cuda.is_available():
        built = torch.version.cuda or getattr(torch.version, "hip", None)
        why = "this torch was built without CUDA" if not built else "none that torch can use"
        yield Finding("GPU", OK, f"none: {why}; networks run on the processor")
    for index in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
        free, total = torch.cuda.mem_get_info(index)
        yield Finding(
            "GPU",
            OK if free > FREE_MEMORY else WARNING,
            f"cuda:{index} {torch.cuda.get_device_name(index)}, {free / 1e9:.0f} of {total / 1e9:.0f} GB free",
        )


def _openvino() -> Iterator[Finding]:
    versions = {name: _version(name) for name in ("openvino", "onnx", "onnxscript")}
    if missing := [name for name, version in versions.items() if not version]:
        yield Finding("OpenVINO", WARNING, f"PyTorch computes alone; faster on x86: pip install {' '.join(missing)}")
        return
    from monai_nce.inferers.openvino_backend import import_openvino

    devices = ", ".join(import_openvino().Core().available_devices)
    yield Finding("OpenVINO", OK, f"{versions['openvino']}, devices {devices}; inference takes its CPU")


def _dicom() -> Iterator[Finding]:
    from monai_nce.data.dicom.decoders import installed_decoders
    from monai_nce.data.dicom.files import INSTALL

    if not _version("pydicom"):
        yield Finding("DICOM", WARNING, f"cannot be read: {INSTALL}")
        return
    decoders = installed_decoders()
    missing = [name for name, there in decoders.items() if not there]
    if missing:
        yield Finding("DICOM", WARNING, f"cannot be read: {', '.join(missing)}: {INSTALL}")
    yield Finding(
        "DICOM", OK, f"uncompressed, and {len(decoders) - len(missing)} of {len(decoders)} compressed syntaxes"
    )


def _room() -> Iterator[Finding]:
    import psutil

    here = Path.cwd()
    free = shutil.disk_usage(here).free
    writable = os.access(here, os.W_OK)
    text = f"{free / 1e9:.0f} GB free in {here}" + ("" if writable else ", which cannot be written to")
    yield Finding("disk", OK if free > FREE_DISK and writable else WARNING, text)
    memory = psutil.virtual_memory()
    status = OK if memory.available > FREE_MEMORY else WARNING
    yield Finding("memory", status, f"{memory.available / 1e9:.0f} of {memory.total / 1e9:.0f} GB free")


def _weights() -> Iterator[Finding]:
    from monai_nce.cli.weights_archive import manifest_hashes
    from monai_nce.cli.weights_facts import CARD, weights_facts

    folder = bundle_folder()
    there = (folder / "configs" / "inference.json").is_file()
    yield Finding("bundle", OK if there else MISSING, f"{folder}" if there else f"expected in {folder}: install again")
    yield Finding("imported", OK, f"{len(named_weights()) - 1} weights in {store_folder()}")
    for name, network in named_weights().items():
        try:
            facts = weights_facts(network)
        except Exception as error:
            yield Finding("weights", MISSING, f"{name}: {fault_text(error, 'read')}")
            continue
        if name == DEFAULT:
            fits = facts["sha256"] in (facts["card"] or "")
            why = f"not those that the model card names ({CARD})"
        else:
            fits = manifest_hashes(network.parent).get(network.name) == facts["sha256"]
            why = "not those that were imported"
        text = f"{name}: {facts['source']} to {facts['target']}, SHA-256 {facts['sha256'][:16]}…"
        yield Finding("weights", OK if fits else WARNING, f"{text} {'fits' if fits else why}")


def check_speed(weights: str) -> Iterator[Finding]:
    """Measure inference with these weights, and say what would be used for a scan and how long its passes take."""
    from monai_nce.cli.speed_check import PIXEL_MM, PIXELS, SLICES, measure_speed

    checkpoint = find_weights(weights)
    found = measure_speed(checkpoint)
    used = f"{found['backend']} in {found['precision']} on {found['device']}"
    if not found["ready"]:
        used += f"; its file is made first, once, in about 15 s; measured here with {found['measured']}"
    yield Finding("inference", WARNING if found["warnings"] else OK, "; ".join([used, *found["warnings"]]))
    size, scan = (" × ".join(map(str, numbers)) for numbers in (found["size"], (PIXELS, PIXELS, SLICES)))
    yield Finding(
        "speed",
        OK,
        f"{found['ms_per_slice']:.0f} ms a slice of {size} pixels; network's passes of a scan of {scan} voxels, "
        f"pixels of {PIXEL_MM} mm: {_seconds(found['seconds'])}; with --stride 3 a third of them; reading, resampling "
        "and writing come on top",
    )


def _seconds(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


CHECKS: dict[str, Callable[[], Iterator[Finding]]] = {
    "monai-nce": _program,
    "packages": _packages,
    "processor": _processor,
    "GPU": _gpu,
    "OpenVINO": _openvino,
    "DICOM": _dicom,
    "disk": _room,
    "weights": _weights,
}
