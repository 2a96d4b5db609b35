"""Fetch the scalars of an engine's output from its device once in a while, for the handlers that need them."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Real
from typing import Any

import torch
from ignite.engine import Engine, EventEnum, Events

__all__ = ["FetchScalars", "ScalarEvents"]

ON_GPU = 20  # iterations; each fetch makes the GPU's queue of work run empty


class ScalarEvents(EventEnum):
    """Tell when a :class:`FetchScalars` has fetched new means."""

    FETCHED = "scalars_fetched"


class FetchScalars:
    """Average the scalars of an engine's output on its device, and fetch the means every few iterations.

    An epoch's last iteration fetches too; a NaN or Inf in any shows. Handlers of ``ScalarEvents.FETCHED`` read them.

    Args:
        every: iterations between two fetches; None is 1 on a CPU, where it costs nothing, and 20 on a GPU.

    Attributes:
        means: by name, of the last fetch.
        count: iterations that ``means`` are taken over.
    """

    def __init__(self, every: int | None = None) -> None:
        self.every = every
        self.means: dict[str, float] = {}
        self.count = 0
        self._sums: dict[str, Any] = {}
        self._summed = 0

    @classmethod
    def of(cls, engine: Engine) -> FetchScalars:
        """Return the engine's own, which is attached first where it has none."""
        state: Any = engine.state
        if getattr(state, "scalars", None) is None:
            cls().attach(engine)
        return state.scalars

    def attach(self, engine: Engine) -> None:
        """Serve the handlers that are attached from now on."""
        state: Any = engine.state
        state.scalars = self
        engine.register_events(*ScalarEvents)
        engine.add_event_handler(Events.STARTED, self._start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self)

    def fetch(self, engine: Engine) -> None:
        """Fetch what was summed since the last time, if anything."""
        if self._summed:
            self.means = {name: float(value) / self._summed for name, value in self._sums.items()}
            self.count = self._summed
            self._sums, self._summed = {}, 0
            engine.fire_event(ScalarEvents.FETCHED)

    def _start(self, engine: Engine) -> None:
        self._sums, self._summed = {}, 0

    def __call__(self, engine: Engine) -> None:
        state: Any = engine.state
        output = state.output[0] if isinstance(state.output, (list, tuple)) and state.output else state.output
        if not isinstance(output, Mapping):
            return
        for name, value in output.items():
            if isinstance(value, torch.Tensor) and value.ndim == 0:
                self._sums[name] = self._sums.get(name, 0) + value.detach().float()
            elif isinstance(value, Real):
                self._sums[name] = self._sums.get(name, 0) + float(value)
        self._summed += 1
        on_gpu = torch.device(getattr(state, "device", "cpu")).type != "cpu"
        every = self.every or (ON_GPU if on_gpu else 1)
        if state.iteration % every == 0 or state.iteration % (state.epoch_length or 1) == 0:
            self.fetch(engine)
