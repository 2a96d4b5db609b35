"""The overlay augmentation.json: pairs are moved together, the same in each repetition of an epoch."""

from __future__ import annotations

import torch
from monai.bundle import ConfigWorkflow
from monai.data import MetaTensor

from monai_nce.data import EpochIndex


def training(bundle, tiny, *overlays: str) -> ConfigWorkflow:
    configs = [str(bundle / "configs" / f"{name}.json") for name in ("train", *overlays, "augmentation")]
    made = ConfigWorkflow(config_file=configs, workflow_type="train", logging_file=False, **tiny)
    made.initialize()
    return made


def test_a_pair_is_moved_together_and_stays_in_the_window(bundle, tiny):
    transform = training(bundle, tiny, "regression", "oracle").parser.get_parsed_content("train#augmentation")
    stack = torch.linspace(-400, 400, 3 * 32 * 32).reshape(3, 32, 32)
    moved = []
    for seed in range(8):
        transform.set_random_state(seed=seed)
        item = transform({"target": stack.clone(), "aligned_source": stack.clone()})
        assert torch.equal(item["target"], item["aligned_source"])
        assert item["target"].shape == stack.shape
        assert item["target"].abs().max() <= 1
        assert not isinstance(item["target"], MetaTensor)
        moved.append(item["target"])
    assert len({tuple(image.flatten().tolist()) for image in moved}) > 6


def test_an_epoch_repeats_itself_and_the_next_one_differs(bundle, tiny):
    dataset = training(bundle, tiny).parser.get_parsed_content("train#dataset")
    first, again, later = (dataset[EpochIndex(5, epoch)]["target"] for epoch in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, later)


def test_both_stages_train_on_moved_images(bundle, tiny):
    run = training(bundle, tiny)
    transforms = [run.parser.get_parsed_content(f"{stage}#dataset").transform for stage in ("train", "stage1")]
    assert transforms[0] is transforms[1] is run.parser.get_parsed_content("train#augmentation")
    run.run()
    assert run.parser.get_parsed_content("train#trainer").state.iteration > 0


def test_the_aligned_pairs_of_stage_1_are_moved_together_too(bundle, tiny):
    run = training(bundle, tiny, "aligned")
    pairs = run.parser.get_parsed_content("stage1#pairs")
    assert pairs.transform is run.parser.get_parsed_content("train#augmentation")
    assert set(pairs[0]) >= {"target", "aligned_source"} and "source" not in pairs[0]
