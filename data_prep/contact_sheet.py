"""What a prepared data set looks like, patient by patient: NECT, CECT and their difference in the middle slice."""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.affines import voxel_sizes

from monai_nce.visualize.panels import DIFFERENCE_COLOURS, Crop, Page, Window

__all__ = ["ROWS", "write_contact_sheets"]

ROWS = 16  # patients on a page
COLUMNS = ("NECT", "CECT", "CECT − NECT")
WINDOW = Window(50, 300)  # the paper's
LIMIT = 150.0  # HU of the difference at the ends of its colours


def write_contact_sheets(
    volumes: Mapping[str, Mapping[str, Path]], titles: Mapping[str, str], next_page: Callable[[], Path]
) -> int:
    """Draw all patients, a row each, in the radiological orientation.

    Args:
        volumes: the files of ``source`` and ``target``, in RAS, by patient; of each only one slice is read.
        titles: of the rows, by patient; no patient data.
        next_page: gives the PNG to write for each page.

    Returns:
        The number of pages.
    """
    patients = list(volumes)
    pages = [patients[start : start + ROWS] for start in range(0, len(patients), ROWS)]
    for number, page in enumerate(pages, start=1):
        note = f"Middle slices. {WINDOW} Colours: difference of the windowed images, nothing is registered."
        note += f" Page {number} of {len(pages)}." if len(pages) > 1 else ""
        _draw([volumes[patient] for patient in page], [titles[patient] for patient in page], note).save(next_page())
        gc.collect()  # a figure and its canvas hold each other: without it memory grows by 15 MB for each page
    return len(pages)


def _draw(volumes: Sequence[Mapping[str, Path]], titles: Sequence[str], note: str) -> Page:
    rows = [[_middle(paths["source"]), _middle(paths["target"])] for paths in volumes]
    crops = [
        Crop(title, {name: image for name, (image, _) in zip(COLUMNS, row, strict=False)}, row[0][1], WINDOW)
        for title, row in zip(titles, rows, strict=True)
    ]
    page = Page(COLUMNS, crops, titles, note)
    for index, ((nect, _), (cect, _)) in enumerate(rows):
        page.panel(index, 0, nect, "gray", WINDOW.low, WINDOW.high)
        page.panel(index, 1, cect, "gray", WINDOW.low, WINDOW.high)
        page.panel(index, 2, WINDOW.difference(cect, nect), DIFFERENCE_COLOURS, -LIMIT, LIMIT)
    page.bar(DIFFERENCE_COLOURS, LIMIT, "HU", len(COLUMNS))
    return page


def _middle(path: Path) -> tuple[np.ndarray, tuple[float, float]]:
    """The middle slice in HU and its pixel's size in mm; the file is mapped, not read."""
    image = nib.Nifti1Image.from_filename(path)
    sizes = voxel_sizes(image.affine)
    middle = np.asanyarray(image.dataobj)[..., image.shape[2] // 2]
    return np.array(middle, dtype=np.float32), (float(sizes[0]), float(sizes[1]))
