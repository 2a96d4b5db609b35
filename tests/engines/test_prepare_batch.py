from __future__ import annotations

import copy

import pytest
import torch
from monai.engines import SupervisedTrainer
from torch import nn

from monai_nce.contrast import ContrastCondition, append_condition, raise_contrast
from monai_nce.engines import DomainBatch, RealPair, SyntheticPair, VolumePair
from monai_nce.errors import InputError
from monai_nce.losses import PerceptualLoss, ReconstructionLoss
from monai_nce.networks import DomainClassifier, Generator


def batch(size: int = 2, side: int = 16) -> dict[str, torch.Tensor]:
    random = torch.Generator().manual_seed(3)
    return {key: torch.rand(size, 3, side, side, generator=random) * 2 - 1 for key in ("source", "target")}


def small_generator(seed: int) -> Generator:
    torch.manual_seed(seed)
    return Generator(channels=(8, 4), hidden_channels=4, num_groups=2)


def test_domain_batch_holds_sources_as_0_and_targets_as_1() -> None:
    given = batch()
    images, labels = DomainBatch()(given)
    assert torch.equal(images, torch.cat([given["source"], given["target"]]))
    assert labels.tolist() == [0, 0, 1, 1] and labels.dtype == torch.int64


def test_domain_batch_of_other_keys_and_of_unequal_sizes() -> None:
    given = {"t1": torch.zeros(1, 3, 4, 4), "pd": torch.ones(3, 3, 4, 4)}
    images, labels = DomainBatch(source_key="t1", target_key="pd")(given, dtype=torch.float64)
    assert labels.tolist() == [0, 1, 1, 1]
    assert images.dtype == torch.float64
    assert images.mean(dim=(1, 2, 3)).tolist() == [0, 1, 1, 1]


def test_domain_batch_trains_a_classifier_with_cross_entropy() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, 2))
    trainer = SupervisedTrainer(
        device=torch.device("cpu"),
        max_epochs=1,
        train_data_loader=[batch()],
        network=network,
        optimizer=torch.optim.SGD(network.parameters(), lr=0.0),
        loss_function=nn.CrossEntropyLoss(),
        prepare_batch=DomainBatch(),
    )
    trainer.run()
    logits = network(torch.cat([batch()["source"], batch()["target"]]))
    expected = -torch.log_softmax(logits, dim=1)[[0, 1, 2, 3], [0, 0, 1, 1]].mean()
    assert float(trainer.state.output[0]["loss"]) == pytest.approx(expected.item(), rel=1e-5)


def test_synthetic_pair_is_the_auxiliarys_output_and_the_real_target_without_graph() -> None:
    auxiliary = small_generator(0).train()
    given = batch()
    expected = copy.deepcopy(auxiliary).eval()(given["target"])
    synthetic, target = SyntheticPair(auxiliary)(given)
    torch.testing.assert_close(synthetic, expected)
    assert torch.equal(target, given["target"])
    assert not synthetic.requires_grad and synthetic.grad_fn is None and not target.requires_grad


def test_synthetic_pair_runs_the_auxiliary_in_eval_mode() -> None:
    auxiliary = nn.Sequential(nn.BatchNorm2d(3), nn.Dropout(0.5)).train()
    before = copy.deepcopy(auxiliary.state_dict())
    first, _ = SyntheticPair(auxiliary)(batch())
    second, _ = SyntheticPair(auxiliary)(batch())
    assert torch.equal(first, second)
    assert all(torch.equal(value, before[name]) for name, value in auxiliary.state_dict().items())


def test_stage_2_moves_the_target_network_alone() -> None:
    auxiliary, network = small_generator(0), small_generator(1)
    torch.manual_seed(2)
    classifier = DomainClassifier(channels=(2, 2, 4, 4, 4), head_channels=(), pooled_size=1)
    classifier(batch(side=32)["source"])  # running statistics that are not the initial ones
    loss = ReconstructionLoss(PerceptualLoss(classifier))
    before = {
        name: copy.deepcopy(part.state_dict())
        for name, part in {"auxiliary": auxiliary, "classifier": classifier, "network": network}.items()
    }
    trainer = SupervisedTrainer(
        device=torch.device("cpu"),
        max_epochs=2,
        train_data_loader=[batch(side=32), batch(side=32)],
        network=network,
        optimizer=torch.optim.Adam(network.parameters(), lr=1e-3),
        loss_function=loss,
        prepare_batch=SyntheticPair(auxiliary),
    )
    trainer.run()
    for name, part in (("auxiliary", auxiliary), ("classifier", classifier)):
        for key, value in part.state_dict().items():
            assert torch.equal(value, before[name][key]), f"{name}: {key} moved"
    assert any(key.endswith("running_mean") for key in before["classifier"])
    assert all(parameter.grad is None for parameter in auxiliary.parameters())
    assert all(parameter.grad is None for parameter in classifier.parameters())
    moved = [key for key, value in network.state_dict().items() if not torch.equal(value, before["network"][key])]
    assert len(moved) == len(before["network"])
    item = trainer.state.output[0]
    torch.testing.assert_close(item["image"], auxiliary.eval()(batch(side=32)["target"])[0].detach())
    assert torch.equal(item["label"], batch(side=32)["target"][0])


