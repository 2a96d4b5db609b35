"""Start a training from weights of an earlier one, and say so in what it makes (fine-tuning)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, TypeVar

from torch import nn

from monai_nce.data.files.sha256 import file_sha256
from monai_nce.distributed import is_main_process
from monai_nce.errors import InputError
from monai_nce.handlers.weights.loader import load_weights
from monai_nce.handlers.weights.trained_for import TrainedFor

__all__ = ["AUXILIARY", "StartingWeights", "auxiliary_beside"]

AUXILIARY = "auxiliary.pt"
UNNAMED = {"name": "data that earlier weights do not name"}

Network = TypeVar("Network", bound=nn.Module)


def auxiliary_beside(path: str | PathLike[str]) -> Path | None:
    """Return the file of the auxiliary network beside a target network's, if it was trained for the same, or None."""
    file = Path(path).with_name(AUXILIARY)
    if not file.is_file():
        return None
    back = TrainedFor.read(file)
    differs = set(TrainedFor.read(path).reversed().differences(back.plain())) - {"network"}  # it may be another one
    return file if back.source and not differs else None


class StartingWeights:
    """Load an earlier training's weights into networks that are to be trained further.

    A training that is resumed loads its checkpoints over them.

    Args:
        path: file of the target network's weights; the auxiliary network's are taken from ``auxiliary.pt`` beside it,
            if that was trained for the same. None or empty: networks start as they are.

    Raises:
        InputError: if the file is missing or damaged, or is an auxiliary network's.

    Attributes:
        sha256: of the file; None without one.
    """

    def __init__(self, path: str | PathLike[str] | None = None) -> None:
        self.path = Path(path) if path else None
        self.auxiliary: Path | None = None
        self.sha256: str | None = None
        self._said = TrainedFor()
        if self.path is not None:
            self._said = TrainedFor.read(self.path)
            if self._said.auxiliary:
                raise InputError(f"{self.path}: expected a target network's weights but got an auxiliary network's")
            self.auxiliary = auxiliary_beside(self.path)
            self.sha256 = file_sha256(self.path)

    def into(self, network: Network) -> Network:
        """Load the target network's weights into ``network``, and return it.

        Raises:
            InputError: if they are another network's.
        """
        return self._load(network, self.path)

    def into_auxiliary(self, network: Network) -> Network:
        """Load the auxiliary network's weights into ``network``, if there are any, and return it.

        Raises:
            InputError: if they are another network's.
        """
        return self._load(network, self.auxiliary)

    def check(self, trained_for: TrainedFor) -> None:
        """Refuse weights for other domains, another window, spacing or number of slices, and print which are taken.

        Raises:
            InputError: naming both.
        """
        if self.path is None:
            return
        said = self._said.plain()
        if wrong := [name for name in trained_for.differences(said) if name != "network"]:
            words = trained_for.words(self.path, said, wrong)
            raise InputError(f"{words}: choose other weights, or data and settings that fit them")
        if is_main_process():
            print(f"starting from {self.path}{f' and {AUXILIARY} beside it' if self.auxiliary else ''}", flush=True)

    def data(self, own: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
        """Return a training's data sets, and those that the weights learnt from before."""
        if self.path is None:
            return list(own)
        said = [TrainedFor.read(path).data or [UNNAMED] for path in (self.path, self.auxiliary) if path is not None]
        found = list(own)
        for one in (one for data in said for one in data):
            if one not in found:
                found.append(one)
        return found

    @staticmethod
    def _load(network: Network, path: Path | None) -> Network:
        if path is not None:
            load_weights(network, path, TrainedFor())
        return network
