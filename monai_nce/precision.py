"""Name the number formats and choose the fastest one for a device."""

from __future__ import annotations

import torch

__all__ = ["DTYPES", "best_precision", "plain_fp32"]

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def plain_fp32() -> None:
    """Switch TF32 off on GPUs, for the whole process.

    PyTorch's convolutions would round their input to 10 bits, for 1.0 a step of 0.15 HU in the paper's window.
    """
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False


def best_precision(device_type: str) -> str:
    """Return ``bf16`` for devices that compute in it (CPUs: AMX, AVX512-BF16), ``fp16`` for other GPUs, or ``fp32``."""
    if device_type == "cuda":
        # without emulation, which computes in fp32 and is slower than that
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    if device_type == "cpu":
        can: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()
        return "bf16" if can.get("amx_bf16") or can.get("avx512_bf16") else "fp32"
    return "fp32"
