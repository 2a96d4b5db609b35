"""Lay out axial slices in rows and columns on a dark page."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np

from monai_nce.data import atomic_path

if TYPE_CHECKING:
    from matplotlib.colorbar import Colorbar

__all__ = ["DIFFERENCE_COLOURS", "Display", "FigureRow", "Page", "method_names", "radiological"]

# from darker than the reference over black, where nothing differs, to brighter
DIFFERENCE_COLOURS = ("#9fd8ff", "#2166ff", "#000000", "#ff4020", "#ffd090")
RESEARCH_USE = "Research use only."
WARNING_COLOUR = "#ff5040"
DOTS_PER_INCH = 110
MARGIN = 0.07  # around a body, as a part of its size: keeps labels off it
BLACK = 0.02  # of the window, above its lower end: what is not seen


def radiological(axial: np.ndarray) -> np.ndarray:
    """Turn an axial slice as it is looked at: the patient's right on the left, anterior on top.

    From ``(H, W)``, axes towards the patient's right and anterior (the first two of RAS), to ``(W, H)``, rows from top
    to bottom.
    """
    return np.asarray(axial)[::-1, ::-1].T


@dataclass(frozen=True)
class Display:
    """Say what a figure shows: names of the domains, window, unit and data.

    ``unit`` is empty where images have none; ``kind`` says what the images are that no network made (real, virtual,
    phantom); a third of the window's width gets the last colour of differences.
    """

    source_name: str = "NECT"
    target_name: str = "CECT"
    window_level: float = 50.0
    window_width: float = 300.0
    unit: str = "HU"
    data_name: str = ""
    kind: str = "real"

    @property
    def low(self) -> float:
        return self.window_level - self.window_width / 2

    @property
    def high(self) -> float:
        return self.window_level + self.window_width / 2

    @property
    def limit(self) -> float:
        return self.window_width / 3

    @property
    def note(self) -> str:
        window = f"Window level {self.window_level:g}, width {self.window_width:g} {self.unit}".rstrip()
        return f"{window}. Data: {self.data_name}." if self.data_name else f"{window}."

    def difference(self, image: np.ndarray, reference: np.ndarray) -> np.ndarray:
        """Subtract windowed images: what the window hides is carried over and not the network's doing."""
        return np.clip(image, self.low, self.high) - np.clip(reference, self.low, self.high)


@dataclass(frozen=True)
class FigureRow:
    """Hold one axial slice of one patient; arrays ``(H, W)`` on one grid, axes towards right and anterior.

    Attributes:
        title: such as the patient and the slice.
        source, target: as acquired; None where there is no real target.
        made: what each method made, by the name of its column.
        aligned_source: the source that lies exactly on the target, or None where it is not known.
        pixel_size: height to width of a pixel in mm, along the array's two axes.

    Raises:
        ValueError: when the images are not of one shape ``(H, W)``.
    """

    title: str
    source: np.ndarray
    target: np.ndarray | None = None
    made: Mapping[str, np.ndarray] = field(default_factory=dict)
    aligned_source: np.ndarray | None = None
    pixel_size: tuple[float, float] = (1.0, 1.0)

    def __post_init__(self) -> None:
        shapes = {name: np.shape(image) for name, image in self.images.items()}
        if len(self.source.shape) != 2 or len(set(shapes.values())) != 1:
            raise ValueError(f"expected images of one shape (H, W) in row {self.title!r} but got {shapes}")

    @property
    def images(self) -> dict[str, np.ndarray]:
        named = {"source": self.source, **self.made, "target": self.target, "aligned source": self.aligned_source}
        return {name: image for name, image in named.items() if image is not None}

    def box(self, display: Display) -> tuple[slice, slice]:
        """Find the part of the images in which any of them is not black."""
        black = display.low + BLACK * display.window_width
        seen = np.any([image > black for image in self.images.values()], axis=0)
        return _extent(seen.any(axis=1)), _extent(seen.any(axis=0))


def _extent(seen: np.ndarray) -> slice:
    if not seen.any():
        return slice(0, len(seen))
    first, last = np.flatnonzero(seen)[[0, -1]]
    extra = round(MARGIN * (last - first + 1))
    return slice(max(first - extra, 0), min(last + 1 + extra, len(seen)))


def method_names(rows: Sequence[FigureRow]) -> list[str]:
    """List the methods in the first row's order; raise ValueError without rows or methods, or when they differ."""
    if not rows or not rows[0].made:
        raise ValueError(f"expected at least one {'method' if rows else 'row'} but got none")
    names = list(rows[0].made)
    for row in rows[1:]:
        if set(row.made) != set(names):
            raise ValueError(f"expected the methods {names} in every row but got {list(row.made)}")
    return names


