"""Run the stages that a stage builds on first, where its trainer is run by itself."""

from __future__ import annotations

from collections.abc import Mapping

from ignite.engine import Engine, Events

from monai_nce.distributed import is_main_process

__all__ = ["EarlierStages"]


class EarlierStages:
    """Run trainers that have not run yet, neither here nor in the training that is resumed, before another one starts.

    Whoever runs a bundle's ``trainer`` alone, as federated learning does, would train a network behind others that know
    nothing yet. In a training of all stages nothing is left to do. To be attached before :class:`StageCheckpoint`.

    Args:
        name: name of the stage that waits, for the message.
        stages: the trainers by name, in their order.
    """

    def __init__(self, name: str, stages: Mapping[str, Engine]) -> None:
        self.name = name
        self.stages = dict(stages)

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.STARTED, self)

    def __call__(self, engine: Engine) -> None:
        waiting = {name: stage for name, stage in self.stages.items() if not stage.state.iteration}
        if waiting and is_main_process():
            print(f"{self.name} builds on {' and '.join(waiting)}, not trained yet: trained first", flush=True)
        for stage in waiting.values():
            stage.run()
