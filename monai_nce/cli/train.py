"""Train by the bundle's ``training``, with the files that a scheme, a preset and the data set ask for."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer

from monai_nce.cli.options import Device, DryRun, Jobs, JSONLines, OutputDir, Quiet, Settings, as_settings
from monai_nce.cli.run_bundle import bundle_command, choose_output, run_command, share_cores
from monai_nce.cli.training_choice import SCHEMES, choose_training, said_of
from monai_nce.cli.typed_paths import typed_path
from monai_nce.errors import InputError
from monai_nce.weights_store import find_weights

__all__ = ["train"]

STAGES = ("classifier", "stage1", "stage2")


class Scheme(str, Enum):
    separate = "separate"
    joint = "joint"
    single = "single"
    cycle = "cycle"
    aligned = "aligned"
    regression = "regression"
    oracle = "oracle"
    registered = "registered"
    registered_joint = "registered-joint"


class Preset(str, Enum):
    small = "small"
    paper_ct = "paper-ct"
    paper_ixi = "paper-ixi"


class Precision(str, Enum):
    auto = "auto"
    fp32 = "fp32"
    bf16 = "bf16"
    fp16 = "fp16"


def train(
    output_dir: OutputDir,
    settings: Settings = None,
    data: Annotated[
        str | None,
        typer.Option(
            "--data",
            metavar="DIR",
            help="Data set, as nce prepare makes it. Default: a phantom, made in the output folder.",
            show_default=False,
        ),
    ] = None,
    scheme: Annotated[
        Scheme | None,
        typer.Option(
            help="What is trained. Default: separate, or what the data set was registered for.", show_default=False
        ),
    ] = None,
    preset: Annotated[
        Preset | None,
        typer.Option(
            help="Size of networks and training: small, or the paper's. Default: what fits the data set's images.",
            show_default=False,
        ),
    ] = None,
    init_weights: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|PATH",
            help="Weights to start from (fine-tune): a name (nce weights list), a file or a training's folder.",
            show_default=False,
        ),
    ] = None,
    conditional: Annotated[
        bool,
        typer.Option("--conditional", help="Tell the network contrast phase and level, where the data set says them."),
    ] = False,
    augment: Annotated[bool, typer.Option("--augment", help="Mirror, turn, shift and scale the images.")] = False,
    overlay: Annotated[
        list[str] | None,
        typer.Option(metavar="FILE", help="Configuration file of your own, laid over the others. May be repeated."),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the training in the output folder.")] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Train anew where a training lies in the output folder.")
    ] = False,
    epochs: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Epochs of each stage. Default: the preset's.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, metavar="N", help="Seed of weights and data order. Default: 0.")
    ] = None,
    precision: Annotated[
        Precision | None, typer.Option(help="Number format of the networks' passes. Default: fp32.", show_default=False)
    ] = None,
    device: Device = None,
    jobs: Jobs = 1,
    mlflow: Annotated[
        bool, typer.Option("--mlflow", help="Track the training with MLflow, in the output folder.")
    ] = False,
    quiet: Quiet = False,
    as_json: JSONLines = False,
    dry_run: DryRun = False,
) -> None:
    """Train on a data set; Ctrl-C stops at any time, and --resume goes on.

    Example: nce train --data runs/ct_data -o runs/ct --scheme joint
    """
    choose_output(quiet, as_json, "--resume")
    about: dict[str, Any] = {} if data is None else said_of(data)
    choice = choose_training(about, scheme and scheme.value, preset and preset.value)
    names = [
        "train",
        *SCHEMES[choice.scheme],
        *["conditional"] * conditional,
        *["augmentation"] * augment,
        *choice.preset,
    ]
    files = [f"{name}.json" for name in names]
    for file in overlay or []:
        if not Path(file).is_file():
            raise InputError(f"{file}: no such configuration file")
        files.append(str(Path(file).absolute()))  # not the bundle's of that name
    if jobs > 1:
        files.append("multi_gpu_train.json")
    own: dict[str, Any] = {
        "dataset_dir": None if data is None else typed_path(data),
        "phantom_dir": typed_path(str(Path(output_dir, "phantom"))) if data is None else None,
        "output_dir": typed_path(output_dir),
        **choice.names,
        "init_weights": init_weights and typed_path(str(find_weights(init_weights))),
        "resume": resume or None,
        "overwrite": overwrite or None,
        **{f"{stage}#max_epochs": epochs for stage in STAGES},
        "seed": seed,
        "precision": precision and precision.value,
        "device": device,
        "mlflow": mlflow or None,
        **as_settings(settings or []),
    }
    command = bundle_command("training", files, own, jobs)
    if jobs > 1:
        _check(command, Path(output_dir), resume, overwrite)
        share_cores(jobs)
    run_command(command, dry_run)


def _check(command: list[str], folder: Path, resume: bool, overwrite: bool) -> None:
    """Refuse what each of several processes would refuse, with pages of ``torchrun`` behind it."""
    from monai_nce.command_line import read_flags
    from monai_nce.handlers import refuse_trained

    read_flags(command[command.index("run") :])
    refuse_trained(folder / "checkpoints", folder / "models", resume, overwrite)
