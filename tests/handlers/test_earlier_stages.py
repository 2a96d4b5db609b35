from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ignite.engine import Engine

from monai_nce.handlers import EarlierStages


def trainer(name: str, ran: list[str], epochs: int = 2) -> Engine:
    engine = Engine(lambda engine, batch: ran.append(name))
    run = engine.run
    engine.run = lambda: run([0], max_epochs=epochs)  # type: ignore[method-assign,assignment,misc]
    return engine


@settings(max_examples=25, deadline=None)
@given(st.lists(st.booleans(), max_size=4))
def test_what_has_not_run_runs_once_in_order_before_the_first_iteration(done: list[bool]) -> None:
    ran: list[str] = []
    stages = {f"stage{number}": trainer(f"stage{number}", ran) for number in range(len(done))}
    last = trainer("last", ran, epochs=1)
    EarlierStages("last", stages).attach(last)
    for name, ready in zip(stages, done, strict=True):
        if ready:
            stages[name].run()
    ran.clear()
    last.run()
    waited = [name for name, ready in zip(stages, done, strict=True) if not ready]
    assert ran == [name for name in waited for _ in range(2)] + ["last"]
    ran.clear()
    last.state.epoch = 0
    last.run()
    assert ran == ["last"]


def test_a_resumed_stage_counts_as_run_and_what_is_run_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    ran: list[str] = []
    stages = {name: trainer(name, ran) for name in ("classifier", "stage1")}
    stages["classifier"].state.iteration = 7
    last = trainer("last", ran)
    EarlierStages("stage2", stages).attach(last)
    last.run()
    assert capsys.readouterr().out == "stage2 builds on stage1, not trained yet: trained first\n"
    assert "classifier" not in ran
