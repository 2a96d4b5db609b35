"""Trainings by ``torchrun``: two processes on a CPU stand for any number of GPUs and machines."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.bundles.conftest import REPOSITORY
from tests.bundles.two_processes import SCHEMES, losses_of_schemes

TWO = ("torch.distributed.run", "--standalone", "--nproc_per_node=2", "-m")


@pytest.fixture(scope="module")
def trained(tiny_dataset, tmp_path_factory) -> dict[str, dict]:
    """What one process computed with batches of 4, and two with batches of 2 each, in ten iterations a stage."""
    folder = tmp_path_factory.mktemp("distributed")
    # sizes at which a CPU takes a second a scheme; ten iterations of 4 out of 8 stacks are five epochs
    settings = {
        "dataset_dir": str(tiny_dataset),
        "network_def#channels": [8, 8],
        "network_def#hidden_channels": 8,
        # as in the paper. The residual network starts at pred = input, where the derivative of L1 is a sign of rounding
        "network_def#residual": False,
        "discriminator_def#channels": [8, 8],
        "domain_classifier_def#channels": [4, 4, 8, 8, 8],
        "largest_residual": 10,  # a pixel at the mask's threshold might count in one training and not in the other
        "stage1#trainer#max_epochs": 5,
        "train#trainer#max_epochs": 5,
    }
    two = {**settings, "output_dir": str(folder / "two"), "batch_size": 2}
    (folder / "two").mkdir()
    (folder / "settings.json").write_text(json.dumps(two))
    process = subprocess.run(
        [sys.executable, "-m", *TWO, "tests.bundles.two_processes", str(folder / "settings.json")],
        cwd=REPOSITORY,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert process.returncode == 0, process.stderr[-3000:]
    ranks = [json.loads((folder / "two" / f"rank{rank}.json").read_text()) for rank in range(2)]
    one = losses_of_schemes({**settings, "output_dir": str(folder / "one"), "batch_size": 4}, distributed=False)
    return {"one": one, "rank0": ranks[0], "rank1": ranks[1], "folder": folder}


@pytest.mark.slow
@pytest.mark.parametrize("scheme", SCHEMES)
def test_one_and_two_processes_agree_over_the_same_global_batch(trained, scheme):
    for stage in SCHEMES[scheme][1]:
        one, two = (trained[name][scheme][stage] for name in ("one", "rank0"))
        assert len(one["losses"]) == len(two["losses"]) == 10
        for alone, together in zip(one["losses"], two["losses"], strict=True):
            assert together == pytest.approx(alone, abs=1e-4), stage
        # one validation patient, two processes: the second has none of its own
        assert len(one["scores"]) == 5
        assert two["scores"] == pytest.approx(one["scores"], abs=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("scheme", SCHEMES)
def test_all_processes_see_the_same_losses_and_scores_and_draw_different_numbers(trained, scheme):
    for stage in SCHEMES[scheme][1]:
        assert trained["rank0"][scheme][stage] == trained["rank1"][scheme][stage]
    assert trained["rank0"][scheme]["draws"] != trained["rank1"][scheme]["draws"]


@pytest.mark.slow
@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_weights_are_saved_once_bare_and_equal_to_those_of_one_process(trained, scheme):
    one, two = (trained["folder"] / name / scheme / "models" for name in ("one", "two"))
    assert sorted(file.name for file in one.iterdir()) == sorted(file.name for file in two.iterdir())
    for file in one.iterdir():
        alone, together = (torch.load(folder / file.name, weights_only=True) for folder in (one, two))
        assert list(alone) == list(together)
        for name in alone:
            torch.testing.assert_close(together[name], alone[name], atol=1e-3, rtol=0)


@pytest.mark.slow
def test_by_the_command_line_rank_0_alone_prints_and_writes(run_bundle, tiny):
    """Every stage, the classifier's too."""
    done = run_bundle(
        "training",
        "--config_file",
        "['bundles/nce/configs/train.json','bundles/nce/configs/multi_gpu_train.json']",
        launcher=TWO,
        **tiny,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("training separate on") == 1
    for stage in ("classifier", "stage1", "stage2"):
        assert len(re.findall(rf"{stage}: \w+ \w+ \w+: +100%", done.stderr)) == 1, "not one progress bar"
    output = Path(tiny["output_dir"])
    for name in ("classifier", "auxiliary", "discriminator", "model"):
        weights = torch.load(output / "models" / f"{name}.pt", weights_only=True)
        assert not any(key.startswith(("module.", "_orig_mod.")) for key in weights)
    for stage in ("classifier", "stage1", "stage2"):
        assert len(list((output / "tensorboard" / stage).glob("events.*"))) == 1


@pytest.mark.slow
def test_a_process_that_fails_alone_ends_the_others_and_says_why(run_bundle, tiny, tmp_path):
    overlay = tmp_path / "fails.json"
    overlay.write_text(
        json.dumps(
            {
                "training": [
                    "$one_line_errors()",
                    "$@network_def.check_size(65, 64) if dist.get_rank() == 1 else None",
                    "$@stage1#trainer.run()",  # rank 0 waits here for rank 1
                ]
            }
        )
    )
    files = [f"bundles/nce/configs/{name}.json" for name in ("train", "multi_gpu_train")]
    done = run_bundle("training", "--config_file", str([*files, str(overlay)]), launcher=TWO, **tiny)
    assert done.returncode == 1
    assert done.stderr.count("error: expected in-plane sizes divisible by 4 but got 65 x 64") == 1
    assert not (Path(tiny["output_dir"]) / "models" / "auxiliary.pt").exists()
