"""Draw source, target and their difference in the middle slice of each patient of a prepared data set."""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.affines import voxel_sizes

from monai_nce.visualize.panels import DIFFERENCE_COLOURS, Display, FigureRow, Page

__all__ = ["ROWS", "write_contact_sheets"]

ROWS = 16  # patients on a page


def write_contact_sheets(
    volumes: Mapping[str, Mapping[str, Path]],
    titles: Mapping[str, str],
    next_page: Callable[[], Path],
    display: Display | None = None,
    note: str = "nothing is registered",
) -> int:
    """Draw all patients, a row each, in the radiological orientation; returns the number of pages.

    Args:
        volumes: the files of ``source`` and ``target``, in RAS, by patient; of each only one slice is read.
        titles: of the rows, by patient; no patient data.
        next_page: gives the PNG to write for each page.
        display: names and window; those of CT if None.
        note: what else is said below.
    """
    display = display or Display()
    patients = list(volumes)
    pages = [patients[start : start + ROWS] for start in range(0, len(patients), ROWS)]
    for number, page in enumerate(pages, start=1):
        text = f"Middle slices. Colours: difference of the windowed images, {note}."
        text += f" Page {number} of {len(pages)}." if len(pages) > 1 else ""
        shown = [volumes[patient] for patient in page], [titles[patient] for patient in page]
        _draw(*shown, display, text).save(next_page())
        gc.collect()  # a figure and its canvas hold each other: without it memory grows by 15 MB for each page
    return len(pages)


def _draw(volumes: Sequence[Mapping[str, Path]], titles: Sequence[str], display: Display, note: str) -> Page:
    rows = []
    for paths, title in zip(volumes, titles, strict=True):
        source, pixel_size = _middle(paths["source"])
        rows.append(FigureRow(title, source, _middle(paths["target"])[0], pixel_size=pixel_size))
    names = display.source_name, display.target_name
    page = Page((*names, " − ".join(reversed(names))), rows, display, note)
    for index, row in enumerate(rows):
        source, target = row.images.values()
        page.panel(index, 0, source)
        page.panel(index, 1, target)
        page.panel(index, 2, display.difference(target, source), DIFFERENCE_COLOURS)
    page.bar(DIFFERENCE_COLOURS, column=2)
    return page


def _middle(path: Path) -> tuple[np.ndarray, tuple[float, float]]:
    """Read the middle slice and its pixel's size in mm; the file is mapped, not read."""
    image = nib.Nifti1Image.from_filename(path)
    sizes = voxel_sizes(image.affine)
    middle = np.asanyarray(image.dataobj)[..., image.shape[2] // 2]
    return np.array(middle, dtype=np.float32), (float(sizes[0]), float(sizes[1]))
