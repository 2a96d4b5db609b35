"""Name the hardware that a figure was measured on."""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path

import torch

__all__ = ["describe_hardware", "host", "processor"]

CPUINFO = Path("/proc/cpuinfo")
BF16 = ("amx_bf16", "avx512_bf16")


def processor() -> str:
    """Return the processor's name: on Linux as the system knows it, where Python says little or nothing."""
    known = CPUINFO.read_text(encoding="utf-8") if CPUINFO.is_file() else ""
    name = re.search(r"^model name\s*:\s*(.+)", known, re.MULTILINE)
    return name[1].strip() if name else platform.processor() or platform.machine()


def host() -> dict[str, str | int | None | list[str]]:
    """Return the ``processor``, its number of ``cores``, and what it has for ``bf16``."""
    capabilities: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()
    bf16 = [name for name in BF16 if capabilities.get(name)]
    return {"processor": processor(), "cores": os.cpu_count(), "bf16": bf16}


def describe_hardware(jobs: int, threads: int) -> str:
    """Name the accelerator where there is one, else the processor, and so many processes and threads in each."""
    if torch.cuda.is_available():
        return f"{torch.cuda.get_device_name()}, {jobs} at once, torch {torch.__version__}"
    each = f"{threads} thread{'s' * (threads != 1)} each"
    return f"{processor()}, {os.cpu_count()} cores, {jobs} cells at once, {each}, torch {torch.__version__}"
