"""What a network's weights were trained for, which their file says, so that they are used for nothing else."""

from __future__ import annotations

import dataclasses
import math
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from typing import Any

import torch

from monai_nce.errors import InputError

__all__ = ["TrainedFor"]

ALIKE = 0.01  # spacings that differ by a smaller share are one
KEY = "trained_for"


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
        """As :meth:`check`, with what the file of some weights says; it need not say anything."""
        self.check(getattr(weights, "_metadata", {}).get("", {}).get(KEY), path, "choose other weights")

    def check(self, said: Mapping[str, Any] | None, path: str | PathLike[str], otherwise: str) -> None:
        """Refuse what was trained for something else.

        Args:
            said: :meth:`plain` of then; None is taken for the same.
            path: of the file that says so.
            otherwise: what to do if the flags that go with the file are not meant.

        Raises:
            InputError: naming both, and those flags.
        """
        for what, names in (
            ("{} to {}", ("source", "target")),
            ("a window of level {:g} and width {:g}", ("window_level", "window_width")),
            ("pixels of {:g} mm", ("spacing",)),
        ):
            ours = [getattr(self, name) for name in names]
            theirs = ours if said is None else [said[name] for name in names]
            if None not in (*theirs, *ours) and not all(map(_alike, names, theirs, ours)):
                flags = " ".join(
                    f"--{name}{'_name' if isinstance(value, str) else ''} {value}"
                    for name, value in zip(names, theirs, strict=True)
                )
                raise InputError(
                    f"{path}: trained for {what.format(*theirs)}, not for {what.format(*ours)}: give {flags}, or "
                    f"{otherwise}"
                )


def _alike(name: str, one: Any, other: Any) -> bool:
    return math.isclose(one, other, rel_tol=ALIKE) if name == "spacing" else one == other
