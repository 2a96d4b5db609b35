"""A validation that is told to stop ends between two patients, on all processes between the same two."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from ignite.engine import Engine, Events
from monai.engines import Evaluator
from torch.utils.data import DataLoader, TensorDataset

from monai_nce.handlers.checkpoint.stop_signals import StopSignals
from monai_nce.handlers.checkpoint.stoppable_validation import StoppableValidation


class Validation:
    """Of some patients, in one of which a signal comes; nothing but ``StoppableValidation`` is attached."""

    def __init__(self, patients: int, signal_in: int = 0) -> None:
        self.signals = StopSignals()
        self.validator = Evaluator(
            torch.device("cpu"), DataLoader(TensorDataset(torch.zeros(patients))), decollate=False,
            iteration_update=lambda engine, patient: torch.rand(1),
        )  # fmt: skip
        self.validation = StoppableValidation([self.validator], self.signals)
        self.validation.attach()
        self.signal_in = signal_in
        self.validator.add_event_handler(Events.ITERATION_STARTED, self.signal)
        self.ends = 0
        self.validator.add_event_handler(Events.COMPLETED, self.end)
        self.validator.run()

    def signal(self, engine: Engine) -> None:
        if engine.state.iteration == self.signal_in:
            self.signals.received = 15

    def end(self, engine: Engine) -> None:
        self.ends += 1

    @property
    def outcome(self) -> tuple[int, int, list[int]]:
        """Patients seen, validations that came to their end, and which have to be done again."""
        return self.validator.state.iteration, self.ends, self.validation.missing


def test_without_a_signal_it_comes_to_its_end() -> None:
    assert Validation(3).outcome == (3, 1, [])


@pytest.mark.parametrize("patient", [1, 2, 3])
def test_it_ends_after_the_patient_at_hand_and_nothing_of_it_counts(patient: int) -> None:
    assert Validation(3, patient).outcome == (patient, 0, [0])


def test_the_random_state_is_that_of_before() -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    validation = Validation(3, 2)
    assert torch.equal(validation.validation.random["torch"], before)
    assert not torch.equal(torch.get_rng_state(), before)


def test_it_is_done_again_and_can_be_ended_again() -> None:
    validation = Validation(3, 2)
    validation.validation.catch_up([0], 1)
    assert validation.outcome == (0, 0, [0])  # the signal is still there
    validation.signals.received = 0
    validation.validation.catch_up([0], 1)
    assert validation.outcome == (2, 0, [0])
    validation.signals.received = validation.signal_in = 0
    validation.validation.catch_up([0], 1)
    assert validation.outcome == (3, 1, [])


def one_of_two(rank: int, folder: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    patients = 3 - rank
    assert Validation(patients).outcome == (patients, 1, [])
    for which in range(2):
        for patient in (1, 2):
            assert Validation(patients, patient if rank == which else 0).outcome == (patient, 0, [0])
    # in the one patient that the other process has not: both come to their end
    assert Validation(patients, 3).outcome == (patients, 1, [])
    dist.destroy_process_group()
    Path(folder, f"{rank} is done").touch()


@pytest.mark.slow
def test_two_processes_end_it_after_the_same_patient_even_if_one_has_more(tmp_path: Path) -> None:
    mp.spawn(one_of_two, (str(tmp_path),), nprocs=2)
    assert len(list(tmp_path.glob("* is done"))) == 2
