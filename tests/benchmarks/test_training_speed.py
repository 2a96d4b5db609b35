from __future__ import annotations

from monai_nce.data import write_phantom_dataset


def test_both_stages_and_the_loader_are_measured(tmp_path):
    from benchmarks.training_speed import measure

    dataset = write_phantom_dataset(tmp_path / "set", patients=2, size=64, slices=4, progress=False)
    tiny = {"in_plane_size": 64, "batch_size": 2, "network_def#channels": [8, 8], "network_def#hidden_channels": 8}
    tiny |= {"discriminator_def#channels": [8, 8], "classifier_def#channels": [4, 4, 8, 8, 8]}
    result = measure(dataset, iterations=2, rounds=2, **tiny)
    for stage in ("stage1", "train"):
        assert 0 < result[stage]["ratio"] < 10
        assert result[stage]["trainer"]["low"] <= result[stage]["trainer"]["median"] <= result[stage]["trainer"]["high"]
    assert result["loader"]["times_faster_than_consumed"] > 0
