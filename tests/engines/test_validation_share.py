from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.engines import SupervisedEvaluator
from monai.handlers import MeanSquaredError, from_engine

from monai_nce.engines import ValidationShare

PATIENTS = [{"image": torch.full((1, 2, 2), float(i)), "label": torch.zeros(1, 2, 2)} for i in range(5)]


def errors(share: ValidationShare) -> list[float]:
    """What one process hands to the gathering of a metric."""
    evaluator = SupervisedEvaluator(
        torch.device("cpu"),
        torch.utils.data.DataLoader(share.items, batch_size=1),
        torch.nn.Identity(),
        key_val_metric={"val_mse": MeanSquaredError(output_transform=share.counted(from_engine(["pred", "label"])))},
    )
    evaluator.run()
    return evaluator.state.metric_details["val_mse"].flatten().tolist()


@pytest.mark.parametrize(("patients", "processes"), [(1, 1), (5, 1), (5, 2), (4, 2), (1, 2), (2, 5), (1, 3)])
def test_every_patient_counts_once_over_all_processes(as_rank, monkeypatch, patients, processes):
    gathered = []
    for rank in range(processes):
        with monkeypatch.context():
            as_rank(rank, processes)
            share = ValidationShare(PATIENTS[:patients])
            monkeypatch.undo()
        of_rank = errors(share)
        assert of_rank, "a process without a metric would keep the others waiting"
        gathered += of_rank
    assert sorted(e for e in gathered if not np.isnan(e)) == [float(i) ** 2 for i in range(patients)]


def test_monais_average_leaves_the_uncounted_out():
    metric = MeanSquaredError().metric_fn
    metric([torch.full((1, 2, 2), 3.0), torch.full((1, 2, 2), torch.nan)], [torch.zeros(1, 2, 2)] * 2)
    assert metric.aggregate().item() == 9


def test_without_validation_patients_there_is_nothing_on_any_process(as_rank):
    as_rank(1, 2)
    assert ValidationShare([]).items == []


def test_one_process_takes_everything_as_it_is():
    share, transform = ValidationShare(PATIENTS), from_engine(["pred", "label"])
    assert share.items == PATIENTS and share.counted(transform) is transform
