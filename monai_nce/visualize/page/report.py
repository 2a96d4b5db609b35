"""Write a page: volumes to scroll through side by side, tables, and what was done with which weights."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from monai.data import MetaTensor
from numpy.typing import ArrayLike

from monai_nce.data import atomic_path
from monai_nce.data.files.atomic import writing
from monai_nce.data.nifti.writer import as_int16_hu
from monai_nce.data.scans.affine import mm_apart
from monai_nce.errors import InputError
from monai_nce.visualize.page.embed import pack_cases
from monai_nce.visualize.panels import DIFFERENCE_COLOURS, Display

__all__ = ["Case", "Report", "ReportTable", "write_report"]

FOLDER = Path(__file__).parent
LIMIT = 30_000_000  # characters of the volumes together
WIDE = 45  # characters of a table's row
SEEN = 0.995  # of the margins of error, below what has the brightest colour
SAME_PLACE = 0.1  # mm that two grids may be apart
ROLES = ("scan", "synthetic", "real", "difference", "confidence")  # of the panels, in their order
CT_WINDOWS = (  # name, level and width in HU
    ("Liver", 80, 150),
    ("Soft tissue", 40, 400),
    ("Vessels", 200, 600),
    ("Lung", -600, 1500),
    ("Bone", 400, 1800),
)


@dataclass(frozen=True)
class Case:
    """Hold the volumes of one scan, arrays or tensors ``(H, W, D)`` on one grid.

    Attributes:
        name: as the page calls it; no patient data.
        affine: 4×4 matrix from voxel indices to RAS millimetres.
        synthetic: in HU for CT, rounded to whole numbers and clipped to int16, as the files of results are.
        scan: that it was made from, likewise.
        real: what it should have become, likewise.
        confidence: how far each voxel of ``synthetic`` may be off, to either side.

    Raises:
        InputError: if the volumes are not of one shape.
    """

    name: str
    affine: ArrayLike
    synthetic: ArrayLike
    scan: ArrayLike | None = None
    real: ArrayLike | None = None
    confidence: ArrayLike | None = None

    def __post_init__(self) -> None:
        shape = np.shape(self.synthetic)
        for role, volume in self.given.items():
            if len(shape) != 3 or np.shape(volume) != shape:
                raise InputError(f"{role}: expected a volume of shape {shape} but got {np.shape(volume)}")

    @classmethod
    def of(cls, name: str, **volumes: MetaTensor) -> Case:
        """Take volumes ``(1, H, W, D)`` that know where they lie.

        Raises:
            InputError: if they are not on one grid.
        """
        affine = volumes["synthetic"].affine.numpy()
        arrays: dict[str, Any] = {}
        for role, volume in volumes.items():
            if volume.shape == volumes["synthetic"].shape:
                check_same_place(role, volume.affine.numpy(), affine, tuple(volume.shape[1:]))
            arrays[role] = volume.detach().cpu().as_tensor()[0].numpy()
        return cls(name, affine, **arrays)

    @property
    def given(self) -> dict[str, ArrayLike]:
        """Return the volumes by role."""
        named = {role: getattr(self, role) for role in ROLES if role != "difference"}
        return {role: volume for role, volume in named.items() if volume is not None}

    @property
    def stored(self) -> dict[str, np.ndarray]:
        """Return what the page holds: in place of the synthetic image how it differs from the scan, which is smaller.

        Of int16: a difference that leaves it comes back at the other end, and is right again when it is added.
        """
        stored = {role: as_int16_hu(volume) for role, volume in self.given.items() if role != "confidence"}
        if "scan" in stored:
            stored["change"] = stored.pop("synthetic") - stored["scan"]
        if self.confidence is not None:
            margin = np.asarray(self.confidence, dtype=np.float32)
            whole = np.array_equal(margin, np.rint(margin))
            stored["confidence"] = as_int16_hu(margin) if whole else margin
        return stored


def check_same_place(name: str | PathLike[str], affine: np.ndarray, other: np.ndarray, shape: Sequence[int]) -> None:
    """Refuse a volume that lies elsewhere than the synthetic image of the same shape.

    Raises:
        InputError: if a corner is more than 0.1 mm away from where it should be.
    """
    if (off := mm_apart(affine, other, shape)) > SAME_PLACE:
        raise InputError(f"{name}: expected the grid of the synthetic image but its corners lie up to {off:.3g} mm off")


@dataclass(frozen=True)
class ReportTable:
    """Hold a table of a page: a heading, its columns' names, rows of text, and a note below.

    Without ``columns`` the first cell of each row says what the second one is.
    """

    heading: str
    columns: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()
    note: str = ""

    @property
    def wide(self) -> bool:
        """Whether it takes the page's whole width."""
        return bool(self.columns) and any(sum(map(len, row)) > WIDE for row in (self.columns, *self.rows))


