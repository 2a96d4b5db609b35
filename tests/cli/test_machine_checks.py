from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from monai_nce.cli import machine_checks, speed_check
from monai_nce.cli.machine_checks import CHECKS, MISSING, OK, WARNING, Finding, check_speed, findings
from monai_nce.cli.weights_archive import export_weights, import_weights
from monai_nce.errors import InputError
from monai_nce.weights_store import VARIABLE


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "store"))
    return tmp_path / "store"


def found(name: str) -> dict[str, Finding]:
    """Findings of one check, the worst of each name."""
    order = [OK, WARNING, MISSING]
    return {one.name: one for one in sorted(CHECKS[name](), key=lambda one: order.index(one.status))}


def no_package(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    version = metadata.version

    def look(name: str) -> str:
        if name in names:
            raise metadata.PackageNotFoundError(name)
        return version(name)

    monkeypatch.setattr(metadata, "version", look)


def test_what_the_tests_run_in_is_complete(monkeypatch: pytest.MonkeyPatch) -> None:
    all_found = list(findings({name: check for name, check in CHECKS.items() if name != "packages"}))
    assert not [one for one in all_found if one.status == MISSING]
    assert {one.name for one in all_found} >= {
        "Python",
        "processor",
        "load",
        "GPU",
        "DICOM",
        "disk",
        "memory",
        "bundle",
    }


@pytest.mark.parametrize(
    ("requires", "expected"),
    [
        (["torch>=2.0", "nothing-such>=9; extra == 'dicom'"], None),
        (["torch>=999", "monai"], "pip install 'torch>=999'"),
        (["nothing-such>=9"], "pip install 'nothing-such>=9'"),
        (["nothing-such; python_version < '3'"], None),
    ],
)
def test_packages_are_compared_with_what_is_required(
    requires: list[str], expected: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metadata, "requires", lambda name: requires)
    worst = found("packages")["packages"]
    assert worst.status == (OK if expected is None else MISSING)
    assert worst.text == expected or expected is None


def test_a_package_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    def requires(name: str) -> list[str]:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "requires", requires)
    assert found("packages")["packages"].status == WARNING


@pytest.mark.parametrize(("load", "status"), [(0.0, OK), (1000.0, WARNING)])
def test_load(load: float, status: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil, "getloadavg", lambda: (load, 0.0, 0.0))
    assert found("processor")["load"].status == status


@pytest.mark.parametrize(
    ("capabilities", "expected"),
    [
        ({"amx_bf16": True, "avx512_vnni": True, "cpu_name": "X"}, "; AMX, AVX512-VNNI"),
        ({"amx_bf16": False}, "neither AMX nor AVX512-BF16"),
        ({}, "neither AMX nor AVX512-BF16"),
    ],
)
def test_instructions(capabilities: dict[str, Any], expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cpu.get_capabilities", lambda: capabilities, raising=False)
    assert expected in found("processor")["processor"].text


def test_a_gpu_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.setattr("torch.cuda.get_device_name", lambda index: f"GPU {index}")
    monkeypatch.setattr("torch.cuda.mem_get_info", lambda index: ((10e9, 1e9)[index], 80e9))
    gpus = list(CHECKS["GPU"]())
    assert [one.status for one in gpus] == [OK, WARNING]
    assert gpus[0].text == "cuda:0 GPU 0, 10 of 80 GB free"


@pytest.mark.parametrize("missing", ["openvino", "onnx", "onnxscript"])
def test_openvino_needs_three_packages(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    no_package(monkeypatch, missing)
    (one,) = CHECKS["OpenVINO"]()
    assert one.status == WARNING and one.text.endswith(f"pip install {missing}")


def test_dicom_without_pydicom_or_a_decoder(monkeypatch: pytest.MonkeyPatch) -> None:
    from pydicom.pixels import get_decoder
    from pydicom.uid import JPEG2000Lossless

    with monkeypatch.context() as patch:
        patch.setattr(get_decoder(JPEG2000Lossless), "_available", {})
        worst = found("DICOM")["DICOM"]
        assert worst.status == WARNING and JPEG2000Lossless.name in worst.text
    no_package(monkeypatch, "pydicom")
    (one,) = CHECKS["DICOM"]()
    assert one.status == WARNING and "pip install monai-nce[dicom]" in one.text


def test_a_full_disk_and_little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=1e9))
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=1e9, total=8e9))
    assert [one.status for one in CHECKS["disk"]()] == [WARNING, WARNING]
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert "cannot be written to" in found("disk")["disk"].text


def test_weights_are_compared_with_their_hashes(store: Path, tmp_path: Path) -> None:
    export_weights("default", tmp_path / "a.zip", "ours")
    folder = import_weights(tmp_path / "a.zip")
    shutil.copytree(folder, store / "swapped")
    shutil.copy(folder / "auxiliary.pt", store / "swapped" / "model.pt")
    shutil.copytree(folder, store / "broken")
    (store / "broken" / "model.pt").write_text("hello")
    found = {one.text.partition(":")[0]: one for one in CHECKS["weights"]() if one.name == "weights"}
    assert {name: one.status for name, one in found.items()} == {
        "default": OK,
        "broken": MISSING,
        "ours": OK,
        "swapped": WARNING,
    }


def test_a_bundle_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine_checks, "bundle_folder", lambda: tmp_path)
    assert found("weights")["bundle"].status == MISSING


def test_a_check_that_fails_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails() -> Iterator[Finding]:
        yield Finding("a", OK, "first")
        raise InputError("no such thing")

    def breaks() -> Iterator[Finding]:
        raise RuntimeError("MEIER^ANNA")
        yield

    listed = list(findings({"a": fails, "b": breaks}))
    assert listed == [
        Finding("a", OK, "first"),
        Finding("a", MISSING, "no such thing"),
        Finding("b", MISSING, "an unexpected RuntimeError while it was checked"),
    ]


@pytest.mark.parametrize(("ready", "warned"), [(True, False), (False, True)])
def test_what_would_be_used_and_how_fast_it_is(ready: bool, warned: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    def measure_speed(checkpoint: Path) -> dict[str, Any]:
        return {
            **{"backend": "openvino", "precision": "bf16", "ready": ready, "measured": "torch", "device": "cpu"},
            **{"size": [154, 154], "ms_per_slice": 40.0, "seconds": 400.0, "warnings": ["off"] * warned},
        }

    monkeypatch.setattr(speed_check, "measure_speed", measure_speed)
    inference, speed = check_speed("default")
    assert inference.status == (WARNING if warned else OK)
    assert ("measured here with torch" in inference.text) == (not ready)
    assert speed.text.startswith("40 ms a slice of 154 × 154 pixels") and ": 7 min;" in speed.text
