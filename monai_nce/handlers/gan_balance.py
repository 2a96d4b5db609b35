"""Warn when the discriminator wins or collapses."""

from __future__ import annotations

import sys

from ignite.engine import Engine
from tqdm.auto import tqdm

from monai_nce.distributed import is_main_process
from monai_nce.handlers.fetch_scalars import FetchScalars, ScalarEvents

__all__ = ["GANBalance"]

ACCURACY = "discriminator_accuracy"  # in the engine's output
WON = 0.95  # nearly all answers are right
MARGIN = 0.02  # above chance: an accuracy within it is no better than guessing
ITERATIONS = 300  # of the running mean; no warning comes earlier


class GANBalance:
    """Warn, in one line each, when the discriminator has won or collapsed.

    It has won when nearly all its answers are right, and collapsed when it is no better than chance.

    Args:
        name: name of the stage, for the message.
        chance: accuracy of guessing; 1/3 for three classes. With 1/2, for two, there is no warning of a collapse: at
            the optimum of a GAN no discriminator can tell the two apart.
    """

    def __init__(self, name: str, chance: float = 1 / 3) -> None:
        self.name = name
        self.collapsed = chance + MARGIN if chance < 0.5 else 0.0
        self._mean = 0.0
        self._seen = 0
        self._said: set[str] = set()

    def attach(self, engine: Engine) -> None:
        FetchScalars.of(engine)
        engine.add_event_handler(ScalarEvents.FETCHED, self)

    def __call__(self, engine: Engine) -> None:
        scalars = FetchScalars.of(engine)
        if not is_main_process():
            return
        self._seen += scalars.count
        # a plain mean at first, then one that forgets
        self._mean += (scalars.means[ACCURACY] - self._mean) * scalars.count / min(self._seen, ITERATIONS)
        mean = self._mean
        if self._seen < ITERATIONS:
            return
        if mean > WON:
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
