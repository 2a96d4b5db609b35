"""Make the synthetic source of each target with an auxiliary network that was trained before (paper §3.1)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch

from monai_nce.data.nifti.writer import write_nifti_hu
from monai_nce.errors import InputError
from monai_nce.handlers.weights.loader import load_weights
from monai_nce.handlers.weights.trained_for import TrainedFor
from monai_nce.inferers.slice_stack_inferer import SliceStackInferer
from monai_nce.networks import Generator
from monai_nce.transforms.window import WindowHU

from .messages import progress_bar

__all__ = ["AuxiliaryNetwork"]


class AuxiliaryNetwork:
    """Turn volumes of the target domain into synthetic ones of the source domain, which lie on them voxel by voxel.

    Args:
        path: weights of a stage 1, ``models/auxiliary.pt`` of a training.
        window: of the data set's HU, as in that training.
        spacing: of the data set's pixels in plane, in mm.

    Raises:
        InputError: if these are no weights of an auxiliary network, of another class than :class:`Generator`, or were
            trained for another window or other pixels.
    """

    def __init__(self, path: str | PathLike[str], window: WindowHU, spacing: float) -> None:
        said = TrainedFor.read(path)
        if not said.auxiliary:
            raise InputError(f"{path}: expected weights of an auxiliary network, models/auxiliary.pt of a training")
        here = TrainedFor(window_level=window.window_level, window_width=window.window_width, spacing=spacing)
        if wrong := here.differences(said.plain()):
            raise InputError(f"{here.words(path, said.plain(), wrong)}: give weights that a training on this data made")
        self.said = said
        self.window = window
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.network = said.build_like(Generator())
        load_weights(self.network, path)
        self.network.to(self.device).eval()
        self.inferer = SliceStackInferer(slices=said.slices or 3)

    def __call__(self, hu: np.ndarray) -> np.ndarray:
        """Make a volume (H, W, D) in HU, within the window, of one of the target domain."""
        with torch.inference_mode():
            volume = self.window(np.asarray(hu))[None, None].to(self.device)
            return self.window.inverse(self.inferer(volume, self.network))[0, 0].cpu().numpy()

    def write(self, items: Iterable[Mapping[str, Any]], folder: Path, progress: bool = True) -> list[dict[str, Any]]:
        """Write the synthetic source of each item's target into a folder; return the items with its path."""
        made = []
        for item in progress_bar(list(items), "synthetic sources", "patient", progress):
            target = nib.Nifti1Image.from_filename(item["target"])
            path = folder / f"{item['patient']}.nii"
            write_nifti_hu(path, self(np.asanyarray(target.dataobj)), target.affine)
            made.append({**item, "synthetic_source": str(path)})
        return made

    def about(self) -> dict[str, Any]:
        """Describe the network for a data set's provenance."""
        said = self.said.plain()
        return {key: said[key] for key in ("source", "target", "data") if key in said}
