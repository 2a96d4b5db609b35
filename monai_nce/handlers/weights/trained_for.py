"""What a network's weights were trained for, which their file says, so that they are used for nothing else."""

from __future__ import annotations

import dataclasses
import math
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from typing import Any

import torch

from monai_nce.data.dataset.slice_stack_dataset import ALIKE
from monai_nce.errors import InputError

__all__ = ["TrainedFor"]

KEY = "trained_for"
DOMAINS = ("source", "target")
WORDS = {
    DOMAINS: "{source} to {target}",
    ("window_level", "window_width"): "a window of level {window_level} and width {window_width}",
    ("spacing",): "pixels of {spacing} mm",
}


@dataclass(frozen=True)
class TrainedFor:
    """Domains, window and pixels that a generator's weights are good for.

    The auxiliary network has the shape of the target network and does the opposite; another window gives other HU; on
    pixels of another size organs have a size that the network has never seen. None of this shows in the tensors. The
    file of a state dict carries it where PyTorch keeps the versions of modules, and is otherwise like any other.

    Args:
        source: name of the domain that the network is given.
        target: name of the domain that it makes.
        window_level: centre of the window, in HU for CT.
        window_width: width of the window.
        spacing: of the pixels in plane, in mm; None if unknown.
    """

    source: str
    target: str
    window_level: float
    window_width: float
    spacing: float | None = None

    def reversed(self) -> TrainedFor:
        """That of a network which goes from the target to the source."""
        return dataclasses.replace(self, source=self.target, target=self.source)

    def plain(self) -> dict[str, Any]:
        """For a file: names and numbers."""
        return dataclasses.asdict(self)

    def write_to(self, weights: OrderedDict[str, torch.Tensor]) -> None:
        """Args: weights: as ``network.state_dict()`` gives them, before they are saved."""
        weights._metadata[""][KEY] = self.plain()  # type: ignore[attr-defined]

    def check_weights(self, weights: Mapping[str, torch.Tensor], path: str | PathLike[str]) -> None:
        """Refuse weights that were trained for something else. Those that do not say what for are taken.

        Args:
            weights: from the file.
            path: of the file.

        Raises:
            InputError: naming both, and the flags that go with the weights.
        """
        said = getattr(weights, "_metadata", {}).get("", {}).get(KEY, {})
        if wrong := self.differences(said):
            # other names for the domains would only hide what the network does
            flags = " ".join(f"--{name} {said[name]}" for name in wrong if name not in DOMAINS)
            raise InputError(f"{self.words(path, said, wrong)}: choose other weights{flags and f', or give {flags}'}")

    def differences(self, said: Mapping[str, Any]) -> list[str]:
        """What is not the same.

        Args:
            said: :meth:`plain` of then; what it lacks is taken for the same.
        """
        here = self.plain()
        known = [name for name in here if None not in (here[name], said.get(name))]
        return [name for name in known if not _alike(name, said[name], here[name])]

    def words(self, path: str | PathLike[str], said: Mapping[str, Any], wrong: Sequence[str]) -> str:
        """The beginning of a message about ``differences``."""
        parts = [part for names, part in WORDS.items() if not set(names).isdisjoint(wrong)]
        theirs, ours = (" and ".join(parts).format(**values) for values in (said, self.plain()))
        return f"{path}: trained for {theirs}, not for {ours}"


def _alike(name: str, one: Any, other: Any) -> bool:
    return math.isclose(one, other, rel_tol=ALIKE) if name == "spacing" else one == other
