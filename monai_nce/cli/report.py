"""Make a page to look at of images on disk."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from monai_nce.cli.compare import NOTE, metrics_text, on_grid, read_canonical
from monai_nce.errors import InputError

if TYPE_CHECKING:
    import numpy as np

    from monai_nce.visualize import ReportTable

__all__ = ["report"]


def report(
    synthetic: Annotated[
        str, typer.Argument(metavar="SYNTHETIC", help="Synthetic image: NIfTI, MetaImage, NRRD or a DICOM folder.")
    ],
    scan: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="The non-contrast scan that it was made from.", show_default=False),
    ] = None,
    real: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="The real contrast-enhanced scan, on the same grid.", show_default=False),
    ] = None,
    labels: Annotated[
        str | None,
        typer.Option(
            metavar="FILE", help="Label map of organs, NIfTI or NRRD, for a table of their HU.", show_default=False
        ),
    ] = None,
    naming: Annotated[
        str, typer.Option(metavar="NAME|FILE", help="What its numbers mean: totalsegmentator, spl or a JSON file.")
    ] = "totalsegmentator",
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE.html",
            help="The page. Default: beside SYNTHETIC, with its name.",
            show_default=False,
        ),
    ] = None,
    keep_patient_data: Annotated[
        bool, typer.Option("--keep-patient-data", help="Name the files' paths; they may hold a patient's name.")
    ] = False,
    open_it: Annotated[bool, typer.Option("--open", help="Show it in the browser.")] = False,
) -> None:
    """Make a page to look at: images side by side, with tables, in one HTML file.

    All images are CT and lie on one grid; nothing is resampled but a label map of organs. Research use only.

    Example: nce report scan_synthetic_cect.nii.gz --scan scan.nii.gz --open
    """
    from monai_nce.data import read_ct
    from monai_nce.data.scans.affine import canonical
    from monai_nce.data.scans.earlier_result import made_from, page_file, result_text, scan_hash
    from monai_nce.data.scans.reader import one_volume
    from monai_nce.data.scans.suitability import doubts
    from monai_nce.data.scans.synthetic import allow_synthetic
    from monai_nce.visualize import Case, Report, write_report
    from monai_nce.visualize.page import version_table

    page = page_file(synthetic) if output is None else Path(output)
    if page.suffix != ".html":
        raise InputError(f"{page}: expected a name that ends in .html")
    paths = {"synthetic": synthetic, "scan": scan, "real": real, "labels": labels}
    given = {role: path for role, path in paths.items() if path is not None}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        with allow_synthetic():
            made, affine = read_ct(synthetic)
            found = one_volume(synthetic)
        text = result_text(Path(synthetic))
        mark = made_from(Path(synthetic)) or scan_hash(found, made, affine)
        if page.exists() and made_from(page) != mark:
            raise InputError(f"{page}: is not the page of this image, and is not replaced: name another -o")
        upright, place = canonical(made, affine)
        others = {
            role: on_grid(path, *read_canonical(path), synthetic, upright, place)
            for role, path in given.items()
            if role in ("scan", "real")
        }
        tables = _tables(upright, place, others, labels, naming)
    doubted = doubts(others["scan"], place) if "scan" in others else []
    notes = [str(one.message) for one in caught if one.category.__module__.startswith("monai_nce")]
    for note in notes:
        print(f"WARNING: {note}", file=sys.stderr)
    for role, path in given.items():
        notes = [note.replace(f"{path}: ", "").replace(path, f"the {role}") for note in notes]
    volumes = {role: _stored_as(volume, affine) for role, volume in others.items()}
    name = page_file(synthetic).stem
    what = [("image", name), *(given.items() if keep_patient_data else ()), ("says of itself", _without_hashes(text))]
    write_report(
        page,
        Report(
            name,
            _display(text),
            [*_warning(text), *notes, *(f"Doubt about the scan: {doubt}." for doubt in doubted)],
            [Case(name, affine, made, **volumes)],
            tables=[*tables, _facts(what), version_table()],
            mark=f"Scan SHA-256: {mark}.",
        ),
    )
    print(f"{page}: {page.stat().st_size / 1e6:.1f} MB. SYNTHETIC, research use only.")
    if open_it:
        import webbrowser

        if not webbrowser.open(page.resolve().as_uri()):
            raise InputError(f"{page}: is there, but no browser was found to show it")


def _tables(
    made: np.ndarray, affine: np.ndarray, others: dict[str, np.ndarray], labels: str | None, naming: str
) -> list[ReportTable]:
    """Tabulate metrics where there is a real image, and organs where there are labels."""
    from monai_nce.metrics.compare_volumes import compare_volumes
    from monai_nce.metrics.organ_table import organ_table, organ_text, take_organs
    from monai_nce.transforms.body_mask import body_mask
    from monai_nce.visualize import ReportTable

    tables = []
    scan, real = others.get("scan"), others.get("real")
    if real is not None:
        found = compare_volumes(made, real, body_mask(real[None])[0], scan)
        head, *rows = metrics_text({"within": "body", "methods": found})
        floor = "" if scan is None else "Identity is the scan unchanged, the floor. "
        tables.append(ReportTable("How near to the real image", head, rows, f"{floor}{NOTE}"))
    if labels is not None:
        organs = take_organs(labels, made.shape, affine, naming)
        head, *rows = organ_text(organ_table(scan, made, organs, affine, real))
        note = "Before: the scan; after: the synthetic image. Means over all voxels of a label, its rim too."
        tables.append(ReportTable("Organs", head, [[name.replace("_", " "), *cells] for name, *cells in rows], note))
    return tables


def _stored_as(volume: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """Turn the axes of a canonical volume to those of an affine."""
    import numpy as np
    from nibabel.orientations import apply_orientation, io_orientation, ornt_transform

    turn = ornt_transform(io_orientation(np.eye(4)), io_orientation(affine))
    return np.asarray(apply_orientation(volume, turn))


def _display(text: str) -> Any:
    """Name the domains as a result's header does."""
    import re

    from monai_nce.visualize import Display

    said = re.search(r"SYNTHETIC (\w+)(?: from (\w+))? by monai-nce", text)
    return Display(said[2] or "NECT", said[1]) if said else Display()


def _warning(text: str) -> list[str]:
    from monai_nce.data.dataset.provenance import PHANTOMS_ALONE

    return [PHANTOMS_ALONE] if PHANTOMS_ALONE in text else []


def _without_hashes(text: str) -> str:
    import re

    return re.sub(r"\s*\w+ SHA-256: [0-9a-f]{64}\.", "", text.strip("\0 "))


def _facts(rows: list[tuple[str, str]]) -> ReportTable:
    from monai_nce.visualize import ReportTable

    return ReportTable("What is shown", rows=[row for row in rows if row[1]])
