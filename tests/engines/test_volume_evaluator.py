from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from ignite.engine import Events
from torch import nn
from torch.utils.data import DataLoader

from monai_nce.data import AttemptedDataset, collate_volume
from monai_nce.engines import VolumeEvaluator
from monai_nce.errors import InputError

FINE, UNREAD, FAILS = range(3)


class Scans(torch.utils.data.Dataset):
    def __init__(self, kinds: list[int]) -> None:
        self.kinds = kinds

    def __len__(self) -> int:
        return len(self.kinds)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        if self.kinds[index] == UNREAD:
            raise InputError(f"{index}.nii: gone")
        return {"image": torch.full((1, 2, 2, 2), float(self.kinds[index]))}


class Network(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.max() == FAILS:
            raise ZeroDivisionError("of JOHN DOE")
        return x + 1


def evaluator(kinds: list[int], go_on: bool) -> VolumeEvaluator:
    loader = DataLoader(AttemptedDataset(Scans(kinds)), batch_size=1, collate_fn=collate_volume)
    return VolumeEvaluator(device="cpu", val_data_loader=loader, network=Network(), go_on=go_on)


@settings(max_examples=12)
@given(st.lists(st.integers(FINE, FAILS), min_size=1, max_size=6))
def test_what_fails_leaves_the_others_as_they_are(kinds):
    outputs: list[Any] = []
    engine = evaluator(kinds, go_on=True)
    engine.add_event_handler(Events.ITERATION_COMPLETED, lambda engine: outputs.append(engine.state.output))
    engine.run()
    expected = {UNREAD: "{}.nii: gone", FAILS: "an unexpected ZeroDivisionError while it was computed"}
    for index, (kind, output) in enumerate(zip(kinds, outputs, strict=True)):
        if kind == FINE:
            assert output[0]["pred"].eq(1).all()
        else:
            assert output == {"fault": expected[kind].format(index)}


@pytest.mark.parametrize(("kind", "error"), [(UNREAD, InputError), (FAILS, ZeroDivisionError)])
def test_the_first_fault_ends_the_run_where_that_is_asked_for(kind, error):
    with pytest.raises(error):
        evaluator([FINE, kind, FINE], go_on=False).run()


def test_an_interruption_is_none():
    engine = evaluator([FINE, FINE], go_on=True)

    @engine.on(Events.ITERATION_STARTED(once=2))
    def interrupt(engine):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        engine.run()
