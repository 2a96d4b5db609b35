from __future__ import annotations

import pytest

from benchmarks.paper_cost import operations
from monai_nce.phantom import write_phantom_dataset

TINY = {
    "network_def#channels": [8, 8],
    "network_def#hidden_channels": 8,
    "discriminator_def#channels": [8, 8],
    "domain_classifier_def#channels": [4, 4, 8, 8, 8],
}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cost") / "set"
    return write_phantom_dataset(folder, patients=2, size=64, slices=4, progress=False)


def test_the_stages_of_separate_training_over_the_papers_epochs(dataset):
    counted = operations("separate", "paper", dataset, **TINY)
    assert tuple(counted) == ("classifier", "stage1", "stage2")
    for stage in counted.values():
        assert stage["iterations"] == 30 * 4795  # 30 epochs (4.3.1) of 19,180 pairs in batches of 4
        assert stage["pflop"] == stage["tflop_per_iteration"] * stage["iterations"] / 1e3
        assert stage["tflop_per_iteration"] > 0
    halved = operations("separate", "paper", dataset, **TINY, batch_size=2)
    for name, stage in halved.items():
        assert stage["tflop_per_iteration"] == pytest.approx(counted[name]["tflop_per_iteration"] / 2)


@pytest.mark.parametrize(
    ("method", "stages"),
    [("joint", ["classifier", "stage2"]), ("single", ["stage1"]), ("regression", ["classifier", "stage2"])],
)
def test_a_method_is_counted_in_its_own_stages(method, stages, dataset):
    assert list(operations(method, "paper_ixi", dataset, **TINY)) == stages
