"""Let a stop signal end a validation between two patients, to be done again when the training is resumed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ignite.engine import Engine, Events

from monai_nce.distributed import all_max
from monai_nce.handlers.checkpoint.random_state import random_state
from monai_nce.handlers.checkpoint.stop_signals import StopSignals

__all__ = ["StoppableValidation"]


class StoppableValidation:
    """Stop an epoch's validations, which may take longer than a scheduler waits before it kills.

    No handler of ``COMPLETED`` runs after an early end: nothing is judged by a part of the patients. With several
    processes all end after the same number of patients.

    Args:
        validators: evaluators, in the order they run in.
        signals: those of the stage.

    Attributes:
        missing: positions in ``validators`` of those that were ended early.
        random: the random state before the first of them, so that they draw the same when they are done again.
    """

    def __init__(self, validators: Sequence[Engine], signals: StopSignals) -> None:
        self.validators = list(validators)
        self.signals = signals
        self.missing: list[int] = []
        self.random: dict[str, Any] = {}
        self._common = 0

    def attach(self) -> None:
        for number, validator in enumerate(self.validators):
            validator.add_event_handler(Events.STARTED, self._begin, number)
            validator.add_event_handler(Events.ITERATION_COMPLETED, self._look, number)

    def catch_up(self, missing: Sequence[int], epoch: int) -> None:
        """Run what an earlier process left ``missing`` in an epoch; it may be ended early again."""
        self.missing = []
        for number in missing:
            self.validators[number].run(epoch)

    def _begin(self, validator: Engine, number: int) -> None:
        if not self.missing:
            self.random = random_state(validator.state.device)
        # some processes may have a patient more than others, who are not there to agree with after their last one
        self._common = -all_max(-int(validator.state.epoch_length or 0))[0]
        self._look(validator, number)

    def _look(self, validator: Engine, number: int) -> None:
        if validator.state.iteration <= self._common and all_max(self.signals.received)[0]:
            self.missing.append(number)
            validator.terminate(skip_completed=True)
