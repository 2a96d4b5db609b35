from __future__ import annotations

import json
import math
import os
from pathlib import Path

import pytest
import torch
from ignite.engine import Events
from monai.bundle import ConfigWorkflow
from monai.handlers import LrScheduleHandler
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from data_prep.__main__ import main as prepare
from monai_nce.errors import InputError
from monai_nce.handlers import TrainedFor

REAL = os.environ.get("NCE_REAL_DATA")
needs_real = pytest.mark.skipif(not REAL, reason="NCE_REAL_DATA is not set")
STAGES = ("classifier", "stage1", "train")


def workflow(bundle: Path, overrides: dict, *overlays: str) -> ConfigWorkflow:
    configs = [str(bundle / "configs" / f"{name}.json") for name in ("train", *overlays)]
    made = ConfigWorkflow(
        config_file=configs, workflow_type="train", logging_file=False, run_id="training", **overrides
    )
    made.initialize()
    return made


def state(path: Path) -> dict[str, torch.Tensor]:
    return torch.load(path, weights_only=True)


def same(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(left[name], right[name]) for name in left) and left.keys() == right.keys()


def test_one_command_trains_every_stage_and_leaves_its_weights(bundle, tiny):
    run = workflow(bundle, tiny)
    before = {name: {k: v.clone() for k, v in run.parser.get_parsed_content(name).state_dict().items()}
              for name in ("network", "auxiliary", "discriminator", "domain_classifier")}  # fmt: skip
    run.run()
    models = Path(tiny["output_dir"]) / "models"
    saved = {"network": "model.pt", "auxiliary": "auxiliary.pt", "discriminator": "discriminator.pt",
             "domain_classifier": "classifier.pt"}  # fmt: skip
    for name, file in saved.items():
        after = state(models / file)
        assert not same(before[name], after), f"{name} was not trained"
        assert all(torch.isfinite(v).all() for v in after.values() if v.is_floating_point())
        # what is saved is what is in memory: later stages left the earlier networks alone
        assert same(after, run.parser.get_parsed_content(name).state_dict()), f"{name} moved after its stage"
    assert (models / "model_best.pt").is_file() and (models / "auxiliary_best.pt").is_file()


def test_weights_say_what_they_were_trained_for(bundle, tiny):
    workflow(bundle, {**tiny, "window_width": 400}, "joint").run()
    models = Path(tiny["output_dir"]) / "models"
    said = {file.stem: state(file)._metadata[""].get("trained_for") for file in models.iterdir()}
    network = {"slices": 3, "channels": [8, 8], "hidden_channels": 8, "num_groups": 32, "negative_slope": 0.2}
    network |= {"residual": True, "condition_channels": 0, "_target_": "monai_nce.networks.Generator"}
    data = [{"name": "monai-nce phantom", "kind": "phantom", "patients": 2, "scans": 4, "licence": "Apache-2.0"}]
    window = {"window_level": 50, "window_width": 400, "spacing": 5.3333, "slices": 3, "network": network}
    window |= {"data": data, "method": "joint"}
    there = {"source": "NECT", "target": "CECT", **window}
    back = {"source": "CECT", "target": "NECT", **window, "auxiliary": True}
    assert said == {
        "model": there, "model_best": there, "auxiliary": back, "auxiliary_best": back,
        "classifier": None, "discriminator": None,
    }  # fmt: skip


@pytest.mark.parametrize(
    "mistake",
    [{"stage2#optimizer#lr": "fast"}, {"stage2#loss#l1_weigth": 3}, {"stage2#perceptual_loss#layer_weights": []}],
)
def test_a_mistake_in_the_last_stage_is_said_before_the_first_begins(bundle, tiny, mistake):
    with pytest.raises(Exception):  # noqa: B017, PT011 - MONAI's and PyTorch's own
        workflow(bundle, {**tiny, **mistake}).run()
    assert not Path(tiny["output_dir"]).exists()


def test_losses_scalars_and_sample_images_reach_tensorboard(bundle, tiny):
    workflow(bundle, tiny).run()
    wanted = {
        "classifier": ({"loss"}, False),
        "stage1": ({"loss", "discriminator_loss", "discriminator_accuracy", "val_mse"}, True),
        "stage2": ({"loss", "val_mse"}, True),
    }
    for stage, (tags, pictures) in wanted.items():
        events = EventAccumulator(str(Path(tiny["output_dir"]) / "tensorboard" / stage)).Reload()
        assert tags <= set(events.Tags()["scalars"])
        assert bool(events.Tags()["images"]) == pictures
        for tag in tags:
            assert all(math.isfinite(event.value) for event in events.Scalars(tag))


def test_training_twice_with_a_seed_gives_the_same_weights(bundle, tiny):
    model = Path(tiny["output_dir"]) / "models" / "model.pt"
    workflow(bundle, tiny).run()
    first = state(model)
    workflow(bundle, {**tiny, "overwrite": True}).run()
    assert same(first, state(model))


