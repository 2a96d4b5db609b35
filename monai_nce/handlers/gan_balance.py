"""An early word when the game of generator and discriminator is over, hours before the images show it."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import torch
from ignite.engine import Engine, Events
from tqdm.auto import tqdm

from monai_nce.distributed import is_main_process

__all__ = ["DiscriminatorWatch"]

MARGIN = 0.02  # above chance: what is within it is no better than guessing
LOOK_EVERY = 20  # iterations; looking makes a GPU wait


class DiscriminatorWatch:
    """Warn, in one line each, when the discriminator has won or collapsed.

    It has won when nearly all its answers are right: what the generator learns from it is then next to nothing. It has
    collapsed when it is no better than chance, which includes the one that gives a single answer. Rank 0 alone looks,
    at its own images.

    Args:
        name: of the stage, for the message.
        key: accuracy in the engine's output.
        chance: accuracy of guessing; 1/3 for three classes. With 1/2, for two, there is no warning of a collapse: at
            the optimum of a GAN no discriminator can tell the two apart.
        won: running mean from which on the discriminator has won.
        iterations: of the running mean, and before the first warning.
    """

    def __init__(
        self,
        name: str,
        key: str = "discriminator_accuracy",
        chance: float = 1 / 3,
        won: float = 0.95,
        iterations: int = 300,
    ) -> None:
        self.name = name
        self.key = key
        self.collapsed = chance + MARGIN if chance < 0.5 else 0.0
        self.won = won
        self.iterations = iterations
        self._mean: torch.Tensor | None = None
        self._seen = 0
        self._said: set[str] = set()

    def attach(self, engine: Engine) -> None:
        """Args: engine: the stage's trainer."""
        engine.add_event_handler(Events.ITERATION_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        state: Any = engine.state
        if not is_main_process():
            return
        output: Mapping[str, Any] = state.output[0] if isinstance(state.output, (list, tuple)) else state.output
        accuracy = torch.as_tensor(output[self.key]).detach().float()
        self._seen += 1
        # a plain mean at first, then one that forgets
        share = 1 / min(self._seen, self.iterations)
        self._mean = accuracy if self._mean is None else torch.lerp(self._mean, accuracy, share)
        if self._seen < self.iterations or self._seen % LOOK_EVERY:
            return
        mean = float(self._mean)
        if mean > self.won:
            self._say(
                "won",
                f"the discriminator has won: {mean:.0%} of its answers are right, and the generator learns little from "
                "it; try a lower learning rate of the discriminator or a higher one of the generator",
            )
        elif mean < self.collapsed:
            self._say(
                "collapsed",
                f"the discriminator has collapsed: {mean:.0%} of its answers are right, which is chance, and the "
                "generator learns nothing from it; try a higher learning rate of the discriminator, or a lower one if "
                "its loss jumps",
            )

    def _say(self, what: str, line: str) -> None:
        if what not in self._said:
            self._said.add(what)
            tqdm.write(f"warning: {self.name}: {line} (docs/training.md)", file=sys.stderr)
