"""The number formats by name, and which of them a device computes in fastest without loss that matters here."""

from __future__ import annotations

import torch

__all__ = ["DTYPES", "best_precision", "plain_fp32"]

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def plain_fp32() -> None:
    """Let GPUs compute in fp32 what is to be in fp32, for the whole process.

    PyTorch's convolutions there round their input to the 10 bits of TF32 else, for 1.0 that is a step of 0.15 HU in the
    paper's window. Who wants speed takes bf16.
    """
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False


def best_precision(device_type: str) -> str:
    """The short format that a device gains from.

    Args:
        device_type: ``cpu``, ``cuda`` or another of PyTorch's.

    Returns:
        ``bf16`` on a GPU that computes in it and a CPU with AMX or AVX512-BF16, ``fp16`` on other GPUs, else ``fp32``.
    """
    if device_type == "cuda":
        # without emulation, which computes in fp32 and is slower than that
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    if device_type == "cpu":
        can: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()
        return "bf16" if can.get("amx_bf16") or can.get("avx512_bf16") else "fp32"
    return "fp32"
