"""Draw source, synthetic, real target and their difference side by side, beside each synthetic volume."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform, Transform
from nibabel.affines import voxel_sizes
from nibabel.orientations import apply_orientation, io_orientation

from monai_nce.data import Provenance, atomic_path
from monai_nce.data.files.atomic import writing
from monai_nce.data.scans.earlier_result import picture_file

from .panels import DIFFERENCE_COLOURS, Display, FigureRow, Page, method_names, radiological

__all__ = [
    "DrawImagePreviewd",
    "SaveImagePreviewd",
    "axial_slices",
    "draw_preview",
    "provenance_warnings",
    "side_by_side",
]

LINE = 0.32  # inches, of the table
PREVIEW = "preview"  # key of a picture that is being drawn


def axial_slices(volume: MetaTensor) -> tuple[np.ndarray, tuple[float, float]]:
    """Turn the axes of a volume ``(1, H, W, D)`` towards right, anterior and superior, whatever order it came in.

    Returns:
        ``(H, W, D)``, a view where the volume is in the CPU's memory, and the pixel size in mm along the first two
        axes.
    """
    affine = volume.affine.numpy()
    turn = io_orientation(affine)
    upright = apply_orientation(volume.detach().cpu().as_tensor()[0].numpy(), turn)
    height, width, _ = voxel_sizes(affine)[np.argsort(turn[:, 0])]
    return upright, (float(height), float(width))


def side_by_side(output: Mapping[str, torch.Tensor], keys: Sequence[str] = ("image", "pred", "label")) -> torch.Tensor:
    """Join the middle slices of volumes ``(1, H, W, D)`` in [-1, 1], in the radiological orientation.

    Returns:
        ``(1, W, len(keys) * H)`` in [0, 1].
    """
    middles = [output[key][0, ..., output[key].shape[-1] // 2] for key in keys]
    slices = [radiological(torch.as_tensor(middle).detach().float().cpu().numpy()) for middle in middles]
    picture = (np.concatenate(slices, axis=1).clip(-1, 1) + 1) / 2
    return torch.from_numpy(np.ascontiguousarray(picture))[None]


def draw_preview(
    rows: Sequence[FigureRow],
    display: Display,
    note: str = "",
    table: Sequence[Sequence[str]] = (),
    provenance: Provenance | None = None,
    doubts: str = "",
) -> Page:
    """Draw slices side by side, with a table under them.

    The difference is that from the real target; from the source where a row has no target.

    Args:
        rows: slices; ``made`` is the synthetic image, by its column's name.
        display: names, window and unit.
        note: for the bottom.
        table: its lines, the first one the head.
        provenance: what the weights learnt from and were asked for, for the note; where they learnt from phantoms alone
            and the slices are of none, every synthetic panel says so, and a warning stands on top.
        doubts: about the scan, a line each, for the top as well.

    Raises:
        ValueError: without rows, or without a synthetic image.
    """
    (synthetic,) = method_names(rows)
    real = all(row.target is not None for row in rows)
    columns = [display.source_name, synthetic, *([f"{display.kind} {display.target_name}"] if real else [])]
    columns.append(f"synthetic - {display.kind if real else display.source_name}")
    if provenance is not None:
        learnt = f"Weights trained on {provenance.trained_on}."
        note = " ".join(filter(None, (note, provenance.request, learnt)))
    known = Provenance() if provenance is None else provenance
    mark = "SYNTHETIC, trained on phantoms" if known.warning else "SYNTHETIC"
    below = LINE * len(table) + (0.1 if table else 0)
    page = Page(columns, rows, display, note, below=below, warning=" ".join(provenance_warnings(known, doubts)))
    last = len(columns) - 1
    for r, row in enumerate(rows):
        page.panel(r, 0, row.source)
        page.panel(r, 1, row.made[synthetic], corner=mark)
        if real:
            page.panel(r, 2, np.asarray(row.target))
        difference = display.difference(row.made[synthetic], np.asarray(row.target) if real else row.source)
        page.panel(r, last, difference, DIFFERENCE_COLOURS, corner=mark)
    page.bar(DIFFERENCE_COLOURS, last)
    if table:
        _draw_table(page, table)
    return page


def provenance_warnings(provenance: Provenance, doubts: str = "") -> list[str]:
    """List what whoever looks at an image must know first; ``doubts`` are of its scan, a line each."""
    return [*filter(None, [provenance.warning]), *(f"Doubt about the scan: {line}." for line in doubts.splitlines())]


def _draw_table(page: Page, lines: Sequence[Sequence[str]]) -> None:
    from matplotlib.transforms import Bbox

    width, height = page.figure.get_size_inches()
    axes = page.figure.add_axes((0.03, page.bottom / height, 0.94, LINE * len(lines) / height))
    axes.set_axis_off()
    table = axes.table([list(line) for line in lines], cellLoc="center", bbox=Bbox.unit())
    table.auto_set_font_size(False)
    # a character is about 0.6 of its size wide
    longest = sum(max(len(cell) for cell in column) + 2 for column in zip(*lines, strict=True))
    table.set_fontsize(min(7.5, 72 * 0.94 * width / (0.6 * longest)))
    table.auto_set_column_width(range(len(lines[0])))
    for cell in table.get_celld().values():
        cell.set(facecolor="black", edgecolor="0.35")
        cell.get_text().set_color("white")


class DrawImagePreviewd(MapTransform):
    """Draw slices of a synthetic volume beside the scan it was made from, and what changed, in a thread of its own.

    Three slices at a quarter, half and three quarters of the volume. They are drawn while the volume is saved, and
    :class:`SaveImagePreviewd` puts the picture beside it.

    Args:
        keys: the synthetic volume ``(1, H, W, D)``, a MetaTensor in ``unit``.
        source_key: the scan, likewise.
        source_name, target_name, window_level, window_width, unit: as in :class:`Display`.
        provenance_key: key of a :class:`~monai_nce.data.Provenance`; need not be there.
        doubts_key: key of what is doubted of the scan, a line each; need not be there.
    """

    def __init__(
        self,
        keys: KeysCollection,
        source_key: str,
        source_name: str = "NECT",
        target_name: str = "CECT",
        window_level: float = 50.0,
        window_width: float = 300.0,
        unit: str = "HU",
        provenance_key: str = "provenance",
        doubts_key: str = "doubts",
    ) -> None:
        super().__init__(keys)
        self.doubts_key = doubts_key
        self.source_key = source_key
        self.provenance_key = provenance_key
        self.display = Display(source_name, target_name, window_level, window_width, unit)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        for key in self.key_iterator(d):
            (source, pixel), (synthetic, _) = axial_slices(d[self.source_key]), axial_slices(d[key])
            depth, name = source.shape[2], f"synthetic {self.display.target_name}"
            rows = [
                FigureRow(f"slice {z + 1} of {depth}", source[..., z], made={name: synthetic[..., z]}, pixel_size=pixel)
                for z in sorted({depth // 4, depth // 2, depth * 3 // 4}, reverse=True)  # from the head down
            ]
            thread = ThreadPoolExecutor(1, thread_name_prefix="drawing")
            d[PREVIEW] = thread.submit(self._draw, rows, d.get(self.provenance_key), str(d.get(self.doubts_key, "")))
            thread.shutdown(wait=False)
        return d

    def _draw(self, rows: Sequence[FigureRow], provenance: Provenance | None, doubts: str) -> bytes:
        mark = "" if provenance is None else provenance.scan_mark
        return draw_preview(rows, self.display, "SYNTHETIC.", (), provenance, doubts).png(mark)


class SaveImagePreviewd(Transform):
    """Write the picture of a :class:`DrawImagePreviewd` beside the volume, once that is there.

    Args:
        output_key: where the path of the volume's file stands; the PNG gets the same name. Without it nothing is
            written.

    Raises:
        InputError: when called and the disk is full or not writable.
    """

    def __init__(self, output_key: str = "output") -> None:
        self.output_key = output_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        picture = d.pop(PREVIEW).result()
        if self.output_key in d:
            path = picture_file(d[self.output_key])
            with writing(path), atomic_path(path) as partial:
                partial.write_bytes(picture)
        return d
