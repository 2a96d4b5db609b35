"""Say which contrast enhancement a network is to make, by phase and level, in numbers that it can take.

The phase is the time of the scan after the injection. The contrast level is a factor on every rise in HU: 1 is usual,
and dose and body weight move it.
"""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from typing import Any

import numpy as np
import torch

from monai_nce.errors import InputError

__all__ = [
    "LEVELS",
    "PHASES",
    "ContrastCondition",
    "append_condition",
    "asked_condition",
    "check_contrast",
    "raise_contrast",
]

PHASES: tuple[str, ...] = ("arterial", "portal", "delayed")
LEVELS = (0.3, 2.0)  # lowest and highest contrast level that can be asked for


def check_contrast(phase: Any = None, level: Any = None) -> None:
    """Refuse what is no phase or no contrast level; None is unknown.

    Raises:
        InputError: for a phase that is not one of ``PHASES``, or a level that is no number within ``LEVELS``.
    """
    if phase is not None and phase not in PHASES:
        raise InputError(f"phase: expected one of {', '.join(PHASES)} but got {phase!r}")
    low, high = LEVELS
    number = isinstance(level, (int, float)) and not isinstance(level, bool)
    if level is not None and not (number and low <= level <= high):
        raise InputError(f"level: expected a number from {low:g} to {high:g} (1 is usual) but got {level!r}")


class ContrastCondition:
    """Turn phase and level into a condition: one-hot phase, whether the level is known, and twice its distance from 1.

    What is unknown is zeros. In training a share of what is known is left out, as for classifier-free guidance (Ho and
    Salimans, "Classifier-Free Diffusion Guidance", 2022), so that one network learns to do with and without; and a
    share of the levels is raised, and the targets with them, since a network that always sees a patient at one level
    comes to know the level by the patient.

    Args:
        dropped: share of the training's stacks that lose phase and level; as many lose the phase alone, and as many the
            level alone.
        raised: share of those with a level that get a higher one, up to the highest of ``LEVELS``.

    Raises:
        InputError: for a ``dropped`` below 0 or above 1/3, or a ``raised`` below 0 or above 1.

    Example:
        >>> ContrastCondition()({"phase": "portal", "level": 1.25})
        tensor([0.0000, 1.0000, 0.0000, 1.0000, 0.5000])
    """

    channels = len(PHASES) + 2

    def __init__(self, dropped: float = 0.0, raised: float = 0.0) -> None:
        if not 0 <= 3 * dropped <= 1:
            raise InputError(f"dropped: expected a share from 0 to 1/3 but got {dropped}")
        if not 0 <= raised <= 1:
            raise InputError(f"raised: expected a share from 0 to 1 but got {raised}")
        self.dropped = dropped
        self.raised = raised

    def __call__(self, item: Mapping[str, Any]) -> torch.Tensor:
        """Return the condition, float32 ``(channels,)``, of an item with ``phase`` and ``level`` as far as known.

        Raises:
            InputError: as :func:`check_contrast`.
        """
        phase, level = item.get("phase"), item.get("level")
        check_contrast(phase, level)
        condition = torch.zeros(self.channels)
        if phase is not None:
            condition[PHASES.index(phase)] = 1
        if level is not None:
            condition[-2:] = torch.tensor([1, 2 * (level - 1)])
        return condition

    def sample(self, item: Mapping[str, Any], random: np.random.Generator) -> dict[str, torch.Tensor]:
        """Draw what a training stack of an item is told.

        Returns:
            ``condition``; and ``rise``, a number by which :func:`raise_contrast` is to scale the target's contrast.
        """
        phase, level, rise = item.get("phase"), item.get("level"), 1.0
        check_contrast(phase, level)
        kind, raised, height = random.random(3)
        if kind < 2 * self.dropped:
            phase = None
        if kind < self.dropped or 2 * self.dropped <= kind < 3 * self.dropped:
            level = None
        if level is not None and raised < self.raised:
            higher = level + height * (LEVELS[1] - level)
            rise, level = higher / level, higher
        return {"condition": self({"phase": phase, "level": level}), "rise": torch.tensor(rise, dtype=torch.float32)}


def append_condition(images: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
    """Append a condition to images as further channels, a constant plane for each number.

    Shape:
        - images: ``(B, S, H, W)``
        - condition: ``(B, C)``, or ``(1, C)`` for one that all share
        - output: ``(B, S + C, H, W)``
    """
    planes = condition.to(images)[:, :, None, None].expand(len(images), -1, *images.shape[2:])
    return torch.cat([images, planes], dim=1)


def raise_contrast(source: torch.Tensor, target: torch.Tensor, rise: torch.Tensor) -> torch.Tensor:
    """Scale the rise from source to target, as a higher contrast level does.

    What lies beyond the window stays there: for a ``rise`` of 1 or more that is as if it had been scaled before.

    Shape:
        - source, target: ``(B, S, H, W)`` in [-1, 1], without motion between them
        - rise: ``(B,)``, 1 or more
        - output: ``(B, S, H, W)`` in [-1, 1]
    """
    return (source + rise.to(source)[:, None, None, None] * (target - source)).clamp(-1, 1)


def asked_condition(
    phase: str | None, level: float | None, channels: int, checkpoint: str | PathLike[str]
) -> torch.Tensor | None:
    """Return the condition ``(C,)`` that a user asks weights for, or None where nothing is asked.

    Args:
        phase: one of ``PHASES``.
        level: contrast level within ``LEVELS``.
        channels: of the condition that the weights' network takes.
        checkpoint: file of the weights, for the message.

    Raises:
        InputError: for an unknown phase, a level out of range, or weights that take neither.
    """
    check_contrast(phase, level)
    if phase is None and level is None:
        return None
    if channels != ContrastCondition.channels:
        advice = "leave out --phase and --level, or choose weights that were trained with conditional.json"
        raise InputError(f"{checkpoint}: expected weights that take phase and level but these do not: {advice}")
    return ContrastCondition()({"phase": phase, "level": level})