@dataclass(frozen=True)
class Report:
    """Hold what a page shows, from top to bottom.

    Attributes:
        title: such as the result's name.
        display: names of the domains, window and unit.
        warnings: doubts about the scan or the weights, a sentence each.
        cases: scans with their synthetic images; several are chosen from a list.
        figures: pictures as PNG, by their captions; below the tables, or above with ``figures_first``.
        tables: organs, metrics, what was done.
        mark: sentences by which the page is known to be a scan's, as
            :attr:`~monai_nce.data.Provenance.scan_mark` gives them.
    """

    title: str
    display: Display = field(default_factory=Display)
    warnings: Sequence[str] = ()
    cases: Sequence[Case] = ()
    figures: Mapping[str, bytes] = field(default_factory=dict)
    tables: Sequence[ReportTable] = ()
    figures_first: bool = False
    mark: str = ""

    def html(self, limit: int = LIMIT) -> str:
        """Return the page; ``limit`` is the size of its volumes in bytes from which on they are reduced."""
        packed = pack_cases([(case.stored, np.asarray(case.affine, float)) for case in self.cases], limit)
        display, cases = self.display, []
        margins = [np.asarray(case.confidence, float) for case in self.cases if case.confidence is not None]
        widest = max((float(np.quantile(margin, SEEN)) for margin in margins), default=0.0)
        volumes: dict[str, str] = {}
        for number, (case, one) in enumerate(zip(self.cases, packed, strict=True)):
            ids = {role: f"volume-{number}-{role}" for role in one.volumes}
            volumes |= {ids[role]: text for role, text in one.volumes.items()}
            cases.append({"name": case.name, "volumes": ids, **_reduction(case, one.factor, one.shape)})
            if case.confidence is not None:
                cases[-1]["confidence"] = [0.0, widest or 1.0]  # one range for all cases
        roles = {role for case in self.cases for role in case.given}
        if roles & {"scan", "real"}:
            roles.add("difference")
        own = ("As trained", display.window_level, display.window_width)
        presets = [own, *(CT_WINDOWS if display.unit == "HU" else ())]
        data = {
            "unit": display.unit,
            "source": display.source_name,
            "window": own[1:],
            "presets": presets,
            "limit": display.limit,
            "colours": DIFFERENCE_COLOURS,
            "cases": cases,
        }
        style, script = _asset("page.css"), _asset("viewer.js")
        return _template().render(
            report=self,
            data=data,
            volumes=volumes,
            presets=presets,
            panels=[role for role in ROLES if role in roles],
            titles={
                "scan": f"{display.source_name} (scan)",
                "synthetic": f"synthetic {display.target_name}",
                "real": f"{display.kind} {display.target_name}",
                "difference": "difference",
                "confidence": f"margin of error, ± {display.unit}".rstrip(" ±,"),
            },
            widest=widest,
            figures={caption: base64.b64encode(png).decode("ascii") for caption, png in self.figures.items()},
            style=style,
            script=script,
            policy=f"default-src 'none'; script-src {_hash(script)}; style-src {_hash(style)}; img-src data:; "
            "base-uri 'none'; form-action 'none'",
        )


def write_report(path: str | PathLike[str], report: Report, limit: int = LIMIT) -> None:
    """Write a page as one file, in one step.

    Args:
        path: of the file, ``.html``.
        report: what it shows.
        limit: size of its volumes in bytes from which on they are reduced.

    Raises:
        InputError: when the disk is full or not writable.
    """
    text = report.html(limit)
    with writing(path), atomic_path(path) as partial:
        partial.write_text(text, encoding="utf-8")


def _reduction(case: Case, factor: int, shape: Sequence[int]) -> dict[str, Any]:
    if factor == 1:
        return {"reduced": 1, "note": ""}
    before, after = (" × ".join(map(str, sizes)) for sizes in (np.shape(case.synthetic), shape))
    note = (
        f"To keep this page small, {factor} × {factor} pixels are averaged in each slice, from {before} to {after} "
        "voxels. Values are those averages; the files beside this page hold all."
    )
    return {"reduced": factor, "note": note}


@cache
def _asset(name: str) -> str:
    return (FOLDER / name).read_text(encoding="utf-8")


@cache
def _template() -> Any:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined  # here, since it takes 0.05 s

    environment = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html")


def _hash(text: str) -> str:
    """Return how a Content-Security-Policy names a script or a style."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
