"""Measure weights on the test patients of a data set, by the bundle's ``evaluating``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from monai_nce.cli.options import Device, DryRun, JSONLines, Quiet, Settings, as_settings
from monai_nce.cli.run_bundle import bundle_command, choose_output, run_command
from monai_nce.cli.typed_paths import typed_path
from monai_nce.errors import InputError
from monai_nce.weights_store import find_weights

__all__ = ["evaluate"]


def evaluate(
    settings: Settings = None,
    run: Annotated[
        str | None,
        typer.Option(
            "--run", metavar="DIR", help="Output folder of a training, whose weights are measured.", show_default=False
        ),
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|PATH", help="Other weights: a name (nce weights list) or a file.", show_default=False
        ),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            "--data",
            metavar="DIR",
            help="Data set with test patients whose two scans exist. Default: the phantom that the training made.",
            show_default=False,
        ),
    ] = None,
    output_dir: Annotated[
        str | None,
        typer.Option(
            "--output-dir",
            "-o",
            metavar="DIR",
            help="Folder of the results. Default: that of --run.",
            show_default=False,
        ),
    ] = None,
    conditional: Annotated[
        bool,
        typer.Option(
            "--conditional", help="Tell the network each patient's contrast phase and level, if it takes them."
        ),
    ] = False,
    report: Annotated[
        bool,
        typer.Option(help="Write a page to look at, report.html, with three patients.", show_default="--report"),
    ] = True,
    device: Device = None,
    quiet: Quiet = False,
    as_json: JSONLines = False,
    dry_run: DryRun = False,
) -> None:
    """Measure weights on a data set's test patients, with the unchanged scan as the floor.

    Network, window and scheme are read from the weights' file.

    Example: nce evaluate --run runs/ct --data runs/ct_data
    """
    choose_output(quiet, as_json, "")
    if (run is None) == (weights is None):
        raise InputError("expected --run, the output folder of a training, or --weights")
    if run is not None and data is None and Path(run, "phantom").is_dir():
        data = str(Path(run, "phantom"))
    if data is None:
        raise InputError("expected --data, a data set with test patients")
    if (output_dir := output_dir or run) is None:
        raise InputError("expected -o, the folder of the results")
    from monai_nce.data.dataset.datalist import read_datalist_file
    from monai_nce.handlers.weights.trained_for import TrainedFor

    read_datalist_file(data)
    checkpoint = find_weights(run or weights or "")
    own = {
        "dataset_dir": typed_path(data),
        "output_dir": typed_path(output_dir),
        "checkpoint": typed_path(str(checkpoint)),
        "method": TrainedFor.read(checkpoint).method,
        "report": report or None,
        "device": device,
        **as_settings(settings or []),
    }
    files = ["train.json", *["conditional.json"] * conditional, "evaluate.json"]
    run_command(bundle_command("evaluating", files, own), dry_run)
