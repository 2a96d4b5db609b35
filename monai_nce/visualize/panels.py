"""What the figures share: panels as they are looked at, their colours, and a dark page to put them on."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colorbar import Colorbar
from matplotlib.colors import Colormap, LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from monai_nce.data import atomic_path

__all__ = [
    "DIFFERENCE_COLOURS",
    "Crop",
    "Page",
    "Window",
    "colour_bar",
    "column_names",
    "dark_figure",
    "draw_panel",
    "label_corner",
    "radiological",
    "save_figure",
]

# black where nothing differs, as on a dark display; red where the synthetic image is brighter
DIFFERENCE_COLOURS = LinearSegmentedColormap.from_list(
    "difference", ["#9fd8ff", "#2166ff", "black", "#ff4020", "#ffd090"]
)

RESEARCH_USE = "Research use only."
DOTS_PER_INCH = 110


def radiological(axial: np.ndarray) -> np.ndarray:
    """An axial slice as it is looked at: the patient's right on the left, anterior on top.

    Args:
        axial: ``(H, W)``, axes towards the patient's right and anterior (the first two of RAS).

    Returns:
        ``(W, H)``, rows from top to bottom.
    """
    # RAS counts towards the patient's right, the picture from the patient's right to the left
    return np.asarray(axial)[::-1, ::-1].T


@dataclass(frozen=True)
class Window:
    """The values that a display tells apart.

    Attributes:
        level: middle.
        width: from black to white.
        unit: of both; empty where the values have none.
    """

    level: float
    width: float
    unit: str = "HU"

    @property
    def low(self) -> float:
        return self.level - self.width / 2

    @property
    def high(self) -> float:
        return self.level + self.width / 2

    def difference(self, image: np.ndarray, reference: np.ndarray) -> np.ndarray:
        """Of the windowed images: what the window hides is carried over and not the network's doing."""
        return np.clip(image, self.low, self.high) - np.clip(reference, self.low, self.high)

    def note(self, data_name: str) -> str:
        """The figure's note on window and data."""
        return f"{self} Data: {data_name}." if data_name else str(self)

    def __str__(self) -> str:
        return f"Window level {self.level:g}, width {self.width:g}{' ' if self.unit else ''}{self.unit}."


def column_names(methods: Sequence[Mapping[str, np.ndarray]]) -> list[str]:
    """Names of the methods, in the first row's order.

    Args:
        methods: images by the method's name, for each row.

    Raises:
        ValueError: without rows, without methods, or when rows have different ones.
    """
    if not methods:
        raise ValueError("expected at least one row but got none")
    names = list(methods[0])
    if not names:
        raise ValueError("expected at least one method but got none")
    for other in methods[1:]:
        if set(other) != set(names):
            raise ValueError(f"expected the methods {names} in every row but got {list(other)}")
    return names


class Crop:
    """The part of a row's images that there is something to see in.

    Beyond it all are black, none more than 2 % of the window above its lower end, so none of their differences is lost
    that one could see. A margin keeps labels off the body.

    Args:
        title: of the row, for the message.
        images: of the row, by name, ``(H, W)`` each.
        pixel_size: height to width of a pixel in mm, along the arrays' two axes.
        window: of the display.

    Raises:
        ValueError: when the images are not of one shape ``(H, W)``.
    """

    MARGIN = 0.07
    BLACK = 0.02

    def __init__(
        self, title: str, images: Mapping[str, np.ndarray], pixel_size: tuple[float, float], window: Window
    ) -> None:
        shapes = {name: np.shape(image) for name, image in images.items()}
        shape = next(iter(shapes.values()))
        if len(shape) != 2 or set(shapes.values()) != {shape}:
            raise ValueError(f"expected images of one shape (H, W) in row {title!r} but got {shapes}")
        self.pixel_size = pixel_size
        seen = np.any([np.asarray(image) > window.low + self.BLACK * window.width for image in images.values()], axis=0)
        self.box = tuple(
            self._extent(seen.any(axis=1 - axis), self.MARGIN) if seen.any() else slice(0, shape[axis])
            for axis in (0, 1)
        )

    @staticmethod
    def _extent(seen: np.ndarray, margin: float) -> slice:
        first, last = np.flatnonzero(seen)[[0, -1]]
        extra = round(margin * (last - first + 1))
        return slice(max(first - extra, 0), min(last + 1 + extra, len(seen)))

    def __call__(self, image: np.ndarray) -> np.ndarray:
        return np.asarray(image)[self.box]

    @property
    def aspect(self) -> float:
        """Height of the panel by its width."""
        along, up = (part.stop - part.start for part in self.box)
        return up * self.pixel_size[1] / (along * self.pixel_size[0])


def dark_figure(width: float, height: float) -> Figure:
    """An empty page; width and height in inches."""
    figure = Figure(figsize=(width, height), facecolor="black")
    FigureCanvasAgg(figure)
    return figure


def draw_panel(
    axes: Axes,
    image: np.ndarray,
    pixel_size: tuple[float, float],
    colours: str | Colormap,
    low: float,
    high: float,
) -> AxesImage:
    """Show a slice in the radiological orientation, with the patient's right marked.

    Args:
        axes: to draw in.
        image: ``(H, W)``, axes towards right and anterior.
        pixel_size: height to width of a pixel in mm, along the array's two axes.
        colours: of the values.
        low: value of the first colour.
        high: value of the last colour.
    """
    shown = axes.imshow(
        radiological(image),
        cmap=colours,
        vmin=low,
        vmax=high,
        aspect=pixel_size[1] / pixel_size[0],
        interpolation="bilinear",
    )
    axes.set_xticks([])
    axes.set_yticks([])
    axes.text(0.01, 0.5, "R", transform=axes.transAxes, color="gold", fontsize=8)
    return shown


