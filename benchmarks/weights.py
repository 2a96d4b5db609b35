"""Run the generator of a weights' file on volumes in memory."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from monai_nce.contrast import ContrastCondition
from monai_nce.errors import InputError
from monai_nce.handlers import TrainedFor, load_weights
from monai_nce.inferers import SliceStackInferer
from monai_nce.networks import Generator
from monai_nce.transforms import WindowHU

__all__ = ["Weights", "common_window"]

Volume = NDArray[np.float32]  # HU, (H, W, D)


class Weights:
    """Run the generator of a weights' file, which says its arguments and its window.

    Raises:
        InputError: if the file does not say them, or cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.said = TrainedFor.read(path)
        arguments = {name: value for name, value in (self.said.network or {}).items() if name != "_target_"}
        if not arguments or self.said.window_level is None or self.said.window_width is None:
            raise InputError(f"{path}: expected weights that say network and window, as those of a training do")
        self.window = WindowHU(self.said.window_level, self.said.window_width)
        self.network = Generator(**arguments)
        load_weights(self.network, path)
        self.network.eval()
        self.inferer = SliceStackInferer(self.network.slices)

    @property
    def takes_levels(self) -> bool:
        return self.network.condition_channels == ContrastCondition.channels

    def enhance(self, hu: Volume, contrast: Mapping[str, Any] | None = None) -> Volume:
        """Make a synthetic CECT, within the window; ``contrast`` is the ``phase`` and ``level`` that are asked for."""
        condition = None if contrast is None else ContrastCondition()(contrast)[None]
        with torch.inference_mode():
            image = self.window(torch.from_numpy(hu))[None, None]
            made: Volume = self.window.inverse(self.inferer(image, self.network, condition=condition))[0, 0].numpy()
            return made


def common_window(weights: Iterable[Weights]) -> WindowHU:
    """Return the window that all the weights were trained in.

    Raises:
        InputError: if their windows differ.
    """
    windows = {(one.window.window_level, one.window.window_width) for one in weights}
    if len(windows) != 1:
        raise InputError(f"weights: expected weights of one window but got {len(windows)}: {sorted(windows)}")
    return WindowHU(*windows.pop())
