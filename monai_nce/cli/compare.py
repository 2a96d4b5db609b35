"""Measure a synthetic image against the real one: two files, no data set."""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from monai_nce.cli.options import AsJson
from monai_nce.errors import InputError

if TYPE_CHECKING:
    import numpy as np

    from monai_nce.metrics import Metric

__all__ = ["compare", "metrics_text", "on_grid", "read_canonical"]

NOTE = (
    "Where the two were acquired at different times, as real scans before and after contrast medium are, the figures "
    "hold motion between them as well as error. Research use only."
)
SAME_MM = 0.1  # by which places of a voxel may differ


def compare(
    synthetic: Annotated[
        str, typer.Argument(metavar="SYNTHETIC", help="Synthetic image: NIfTI, MetaImage, NRRD or a DICOM folder.")
    ],
    real: Annotated[
        str, typer.Argument(metavar="REAL", help="The real contrast-enhanced scan, voxel for voxel on the same grid.")
    ],
    scan: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="The non-contrast scan that the synthetic image was made from. Unchanged, it is the floor: what is no "
            "better than it has learnt nothing.",
            show_default=False,
        ),
    ] = None,
    mask: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Label map, NIfTI or NRRD: voxels above 0 are compared beside the whole slices. Default: the body.",
            show_default=False,
        ),
    ] = None,
    organs: Annotated[
        str | None,
        typer.Option(
            metavar="FILE", help="Label map of organs, NIfTI or NRRD, for a table of their HU.", show_default=False
        ),
    ] = None,
    naming: Annotated[
        str,
        typer.Option(metavar="NAME|FILE", help="What its numbers mean: totalsegmentator, spl or a JSON file."),
    ] = "totalsegmentator",
    metrics: Annotated[
        str | None,
        typer.Option(
            metavar="NAME,…|all",
            help="Metrics beside the standard ones, for scans between which the patient moved: tolerant_mae_hu, "
            "cw_ssim, source_nmi (with --scan), gradient_ratio, noise_power_db, z_flicker.",
            show_default=False,
        ),
    ] = None,
    window_level: Annotated[float, typer.Option(metavar="HU", help="Centre of the window, in HU.")] = 50,
    window_width: Annotated[float, typer.Option(metavar="HU", help="Width of the window, in HU.")] = 300,
    output: Annotated[
        str | None, typer.Option("--output", "-o", metavar="FILE", help="Write JSON there.", show_default=False)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Measure a synthetic contrast-enhanced image against the real one.

    All images lie on one grid; nothing is resampled but a label map of organs.

    Example: nce compare synthetic.nii.gz real.nii.gz --scan nect.nii.gz --organs organs.nii.gz
    """
    from nibabel.affines import voxel_sizes

    from monai_nce.data.files.atomic import write_json, writing
    from monai_nce.data.files.writable import check_writable
    from monai_nce.data.scans.synthetic import allow_synthetic
    from monai_nce.metrics.additional import find_metrics
    from monai_nce.metrics.compare_volumes import compare_volumes
    from monai_nce.metrics.organ_table import organ_table, organ_text, take_organs
    from monai_nce.transforms.body_mask import body_mask

    additional = find_metrics(_metric_names(metrics, scan is not None))
    if output is not None:
        check_writable(Path(output).parent)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        with allow_synthetic():
            made, affine = read_canonical(synthetic)
        target = on_grid(real, *read_canonical(real), synthetic, made, affine)
        before = None if scan is None else on_grid(scan, *read_canonical(scan), synthetic, made, affine)
        inside = None if mask is None else on_grid(mask, *_read_mask(mask), synthetic, made, affine)
        labels = None if organs is None else take_organs(organs, made.shape, affine, naming)
        found = compare_volumes(
            made,
            target,
            body_mask(target[None])[0] if inside is None else inside > 0,
            before,
            window_level,
            window_width,
            additional,
            voxel_sizes(affine).tolist(),
        )
    result: dict[str, Any] = {
        **{"window_level": window_level, "window_width": window_width, "slices": made.shape[2]},
        **{"within": "body" if mask is None else "mask", "methods": found},
        "organs": None if labels is None else organ_table(before, made, labels, affine, target),
        "note": NOTE,
    }
    for one in caught:
        if one.category.__module__.startswith("monai_nce"):
            print(f"WARNING: {one.message}", file=sys.stderr)
    if output is not None:
        with writing(Path(output)):
            write_json(output, result)
    if as_json:
        print(json.dumps(result, indent=2))
        return
    size = " × ".join(map(str, made.shape[:2]))
    print(f"{made.shape[2]} slices of {size} pixels, in a window of {window_width:g} HU about {window_level:g}")
    _print_columns(metrics_text(result, additional))
    if result["organs"]:
        print()
        _print_columns(organ_text(result["organs"]))
    print(f"\n{NOTE}")


def read_canonical(path: str) -> tuple[np.ndarray, np.ndarray]:
    """Read a CT with its axes towards right, anterior and superior."""
    from monai_nce.data import read_ct
    from monai_nce.data.scans.affine import canonical

    return canonical(*read_ct(path))


def _read_mask(path: str) -> tuple[np.ndarray, np.ndarray]:
    from monai_nce.data.scans.affine import canonical
    from monai_nce.virtual.label_files import read_label_file

    file = read_label_file(Path(path))
    return canonical(file.numbers, file.affine)


def on_grid(
    path: str, volume: np.ndarray, own: np.ndarray, first: str, like: np.ndarray, affine: np.ndarray
) -> np.ndarray:
    """Return a volume if it lies on the grid of the first.

    Raises:
        InputError: saying how far it is off.
    """
    from monai_nce.data.scans.affine import mm_apart

    if volume.shape != like.shape:
        got, expected = (" × ".join(map(str, shape)) for shape in (volume.shape, like.shape))
        raise InputError(f"{path}: expected the grid of {first}, {expected} voxels, but got {got}")
    if (apart := mm_apart(own, affine, like.shape)) > SAME_MM:
        raise InputError(f"{path}: expected the grid of {first} but its voxels lie up to {apart:.1f} mm elsewhere")
    return volume


def _metric_names(typed: str | None, scan: bool) -> list[str]:
    """Return the names that were typed; ``all`` are those that can be had with or without a scan."""
    from monai_nce.metrics.additional import ADDITIONAL_METRICS

    if typed == "all":
        return [name for name, metric in ADDITIONAL_METRICS.items() if scan or "source" not in metric.takes]
    names = [name.strip() for name in (typed or "").split(",") if name.strip()]
    for name in names:
        if not scan and name in ADDITIONAL_METRICS and "source" in ADDITIONAL_METRICS[name].takes:
            raise InputError(f"--metrics {name}: expected --scan, the scan that the synthetic image was made from")
    return names


def metrics_text(result: dict[str, Any], additional: Sequence[Metric] = ()) -> list[list[str]]:
    """Lay out the metrics under a head, a row for each method."""
    from monai_nce.metrics import METRICS
    from monai_nce.metrics.compare_volumes import WITHIN

    shown = [("slices", metric) for metric in (*METRICS.values(), *additional) if metric.shown]
    shown += [("within", METRICS[name]) for name in WITHIN]
    head = ["", *(f"{'' if part == 'slices' else result['within'] + ': '}{metric}" for part, metric in shown)]
    return [
        head,
        *(
            [name, *(f"{values[part][metric.name]:{metric.format}}" for part, metric in shown)]
            for name, values in result["methods"].items()
        ),
    ]


def _print_columns(lines: Sequence[Sequence[str]]) -> None:
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