def label_corner(axes: Axes, text: str, colour: str = "gold") -> None:
    """Write into the panel, so that it is still there when the panel is cut out."""
    axes.text(0.99, 0.02, text, transform=axes.transAxes, color=colour, fontsize=7, ha="right")


def colour_bar(
    figure: Figure, shown: ScalarMappable, position: tuple[float, float, float, float], label: str
) -> Colorbar:
    """Add a colour bar at left, bottom, width and height, as fractions of the page."""
    bar = figure.colorbar(shown, cax=figure.add_axes(position), extend="both")
    bar.set_label(label, color="white", fontsize=8)
    bar.ax.tick_params(colors="white", labelsize=7)
    return bar


def save_figure(figure: Figure, path: str | PathLike[str]) -> None:
    """Write a PNG, in one step."""
    with atomic_path(path) as partial:
        figure.savefig(partial, dpi=DOTS_PER_INCH, facecolor="black", format="png")


class Page:
    """Rows of panels under titled columns, with a colour bar on the right and a note at the bottom.

    A row has one or more lines of panels; all panels are of one width, those of a row as high as its crop asks.

    Args:
        columns: titles.
        crops: of the rows from top to bottom.
        row_titles: likewise.
        note: at the bottom; that the figure is for research use only is added to it.
        lines: of panels in each row.
        right: margin for a colour bar, in inches.
    """

    PANEL = 2.0  # all in inches
    GAP = 0.05
    ROW_GAP = 0.16
    LEFT, TOP = 0.45, 0.4

    def __init__(
        self,
        columns: Sequence[str],
        crops: Sequence[Crop],
        row_titles: Sequence[str],
        note: str,
        lines: int = 1,
        right: float = 0.85,
    ) -> None:
        width = self.LEFT + len(columns) * (self.PANEL + self.GAP) + right
        # a character of the note is about 0.062 inches wide
        note_lines = textwrap.wrap(f"{note} {RESEARCH_USE}".strip(), int((width - 0.4) / 0.066))
        bottom = 0.3 + 0.16 * len(note_lines)
        self.crops = list(crops)
        self.heights = [crop.aspect * self.PANEL for crop in crops]
        row_heights = [lines * (height + self.GAP) for height in self.heights]
        self.size = (width, self.TOP + sum(row_heights) + self.ROW_GAP * (len(crops) - 1) + bottom)
        self.tops = [self.size[1] - self.TOP - sum(row_heights[:row]) - self.ROW_GAP * row for row in range(len(crops))]
        self.figure = dark_figure(*self.size)
        for column, title in enumerate(columns):
            centre = self.LEFT + column * (self.PANEL + self.GAP) + self.PANEL / 2
            # 22 characters of 11 points fill a column
            self._text(centre, self.size[1] - 0.29, title, 11 * min(1.0, 22 / max(len(title), 1)), "white")
        for top, height, title in zip(self.tops, row_heights, row_titles, strict=True):
            wrapped = textwrap.fill(title, max(int(height / 0.07), 8))
            self._text(0.23, top - height / 2, wrapped, 8, "white", rotation=90, va="center")
        self._text(width / 2, 0.14, "\n".join(note_lines), 8, "0.75", va="bottom")

    def _text(self, x: float, y: float, text: str, size: float, colour: str, **how: Any) -> None:
        self.figure.text(x / self.size[0], y / self.size[1], text, fontsize=size, color=colour, ha="center", **how)

    def _position(self, row: int, line: int, column: int) -> tuple[float, float, float, float]:
        height = self.heights[row]
        left = self.LEFT + column * (self.PANEL + self.GAP)
        bottom = self.tops[row] - (line + 1) * height - line * self.GAP
        return left / self.size[0], bottom / self.size[1], self.PANEL / self.size[0], height / self.size[1]

    def panel(
        self,
        row: int,
        column: int,
        image: np.ndarray,
        colours: str | Colormap,
        low: float,
        high: float,
        line: int = 0,
        corner: str = "",
    ) -> None:
        """Draw one image; arguments as in :func:`draw_panel`, ``corner`` is written into the panel."""
        axes = self.figure.add_axes(self._position(row, line, column))
        crop = self.crops[row]
        draw_panel(axes, crop(image), crop.pixel_size, colours, low, high)
        if corner:
            label_corner(axes, corner)

    def bar(self, colours: Colormap, limit: float, label: str, column: int, line: int = 0) -> Colorbar:
        """Add the colour bar from ``-limit`` to ``limit`` in the last row, where ``column`` begins."""
        left, bottom, _, height = self._position(len(self.crops) - 1, line, column)
        shown = ScalarMappable(Normalize(-limit, limit), colours)
        return colour_bar(self.figure, shown, (left + 0.06 / self.size[0], bottom, 0.14 / self.size[0], height), label)

    def save(self, path: str | PathLike[str]) -> None:
        """Write the page as a PNG, in one step."""
        save_figure(self.figure, path)
