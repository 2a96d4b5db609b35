"""Make synthetic contrast-enhanced images of scans, by the bundle's ``inferring``."""

from __future__ import annotations

from enum import Enum
from typing import Annotated

import typer

from monai_nce.cli.options import Device, DryRun, Jobs, JSONLines, OutputDir, Quiet, Set, as_settings
from monai_nce.cli.run_bundle import bundle_command, choose_output, run_side_by_side
from monai_nce.cli.typed_paths import typed_inputs, typed_path
from monai_nce.weights_store import DEFAULT, find_weights

__all__ = ["enhance"]


class Format(str, Enum):
    nifti = "nifti"
    dicom = "dicom"
    both = "both"


class Phase(str, Enum):
    arterial = "arterial"
    portal = "portal"
    delayed = "delayed"


class Only(str, Enum):
    nect = "nect"
    cect = "cect"
    all = "all"


def enhance(
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="INPUT",
            help="Scans: NIfTI, MetaImage or NRRD files, DICOM folders, folders of either at any depth, or patterns.",
        ),
    ],
    output_dir: OutputDir,
    weights: Annotated[
        str,
        typer.Option(
            metavar="NAME|PATH",
            help="Weights: a name (nce weights list), a file or a training's folder. Network, window and pixel spacing "
            "are read from them.",
        ),
    ] = DEFAULT,
    format: Annotated[Format, typer.Option(help="What a result is written as.")] = Format.nifti,
    phase: Annotated[
        Phase | None, typer.Option(help="Contrast phase to make, with weights that take one.", show_default=False)
    ] = None,
    level: Annotated[
        float | None,
        typer.Option(
            metavar="X",
            help="Contrast to make, 0.3 to 2 times the usual, with weights that take it.",
            show_default=False,
        ),
    ] = None,
    stride: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Slices from one stack of three to the next: 1 is the most exact, 3 the fastest. Default: 1.",
        ),
    ] = None,
    device: Device = None,
    only: Annotated[
        Only | None,
        typer.Option(
            help="Phase of the scans to enhance, where it is known. Default, of several: the one the weights expect.",
            show_default=False,
        ),
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Refuse scans that are unlike those that the weights were made for.")
    ] = False,
    skip_existing: Annotated[
        bool, typer.Option("--skip-existing", help="Leave out scans whose results are there already.")
    ] = False,
    report: Annotated[
        bool, typer.Option(help="Write a page to look at, .html, beside each result.", show_default="--report")
    ] = True,
    uncertainty: Annotated[
        bool,
        typer.Option("--uncertainty", help="Write how far each voxel may be off too, in HU; takes twice the time."),
    ] = False,
    uncertainty_dicom: Annotated[
        bool, typer.Option("--uncertainty-dicom", help="Write that as a second DICOM series too.")
    ] = False,
    keep_patient_data: Annotated[
        bool,
        typer.Option("--keep-patient-data", help="Name the scan's path on that page; it may hold a patient's name."),
    ] = False,
    jobs: Jobs = 1,
    settings: Set = None,
    quiet: Quiet = False,
    as_json: JSONLines = False,
    dry_run: DryRun = False,
) -> None:
    """Make synthetic contrast-enhanced images of non-contrast scans.

    A result lies on its scan's own grid, with a picture and a page to look at beside it. Research use only.

    Example: nce enhance scan.nii.gz dicom_folder -o results
    """
    choose_output(quiet, as_json, "--skip-existing")
    command = bundle_command(
        "inferring",
        ["inference.json"],
        {
            "input": typed_inputs(inputs),
            "output_dir": typed_path(output_dir),
            "checkpoint": typed_path(str(find_weights(weights))),
            "output_format": format.value,
            "phase": phase and phase.value,
            "level": level,
            "stride": stride,
            "device": device,
            "only": only and only.value,
            "strict": strict or None,
            "skip_existing": skip_existing or None,
            "report": report or None,
            "uncertainty": uncertainty or None,
            "uncertainty_dicom": uncertainty_dicom or None,
            "keep_patient_data": keep_patient_data or None,
            **as_settings(settings or []),
        },
    )
    run_side_by_side(command, jobs, dry_run)
