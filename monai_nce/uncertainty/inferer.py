"""Predict a volume together with how far each of its voxels may be off."""

from __future__ import annotations

import copy
from collections.abc import Callable
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from monai.data import MetaTensor
from monai.inferers import Inferer

from monai_nce.handlers.weights.loader import load_weights
from monai_nce.handlers.weights.starting_weights import AUXILIARY
from monai_nce.handlers.weights.trained_for import TrainedFor
from monai_nce.inferers import Runtime, SliceStackInferer
from monai_nce.networks import Generator
from monai_nce.transforms import WindowHU
from monai_nce.uncertainty.calibration import calibration_beside
from monai_nce.uncertainty.signals import Signals

__all__ = ["HalfWidthInferer"]


class HalfWidthInferer(Inferer):
    """Run a :class:`~monai_nce.inferers.SliceStackInferer`, and add half-widths to its prediction as a second channel.

    Both channels are windowed, so that what brings one back to HU on the scan's grid brings the other too.

    Args:
        inferer: runs the target network.
        checkpoint: file of its weights; ``auxiliary.pt`` and ``uncertainty.json`` lie beside it.
        window_level, window_width: in HU.
        wanted: ``"body"`` or ``"organs"``, as in :meth:`~monai_nce.uncertainty.Calibration.factor`.
        precision: of the auxiliary network's passes, as in :class:`~monai_nce.inferers.Runtime`.

    Raises:
        InputError: if a file is missing, or the calibration was made for other weights or another stride.
    """

    def __init__(
        self,
        inferer: SliceStackInferer,
        checkpoint: str | PathLike[str],
        window_level: float = 50.0,
        window_width: float = 300.0,
        wanted: str = "body",
        precision: str = "auto",
    ) -> None:
        super().__init__()
        self.calibration = calibration_beside(checkpoint, stride=inferer.stride)
        self.calibration.factor(wanted)
        self.wanted = wanted
        self.window = WindowHU(window_level, window_width)
        path = Path(checkpoint).with_name(AUXILIARY)
        self.auxiliary = TrainedFor.read(path).build_like(Generator()).eval()
        load_weights(self.auxiliary, path)
        spreading = copy.copy(inferer)
        spreading.spread = True
        runtime = Runtime("torch", precision, path, quiet=True)
        self.signals = Signals(spreading, self.auxiliary, window_width, runtime)

    def __call__(
        self, inputs: torch.Tensor, network: Callable[..., torch.Tensor], *args: Any, **kwargs: Any
    ) -> torch.Tensor:
        """
        Args:
            inputs: volumes in [-1, 1].
            network: the target network.
            args, kwargs: not taken; for those who call inferers alike.

        Shape:
            - inputs: ``(B, 1, H, W, D)``
            - output: ``(B, 2, H, W, D)``
        """
        plain = inputs.as_tensor() if isinstance(inputs, MetaTensor) else inputs
        self.auxiliary.to(plain.device)
        made, signals = self.signals(plain, network)
        width = (self.calibration(signals, self.wanted) - self.window.window_level) / (self.window.window_width / 2)
        output = torch.cat([made, width], dim=1)
        return MetaTensor(output).copy_meta_from(inputs) if isinstance(inputs, MetaTensor) else output