def test_the_trainer_that_monai_s_tools_run_alone_trains_what_it_builds_on_first(bundle, tiny, capsys):
    run = workflow(bundle, tiny)
    before = {name: value.clone() for name, value in run.network_def.state_dict().items()}
    run.trainer.run()
    assert "stage2 builds on classifier and stage1, not trained yet: trained first" in capsys.readouterr().out
    assert not same(before, run.network_def.state_dict())
    assert run.parser.get_parsed_content("stage1#trainer").state.epoch == 1


def test_an_unpaired_set_without_validation_trains(bundle, tiny, tmp_path):
    import numpy as np

    from monai_nce.data import DatasetWriter

    rng = np.random.default_rng(0)
    with DatasetWriter(tmp_path / "set", name="unpaired", description="noise", licence="none") as writer:
        writer.add("training", "n", np.eye(4), source=rng.normal(0, 60, (64, 64, 5)))
        writer.add("training", "c", np.eye(4), target=rng.normal(50, 60, (64, 64, 6)))
    workflow(bundle, {**tiny, "dataset_dir": str(tmp_path / "set")}).run()
    models = Path(tiny["output_dir"]) / "models"
    assert (models / "model.pt").is_file()
    assert not (models / "model_best.pt").exists()


def test_a_mixture_reaches_every_stage(bundle, tiny, tmp_path, capsys):
    import numpy as np

    from monai_nce.data import DatasetWriter

    real, affine = str(tmp_path / "real"), np.diag([5.3333, 5.3333, 5, 1])
    with DatasetWriter(real, name="unpaired", description="flat", licence="none") as writer:
        writer.add("training", "n", affine, source=np.full((64, 64, 3), 3000))
        writer.add("training", "c", affine, target=np.full((64, 64, 5), 3000))
    run = workflow(bundle, {**tiny, "mixture": {real: 0.25}})
    run.run()
    assert f"training separate on {tiny['dataset_dir']} and {real}; results go to" in capsys.readouterr().out
    for stage in STAGES:
        loader = run.parser.get_parsed_content(f"{stage}#dataloader")
        assert loader.dataset.parts == [(range(8), 6), (range(8, 13), 2)]  # of two patients with four slices each
        batches = list(loader)
        assert len(batches) == 4
        assert sum(int((batch["target"] == 1).all(dim=(1, 2, 3)).sum()) for batch in batches) == 2
    learnt = TrainedFor.read(Path(tiny["output_dir"]) / "models" / "model.pt").data
    assert [(one["name"], one["scans"]) for one in learnt] == [("monai-nce phantom", 4), ("unpaired", 2)]


@pytest.mark.parametrize("overlays", [("paper",), ("paper", "paper_ixi")], ids="-".join)
def test_paper_presets_give_every_figure_of_section_4_1(bundle, tiny, overlays):
    # the keys that a preset must set for itself, so that no later default can move it
    preset: dict = {}
    for overlay in overlays:
        preset |= json.loads((bundle / "configs" / f"{overlay}.json").read_text())
    paper = {
        "network_def#channels": [512, 512, 256, 128, 64, 32],
        "network_def#negative_slope": 0.2,
        "network_def#residual": False,
        "discriminator_def#channels": [64, 128, 256, 512, 1024, 2048],
        "discriminator_def#negative_slope": 0.2,
        "stage2#perceptual_loss#layer_weights": [1 / 32, 1 / 16, 1 / 8, 1 / 4],
        "stage2#loss#l1_weight": 10,
        "betas": [0.5, 0.999],
        "batch_size": 4,
        "slices": 3,
        "phantom#size": 256,
        **{f"{stage}#max_epochs": 30 if overlays == ("paper",) else 20 for stage in ("stage1", "stage2")},
        **{f"{key}#lr": 1e-4 for key in
           ("stage1#generator_optimizer", "stage1#discriminator_optimizer", "stage2#optimizer")},
        **{f"{key}#gamma": 0.9 for key in
           ("stage1#generator_lr_scheduler", "stage1#discriminator_lr_scheduler", "stage2#lr_scheduler")},
    }  # fmt: skip
    level, width = (50, 300) if overlays == ("paper",) else (500, 1000)
    paper |= {"window_level": level, "window_width": width}
    # ours, since the paper gives none: as many as its widths can be divided by
    paper |= {"network_def#num_groups": 32, "discriminator_def#num_groups": 32}
    assert {key: preset[key] for key in paper} == paper


