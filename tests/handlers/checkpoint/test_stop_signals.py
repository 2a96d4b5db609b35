from __future__ import annotations

import os
import signal
import threading

import pytest

from monai_nce.handlers.checkpoint import stop_signals
from monai_nce.handlers.checkpoint.stop_signals import StopSignals


@pytest.fixture
def signals():
    """Installed, and given back whatever happens."""
    made = StopSignals()
    made.install()
    yield made
    made.restore()


def send(number: int) -> None:
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_noted(signals: StopSignals, number: int) -> None:
    assert signals.received == 0
    send(number)
    assert signals.received == number


def test_what_comes_at_once_is_the_same_signal(signals: StopSignals) -> None:
    """The terminal's Ctrl-C and torchrun's, which passes it on."""
    for _ in range(3):
        send(signal.SIGINT)
    assert signals.received == signal.SIGINT


def test_a_second_signal_ends_at_once(signals: StopSignals, monkeypatch: pytest.MonkeyPatch) -> None:
    earlier = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(stop_signals, "SAME_S", -1.0)
    send(signal.SIGTERM)
    with pytest.raises(SystemExit) as stopped:
        send(signal.SIGINT)
    assert stopped.value.code == 128 + signal.SIGINT
    assert signal.getsignal(signal.SIGTERM) != earlier  # given back


def test_the_earlier_handlers_are_given_back() -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    signals = StopSignals()
    signals.install()
    signals.install()
    assert signal.getsignal(signal.SIGINT) != before[0]
    signals.restore()
    signals.restore()
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_a_new_stage_starts_without_the_last_ones_signal(signals: StopSignals) -> None:
    send(signal.SIGTERM)
    signals.restore()
    signals.install()
    assert signals.received == 0


def test_nothing_happens_in_another_thread() -> None:
    before = signal.getsignal(signal.SIGINT)
    thread = threading.Thread(target=StopSignals().install)
    thread.start()
    thread.join()
    assert signal.getsignal(signal.SIGINT) == before