class Page:
    """Show rows of panels under titled columns, with a note at the bottom.

    All panels are of one width, those of a row as high as its images ask, cut to what there is to see. Matplotlib is
    imported when a page is made, since it takes half a second.

    Args:
        columns: titles.
        rows, display: the images from top to bottom, and how they are shown.
        note: at the bottom; window, data and "research use only" are added to it.
        lines: of panels in each row.
        right: margin for a colour bar, in inches.
        below: room above the note, in inches.
        warning: above the titles, in red.
    """

    PANEL = 2.0  # all in inches
    GAP = 0.05
    ROW_GAP = 0.06
    LEFT, TOP = 0.45, 0.4

    def __init__(
        self,
        columns: Sequence[str],
        rows: Sequence[FigureRow],
        display: Display,
        note: str = "",
        lines: int = 1,
        right: float = 0.85,
        below: float = 0.0,
        warning: str = "",
    ) -> None:
        from matplotlib.figure import Figure

        self.rows, self.display, self.lines = rows, display, lines
        self.boxes = [row.box(display) for row in rows]
        heights = []
        for row, box in zip(rows, self.boxes, strict=True):
            along, up = ((part.stop - part.start) * mm for part, mm in zip(box, row.pixel_size, strict=True))
            heights.append(up / along * self.PANEL)
        tracks = [track for height in heights for track in (*[height] * lines, self.ROW_GAP)][:-1]
        width = self.LEFT + len(columns) * (self.PANEL + self.GAP) - self.GAP + right
        # a character of the warning is about 0.075 inches wide, of the note 0.066
        warnings = textwrap.wrap(warning, int((width - 0.4) / 0.075))
        top = self.TOP + 0.19 * len(warnings)
        notes = textwrap.wrap(f"{note} {display.note} {RESEARCH_USE}".strip(), int((width - 0.4) / 0.066))
        self.bottom = 0.3 + 0.16 * len(notes)
        page = top + sum(tracks) + self.GAP * (len(tracks) - 1) + below + self.bottom
        self.figure = Figure(figsize=(width, page), facecolor="black")
        self.grid = self.figure.add_gridspec(
            len(tracks),
            len(columns),
            height_ratios=tracks,
            left=self.LEFT / width,
            right=1 - right / width,
            top=1 - top / page,
            bottom=(below + self.bottom) / page,
            wspace=self.GAP / self.PANEL,
            hspace=self.GAP / float(np.mean(tracks)),
        )
        for column, title in enumerate(columns):
            x = self.LEFT + column * (self.PANEL + self.GAP) + self.PANEL / 2
            # 22 characters of 11 points fill a column
            self._text(x, page - top + 0.11, title, 11 * min(1.0, 22 / max(len(title), 1)), "white")
        for index, (row, height) in enumerate(zip(rows, heights, strict=True)):
            first, last = (self._position(index, line, 0) for line in (0, lines - 1))
            title = textwrap.fill(row.title, max(int(height * lines / 0.062), 8))
            self._text(0.23, page * (first.y1 + last.y0) / 2, title, 8, "white", rotation=90, va="center")
        if warnings:
            self._text(width / 2, page - 0.1, "\n".join(warnings), 9, WARNING_COLOUR, va="top", weight="bold")
        self._text(width / 2, 0.14, "\n".join(notes), 8, "0.75", va="bottom")

    def _text(self, x: float, y: float, text: str, size: float, colour: str, **how: Any) -> None:
        width, height = self.figure.get_size_inches()
        self.figure.text(x / width, y / height, text, fontsize=size, color=colour, ha="center", **how)

    def _cell(self, row: int, line: int, column: int) -> Any:
        return self.grid[row * (self.lines + 1) + line, column]

    def _position(self, row: int, line: int, column: int) -> Any:
        return self._cell(row, line, column).get_position(self.figure)

    def panel(
        self,
        row: int,
        column: int,
        image: np.ndarray,
        colours: Sequence[str] | None = None,
        line: int = 0,
        corner: str = "",
    ) -> None:
        """Draw an image ``(H, W)`` in the window's greys, or a difference in colours from lowest to highest.

        ``R`` marks the patient's right; ``corner`` is written into the panel, to be there when the panel is cut out.
        """
        axes = self.figure.add_subplot(self._cell(row, line, column))
        display, (height, width) = self.display, self.rows[row].pixel_size
        axes.imshow(
            radiological(np.asarray(image)[self.boxes[row]]),
            cmap="gray" if colours is None else _colour_map(colours),
            vmin=display.low if colours is None else -display.limit,
            vmax=display.high if colours is None else display.limit,
            aspect=width / height,
            interpolation="bilinear",
        )
        axes.set_axis_off()
        axes.text(0.01, 0.5, "R", transform=axes.transAxes, color="gold", fontsize=8)
        if corner:
            axes.text(0.99, 0.02, corner, transform=axes.transAxes, color="gold", fontsize=7, ha="right")

    def bar(self, colours: Sequence[str], column: int, line: int = 0, label: str = "", x: float = 1.03) -> Colorbar:
        """Add a colour bar of differences beside a panel of the last row, ``x`` widths of the panel from its left.

        It is labelled with the images' unit if ``label`` is empty.
        """
        from matplotlib.cm import ScalarMappable
        from matplotlib.colors import Normalize

        limit, place = self.display.limit, self._position(len(self.rows) - 1, line, column)
        axes = self.figure.add_axes((place.x0 + x * place.width, place.y0, 0.07 * place.width, place.height))
        shown = ScalarMappable(Normalize(-limit, limit), _colour_map(colours))
        bar = self.figure.colorbar(shown, cax=axes, extend="both")
        bar.set_label(label or self.display.unit, color="white", fontsize=8)
        axes.tick_params(colors="white", labelsize=7)
        return bar

    def png(self, comment: str = "") -> bytes:
        """Return the page as the content of a PNG file, with a ``comment`` among its texts."""
        file = io.BytesIO()
        metadata = {"Comment": comment} if comment else None
        self.figure.savefig(file, dpi=DOTS_PER_INCH, facecolor="black", format="png", metadata=metadata)
        return file.getvalue()

    def save(self, path: str | PathLike[str]) -> None:
        """Write the page as a PNG, in one step."""
        with atomic_path(path) as partial:
            partial.write_bytes(self.png())


def _colour_map(colours: Sequence[str]) -> Any:
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("difference", list(colours))