@pytest.mark.parametrize("overlays", [("paper",), ("paper", "paper_ixi")], ids="-".join)
def test_the_papers_preset_reaches_the_networks_and_optimisers(bundle, tiny, overlays):
    kept = {key: tiny[key] for key in ("dataset_dir", "output_dir")}
    run = workflow(bundle, kept, *overlays)
    for name in ("network", "auxiliary"):
        generator = run.parser.get_parsed_content(name)
        assert [block.conv_2.out_channels for block in generator.blocks] == [512, 512, 256, 128, 64, 32]
        assert not generator.residual
    discriminator = run.parser.get_parsed_content("discriminator")
    assert [layer[0].out_channels for layer in discriminator.layers] == [64, 128, 256, 512, 1024, 2048]
    assert discriminator.head.in_features == 2048  # 64 px, halved six times
    for name in ("stage1#generator_", "stage1#discriminator_", "stage2#"):
        optimizer = run.parser.get_parsed_content(f"{name}optimizer")
        assert isinstance(optimizer, torch.optim.Adam)
        assert optimizer.defaults["lr"] == 1e-4 and tuple(optimizer.defaults["betas"]) == (0.5, 0.999)
        scheduler = run.parser.get_parsed_content(f"{name}lr_scheduler")
        assert isinstance(scheduler, torch.optim.lr_scheduler.ExponentialLR) and scheduler.gamma == 0.9
        assert scheduler.optimizer is optimizer
    for stage in ("stage1", "stage2"):
        schedulers = [h for h in run.parser.get_parsed_content(f"{stage}#handlers") if isinstance(h, LrScheduleHandler)]
        assert len(schedulers) == {"stage1": 2, "stage2": 1}[stage] and all(h.epoch_level for h in schedulers)


@pytest.mark.slow
def test_an_iteration_of_each_stage_at_the_papers_size_runs_on_a_cpu(bundle, tmp_path):
    from monai_nce.phantom import write_phantom_dataset

    dataset = write_phantom_dataset(tmp_path / "set", patients=1, size=256, slices=4, progress=False)
    overrides = {"dataset_dir": str(dataset), "output_dir": str(tmp_path / "out"), "num_workers": 0}
    overrides |= {f"{stage}#trainer#max_epochs": 1 for stage in STAGES}  # four stacks, a batch of four: one iteration
    run = workflow(bundle, overrides, "paper")
    run.run()
    for stage in STAGES:
        trainer = run.parser.get_parsed_content(f"{stage}#trainer")
        assert trainer.state.iteration == 1
        assert trainer.state.output[0]["image"].shape[-2:] == (256, 256)
        assert math.isfinite(float(trainer.state.output[0]["loss"]))


@pytest.mark.slow
@pytest.mark.parametrize(
    "folder, config", [(".", "bundles/nce/configs/train.json"), ("bundles/nce", "configs/train.json")]
)
def test_the_command_line_works_from_the_repository_and_from_the_bundle(run_bundle, bundle, tiny, folder, config):
    done = run_bundle("training", "--config_file", config, cwd=bundle.parents[1] / folder, **tiny)
    assert done.returncode == 0, done.stderr
    for name in ("classifier: NECT or CECT", "stage1: CECT to NECT", "stage2: NECT to CECT"):
        assert name in done.stderr, f"no progress bar says {name}"
    assert (Path(tiny["output_dir"]) / "models" / "model.pt").is_file()


@pytest.mark.slow
def test_without_a_data_set_the_phantom_is_made_once_and_said_in_one_line(run_bundle, tiny, tmp_path):
    del tiny["dataset_dir"]
    tiny |= {"phantom_dir": tmp_path / "phantom", "phantom#patients": 4, "phantom#size": 64, "phantom#slices": 4}
    for expected in (1, 0):
        tiny["overwrite"] = not expected
        done = run_bundle("training", "--config_file", "bundles/nce/configs/train.json", **tiny)
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("making a phantom") == expected


def test_the_size_is_that_of_the_data_set_and_one_that_the_networks_cannot_take_is_refused(bundle, tiny, tmp_path):
    import numpy as np

    from monai_nce.data import DatasetWriter

    with DatasetWriter(tmp_path / "set", name="noise", description="noise", licence="none") as writer:
        for patient in ("a", "b"):
            image = np.random.default_rng(0).normal(0, 60, (66, 66, 3))
            writer.add("training", patient, np.eye(4), source=image, target=image)
    with pytest.raises(RuntimeError) as caught:
        workflow(bundle, {**tiny, "dataset_dir": str(tmp_path / "set")}).run()
    assert isinstance(caught.value.__cause__, InputError)
    assert "66 x 66" in str(caught.value.__cause__) and "68 x 68" in str(caught.value.__cause__)
    assert not Path(tiny["output_dir"]).exists()


@needs_real
def test_an_epoch_on_real_scans(bundle, tiny, tmp_path):
    """Two patients, unpaired: all that stage 1 needs."""
    made = prepare(
        ["ct", "--nect", f"{REAL}/nect_abdomen/ct.nii.gz", "--cect", f"{REAL}/cect_abdomen_dicom/series",
         "--out-dir", str(tmp_path / "set"), "--size", "64", "--spacing", "5.3333"]
    )  # fmt: skip
    assert made == 0
    run = workflow(bundle, {**tiny, "dataset_dir": str(tmp_path / "set")})
    losses: dict[str, list[float]] = {stage: [] for stage in STAGES}
    for stage in STAGES:
        trainer = run.parser.get_parsed_content(f"{stage}#trainer")
        trainer.add_event_handler(
            Events.ITERATION_COMPLETED,
            lambda engine, seen=losses[stage]: seen.append(float(engine.state.output[0]["loss"])),
        )
    run.run()
    for stage, values in losses.items():
        assert len(values) >= 10 and all(math.isfinite(value) for value in values), stage
