"""In which number format a training computes: chosen by one word, the same for every trainer."""

from __future__ import annotations

from typing import Literal

import torch
from torch.optim import Optimizer

from monai_nce.errors import InputError
from monai_nce.precision import DTYPES, best_precision

__all__ = ["Precision"]


class Precision:
    """Mixed precision of a training: how its networks run, and how a loss becomes a step.

    Weights, optimisers and losses stay in fp32; only the networks' passes run in the short format, by autocast. MONAI's
    own ``amp`` knows fp16 on CUDA alone and scales the loss whatever the format is, so it is of no use on a CPU and no
    help in bf16, whose exponents are those of fp32.

    A loss is scaled in fp16 only. The scaler is the engine's: ``amp=precision.scales`` makes MONAI's ``Trainer`` put a
    new one in ``engine.scaler`` at each run, where a checkpoint finds it.

    Args:
        name: ``fp32``; ``bf16``; ``fp16``, for GPUs; or ``auto``: bf16 where the device computes in it (a GPU with
            bf16, a CPU with AMX or AVX512-BF16), else fp16 on a GPU, else fp32.
        device: where the networks are.

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
        """A context in which networks run in this precision; for fp32 one that does nothing."""
        return torch.autocast(self.device_type, dtype=DTYPES[self.name], enabled=self.name != "fp32")

    @staticmethod
    def backward(loss: torch.Tensor, scaler: torch.amp.GradScaler | None) -> None:
        """Gradients of a loss, scaled where there is a scaler.

        Args:
            loss: a scalar.
            scaler: of the engine; None in fp32 and bf16.
        """
        (loss if scaler is None else scaler.scale(loss)).backward()

    @staticmethod
    def step(scaler: torch.amp.GradScaler | None, *optimizers: Optimizer) -> None:
        """One step of each optimiser. With a scaler, one whose gradients overflowed makes none, and the scale falls.

        Args:
            scaler: of the engine; None in fp32 and bf16.
            optimizers: whose gradients :meth:`backward` has computed.
        """
        for optimizer in optimizers:
            if scaler is None:
                optimizer.step()
            else:
                scaler.step(optimizer)
        if scaler is not None:
            scaler.update()
