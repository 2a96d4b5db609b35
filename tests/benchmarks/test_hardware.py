from __future__ import annotations

import os

import pytest
import torch

from benchmarks import hardware


@pytest.fixture
def cpuinfo(tmp_path, monkeypatch):
    file = tmp_path / "cpuinfo"
    monkeypatch.setattr(hardware, "CPUINFO", file)
    monkeypatch.setattr(hardware.platform, "processor", lambda: "")
    monkeypatch.setattr(hardware.platform, "machine", lambda: "riscv64")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    return file


def test_the_processor_is_named_as_the_system_knows_it(cpuinfo, monkeypatch):
    can = {"avx512_bf16": True, "amx_bf16": False, "avx2": True}
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: can, raising=False)
    cpuinfo.write_text("processor\t: 0\nmodel\t\t: 5\nmodel name\t: Abacus 3000: fast\n\nmodel name\t: other\n")
    assert hardware.host() == {"processor": "Abacus 3000: fast", "cores": os.cpu_count(), "bf16": ["avx512_bf16"]}
    one = f"Abacus 3000: fast, {os.cpu_count()} cores, 2 cells at once, 1 thread each, torch {torch.__version__}"
    assert hardware.describe_hardware(2, 1) == one
    assert "1 cells at once, 4 threads each" in hardware.describe_hardware(1, 4)


def test_without_that_it_is_what_python_says(cpuinfo, monkeypatch):
    assert hardware.processor() == "riscv64"  # no such file
    cpuinfo.write_text("isa\t: rv64\n")
    assert hardware.processor() == "riscv64"
    monkeypatch.setattr(hardware.platform, "processor", lambda: "arm")
    assert hardware.processor() == "arm"


def test_an_accelerator_goes_before_the_processor(cpuinfo, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "Big GPU")
    assert hardware.describe_hardware(1, 0) == f"Big GPU, 1 at once, torch {torch.__version__}"
