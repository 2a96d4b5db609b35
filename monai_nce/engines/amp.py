"""Train in mixed precision: autocast and loss scaling, chosen by one word."""

from __future__ import annotations

from typing import Literal

import torch
from torch.optim import Optimizer

from monai_nce.errors import InputError
from monai_nce.precision import DTYPES, best_precision

__all__ = ["Precision"]


class Precision:
    """Run networks by autocast, and scale the loss in fp16; weights, optimisers and losses stay in fp32.

    MONAI's own ``amp`` knows fp16 on CUDA alone and scales the loss whatever the format is: no use on a CPU, no help in
    bf16. The scaler is the engine's: ``amp=precision.scales`` makes MONAI's ``Trainer`` put a new one in
    ``engine.scaler`` at each run, where a checkpoint finds it.

    Args:
        name: ``fp32``; ``bf16``; ``fp16``, for GPUs; or ``auto``: bf16 where the device computes in it (a GPU with
            bf16, a CPU with AMX or AVX512-BF16), else fp16 on a GPU, else fp32.
        device: device of the networks.

    Raises:
        InputError: for another name, or fp16 where there is no GPU.
    """

    def __init__(
        self, name: Literal["fp32", "bf16", "fp16", "auto"] | str = "fp32", device: str | torch.device = "cpu"
    ) -> None:
        self.device_type = torch.device(device).type
        name = best_precision(self.device_type) if name == "auto" else name
        if name not in DTYPES:
            raise InputError(f"precision: expected fp32, bf16, fp16 or auto but got {name!r}")
        if name == "fp16" and self.device_type != "cuda":
            raise InputError(
                f"precision: expected fp32, bf16 or auto on a device of type {self.device_type} but got 'fp16', "
                "which needs a GPU"
            )
        self.name = name
        self.scales = name == "fp16"

    def autocast(self) -> torch.autocast:
        """Return a context in which networks run in this precision; for fp32 one that does nothing."""
        return torch.autocast(self.device_type, dtype=DTYPES[self.name], enabled=self.name != "fp32")

    @staticmethod
    def backward(loss: torch.Tensor, scaler: torch.amp.GradScaler | None) -> None:
        """Compute gradients of a loss, scaled by the engine's scaler, which is None in fp32 and bf16."""
        (loss if scaler is None else scaler.scale(loss)).backward()

    @staticmethod
    def step(scaler: torch.amp.GradScaler | None, *optimizers: Optimizer) -> None:
        """Step each optimiser. With a scaler, one whose gradients overflowed makes no step, and the scale falls."""
        for optimizer in optimizers:
            if scaler is None:
                optimizer.step()
            else:
                scaler.step(optimizer)
        if scaler is not None:
            scaler.update()
