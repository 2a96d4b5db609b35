from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from monai_nce.node import run
from monai_nce.node.enhancing import Crashed, Result
from monai_nce.node.run import enhance_next, send_next
from monai_nce.node.sender import NotSent
from monai_nce.node.store import ATTEMPTS, Store
from tests.node.stored import put, settings


class Enhancing:
    """Answer as told, and write a series where it is told that it worked."""

    closed = False

    def __init__(self, *results: Result | Exception) -> None:
        self.results = list(results)
        self.seeds: list[str] = []

    def run(self, series: Path, output: Path, seed: str) -> Result:
        self.seeds.append(seed)
        assert [path.name for path in series.iterdir()] == ["0001.dcm"]
        result = self.results.pop(0)
        if isinstance(result, Exception):
            raise result
        if result.outcome == "enhanced":
            output.mkdir(exist_ok=True)
            (output / "synthetic_0001.dcm").write_text("made")
        return result


@pytest.fixture
def store(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> Store:
    caplog.set_level(logging.INFO)
    store = Store(tmp_path / "node")
    put(store, "1", "1", "1", "a")
    return store


def step(store: Store, enhancing: Any) -> bool:
    store._database.execute("UPDATE series SET next_try = 0")
    return enhance_next(settings(store.folder), store, enhancing)


def test_a_series_is_enhanced_once(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    enhancing = Enhancing(Result("enhanced", slices=1))
    assert step(store, enhancing) and not step(store, enhancing)
    assert store.waiting() == {"enhanced": 0, "sent": 1} and not any((store.folder / "work").iterdir())
    assert "study 1, series 1: 1 slices enhanced" in caplog.text


def test_what_is_refused_is_not_sent(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    assert step(store, Enhancing(Result("unsuitable", "seems to show a head")))
    assert store.waiting() == {"enhanced": 0, "sent": 0}
    assert store.counters()["series"] == {"refused: unsuitable": 1}
    assert "study 1, series 1: refused: seems to show a head" in caplog.text


def test_a_crash_is_tried_again_with_the_same_uids_and_given_up_in_the_end(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    enhancing = Enhancing(*[Crashed("the process that enhances ended")] * ATTEMPTS)
    for _ in range(ATTEMPTS):
        assert step(store, enhancing)
    assert not step(store, enhancing) and len(set(enhancing.seeds)) == 1
    assert store.counters()["crashes"] == {"": ATTEMPTS} and store.counters()["series"] == {"failed": 1}
    assert "given up: send the study again to try once more" in caplog.text


def test_a_kill_between_writing_and_noting_sends_the_series_once(store: Store) -> None:
    enhancing = Enhancing(*[Result("enhanced", slices=1)] * 2)
    noted = store.enhanced
    store.enhanced = lambda *_: True  # type: ignore[method-assign]  # the kill
    step(store, enhancing)
    store.enhanced = noted  # type: ignore[method-assign]
    step(store, enhancing)
    assert len(set(enhancing.seeds)) == 1 and store.waiting() == {"enhanced": 0, "sent": 1}
    assert len(list((store.folder / "outgoing").iterdir())) == 1


def test_a_receiver_that_is_down_gets_the_series_later(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    given = settings(store.folder)
    step(store, Enhancing(Result("enhanced", slices=1)))
    answers: list[Exception | None] = [NotSent("no connection", "down"), ValueError("Geheim^Anna"), None]

    def answer(*_: Any) -> None:
        if (error := answers.pop(0)) is not None:
            raise error

    monkeypatch.setattr(run, "send_series", answer)
    for wait in (5, 10):
        assert send_next(given, store) and not send_next(given, store)
        assert f"tried again in {wait} s" in caplog.text
        store._database.execute("UPDATE outgoing SET next_try = 0")
    assert send_next(given, store) and not send_next(given, store)
    assert store.counters()["sends"] == {"fault": 1, "no connection": 1, "sent": 1}
    assert "Geheim" not in caplog.text and "1 instances sent" in caplog.text


def test_a_series_whose_files_are_gone_does_not_count_as_sent(store: Store) -> None:
    step(store, Enhancing(Result("enhanced", slices=1)))
    for file in (store.folder / "outgoing").rglob("*.dcm"):
        file.unlink()
    assert send_next(settings(store.folder), store)
    assert store.waiting()["sent"] == 1