def test_real_pair_is_what_was_acquired() -> None:
    given = {**batch(), "aligned_source": batch()["source"] + 1}
    source, target = RealPair()(given)
    assert torch.equal(source, given["source"]) and torch.equal(target, given["target"])
    source, target = RealPair("aligned_source", "target")(given, dtype=torch.float64)
    assert torch.equal(source, given["aligned_source"].double()) and target.dtype == torch.float64


def test_images_come_channels_last_and_unchanged():
    batch = {key: torch.rand(2, 3, 4, 5) for key in ("source", "target")}
    images, _ = DomainBatch()(batch)
    for pair in (RealPair()(batch), SyntheticPair(nn.Tanh())(batch), (images, images)):
        for image in pair:
            assert image.is_contiguous(memory_format=torch.channels_last) and not image.is_contiguous()
    assert torch.equal(images, torch.cat([batch["source"], batch["target"]]))


CONDITION = torch.tensor([[1.0, 0.5], [0.0, -0.5]])


@pytest.mark.parametrize("prepare", [RealPair(), SyntheticPair(nn.Tanh())])
def test_a_condition_goes_behind_the_slices_that_the_network_is_given(prepare: RealPair | SyntheticPair) -> None:
    plain, target = prepare(batch())
    told, same = prepare({**batch(), "condition": CONDITION})
    assert torch.equal(told, append_condition(plain, CONDITION)) and told.shape == (2, 5, 16, 16)
    assert torch.equal(same, target) and target.shape == (2, 3, 16, 16)
    assert told.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("prepare", [RealPair("aligned_source"), SyntheticPair(nn.Tanh())])
def test_a_target_is_raised_to_the_level_that_is_told(prepare: RealPair | SyntheticPair) -> None:
    given = {**batch(), "condition": CONDITION}
    given["aligned_source"] = given["source"]
    rise = torch.tensor([1.0, 1.5])
    source, target = prepare(given)
    same, raised = prepare({**given, "rise": rise})
    assert torch.equal(same, source)
    assert torch.equal(raised, raise_contrast(source[:, :3], target, rise))
    torch.testing.assert_close(raised[0], target[0])


def test_only_aligned_pairs_are_raised() -> None:
    given = {**batch(), "condition": CONDITION, "rise": torch.tensor([1.0, 1.0])}
    _, target = RealPair()(given)
    torch.testing.assert_close(target, given["target"])
    with pytest.raises(InputError, match="only aligned pairs can be raised; give --condition#raised 0 for source"):
        RealPair()({**given, "rise": torch.tensor([1.0, 1.5])})
    with pytest.raises(InputError, match="give --condition#raised 0 for registered_source"):
        RealPair("registered_source", condition=ContrastCondition(raised=0.5))
    RealPair("registered_source", condition=ContrastCondition(dropped=0.1))
    RealPair("aligned_source", condition=ContrastCondition(raised=0.5))


def test_stage_2_learns_what_it_is_told() -> None:
    network = Generator(channels=(8, 4), hidden_channels=4, num_groups=2, condition_channels=2)
    before = copy.deepcopy(network.state_dict())
    trainer = SupervisedTrainer(
        device=torch.device("cpu"),
        max_epochs=1,
        train_data_loader=[{**batch(), "condition": CONDITION}],
        network=network,
        optimizer=torch.optim.Adam(network.parameters(), lr=1e-3),
        loss_function=nn.L1Loss(),
        prepare_batch=SyntheticPair(small_generator(0)),
    )
    trainer.run()
    for name, value in network.state_dict().items():
        if name.endswith("hidden.0.weight"):
            assert not torch.equal(value[:, 3:], before[name][:, 3:]), name


def test_an_evaluator_s_inferer_is_given_the_condition() -> None:
    volumes = {"image": torch.rand(1, 1, 4, 4, 5), "label": torch.rand(1, 1, 4, 4, 5), "patient": ["a"]}
    image, label = VolumePair()(volumes, torch.device("cpu"), False)
    assert torch.equal(image, volumes["image"]) and torch.equal(label, volumes["label"])
    *pair, args, kwargs = VolumePair()({**volumes, "condition": CONDITION[:1]}, torch.device("cpu"), False)
    assert [torch.equal(one, volumes[key]) for one, key in zip(pair, ("image", "label"), strict=True)] == [True, True]
    assert args == () and torch.equal(kwargs["condition"], CONDITION[:1])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_an_auxiliary_that_was_never_trained_is_said_so(dtype: torch.dtype) -> None:
    untrained = Generator(channels=(8, 4), hidden_channels=4, num_groups=2, residual=True)
    with pytest.raises(InputError, match="^stage 2: the auxiliary network was never trained, .* run stage 1 before"):
        SyntheticPair(untrained.to(dtype))(batch(), dtype=dtype)


def test_values_at_the_window_s_ends_say_nothing_of_it() -> None:
    """An image of bone, or of air alone, may come back unchanged from a network that was trained."""
    flat = {"target": torch.ones(2, 3, 16, 16)}
    prepare = SyntheticPair(nn.Hardtanh(-0.5, 1.0))
    for _ in range(2):
        source, target = prepare(flat)
        assert torch.equal(source, target)
    prepare({"target": -flat["target"]})
    untrained = SyntheticPair(nn.Identity())
    untrained(flat)
    with pytest.raises(InputError, match="never trained"):
        untrained(batch())
