"""Show one progress bar per stage, with its losses and the time left."""

from __future__ import annotations

from collections.abc import Sequence

from ignite.engine import Engine, Events
from tqdm import tqdm

from monai_nce.distributed import is_main_process
from monai_nce.handlers.fetch_scalars import FetchScalars, ScalarEvents
from monai_nce.terminal import progress_bar

__all__ = ["StageProgress"]

SMOOTHING = 0.05  # of the running means: losses of single batches of four jump too much to be read


class StageProgress:
    """Draw a bar over all iterations of a stage; Ignite's ``ProgressBar`` starts again with each epoch.

    Args:
        name: what the stage does, such as "stage 1/2 CECT -> NECT".
        keys: scalars of the engine's output to show, as running means.
        unit: name of an iteration.
    """

    def __init__(self, name: str, keys: Sequence[str] = ("loss",), unit: str = "it") -> None:
        self.name = name
        self.unit = unit
        self.keys = tuple(keys)
        self._bar: tqdm | None = None
        self._means: dict[str, float] = {}

    def attach(self, engine: Engine) -> None:
        FetchScalars.of(engine)
        # not when the run starts: only after that is it known where a resumed stage goes on
        engine.add_event_handler(Events.EPOCH_STARTED, self._start)
        engine.add_event_handler(ScalarEvents.FETCHED, self._update_means)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._advance)
        engine.add_event_handler(Events.COMPLETED, self._close)
        engine.add_event_handler(Events.EXCEPTION_RAISED, self._close_and_raise)

    def _start(self, engine: Engine) -> None:
        if self._bar is not None:
            return
        state = engine.state
        self._means = {}
        self._bar = progress_bar(
            name=self.name,
            unit=self.unit,
            total=(state.max_epochs or 0) * (state.epoch_length or 0) or None,
            initial=state.iteration,
            show=is_main_process(),
        )

    def _update_means(self, engine: Engine) -> None:
        scalars = FetchScalars.of(engine)
        for key in self.keys:
            if key in scalars.means:
                new = scalars.means[key]
                self._means[key] = new + (1 - SMOOTHING) ** scalars.count * (self._means.get(key, new) - new)

    def _advance(self, engine: Engine) -> None:
        if self._bar is None or self._bar.disable:
            return
        shown = [f"{key}={value:.3f}" for key, value in self._means.items()]
        if engine.state.max_epochs != 1:
            shown.insert(0, f"epoch {engine.state.epoch}/{engine.state.max_epochs}")
        self._bar.set_postfix_str(" ".join(shown), refresh=False)
        self._bar.update()

    def _close(self, engine: Engine) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _close_and_raise(self, engine: Engine, error: BaseException) -> None:
        self._close(engine)
        raise error  # Ignite swallows an exception that some handler was told of and none has raised
