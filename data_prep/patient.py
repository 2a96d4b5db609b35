"""One patient of an archive: choose a pair, read it, bring it onto one grid. Runs in a process of its own.

Of the acquired voxels one volume is in memory at a time. What is said for the report holds no path and no identifier.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
from nibabel.affines import voxel_sizes

from data_prep.archives import Series
from data_prep.geometry import Grid, canonical, paper_grid, resample
from data_prep.pairing import Place, hours_apart, is_axial, rank_pairs, same_study, shared_slices, shift_mm
from data_prep.phases import ENHANCED
from data_prep.scrub import without_paths
from monai_nce.data.nifti.writer import as_int16_hu
from monai_nce.data.scans.phase import CECT, NECT, UNKNOWN, phase_from_image
from monai_nce.data.scans.reader import AIR_HU, check_volume, read_ct
from monai_nce.errors import InputError

__all__ = ["Job", "Outcome", "PairSettings", "prepare_patient"]


@dataclass(frozen=True)
class PairSettings:
    """What holds for all patients.

    Attributes:
        size: pixels along both in-plane axes.
        spacing: distance of pixels in mm.
        phase: of the CECT, ``"portal"``, ``"arterial"``, ``"late"`` or ``"any"``; others follow where it is missing.
        min_overlap: least share of the CECT's slices that the NECT covers.
        min_slices: least number of slices that are left of a pair.
    """

    size: int = 256
    spacing: float = 1.3333
    phase: str = "portal"
    min_overlap: float = 0.5
    min_slices: int = 16

    def as_json(self) -> dict[str, Any]:
        """The settings for the report."""
        return asdict(self)


@dataclass(frozen=True)
class Job:
    """A patient to prepare.

    Attributes:
        patient: our own name.
        series: all of the patient's series, or those that a list names.
        pairs: where a list says what belongs together: pairs of NECT and CECT, the first one that can be used is.
        problem: why a listed pair was not found.
    """

    patient: str
    series: tuple[Series, ...] = field(repr=False)
    pairs: tuple[tuple[Series, Series], ...] | None = field(default=None, repr=False)
    problem: str = field(default="", repr=False)


@dataclass(frozen=True)
class Outcome:
    """What became of a patient.

    Attributes:
        patient: our own name.
        row: for the report; with ``"reason"`` where the patient is left out.
        lines: for stderr; they name files.
        source: NECT in HU, int16, (H, W, D), or None where the patient is left out.
        target: CECT likewise.
        affine: of both, 4×4.
    """

    patient: str
    row: dict[str, Any]
    lines: tuple[str, ...]
    source: np.ndarray | None = field(default=None, repr=False)
    target: np.ndarray | None = field(default=None, repr=False)
    affine: np.ndarray | None = field(default=None, repr=False)


class _LeftOut(Exception):
    """Why a patient has no pair."""


def prepare_patient(job: Job, settings: PairSettings) -> Outcome:
    """Prepare one patient; nothing that is wrong with its files is raised.

    Args:
        job: the patient.
        settings: what holds for all.

    Returns:
        The pair, or why there is none.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        patient = _Patient(job, settings)
        try:
            outcome = patient.prepare()
        except _LeftOut as reason:
            outcome = Outcome(job.patient, {"reason": str(reason)}, (f"left out: {reason}",))
        except (MemoryError, OSError, RuntimeError) as error:  # RuntimeError: ITK
            reason_ = f"could not be prepared ({type(error).__name__})"
            outcome = Outcome(job.patient, {"reason": reason_}, (f"left out: {reason_}",))
    notices = list(dict.fromkeys(str(warning.message) for warning in caught)) + patient.doubts
    volumes = [series.volume for series in job.series]
    row = {
        "patient": job.patient,
        **outcome.row,
        "refused": patient.refused,
        "warnings": [without_paths(notice, volumes) for notice in notices],
    }
    said = [*outcome.lines, *(f"refused: {line}" for line in patient.refusals), *(f"warning: {n}" for n in notices)]
    return replace(outcome, row=row, lines=tuple(f"{job.patient}: {' '.join(line.split())}" for line in said))


class _Patient:
    def __init__(self, job: Job, settings: PairSettings) -> None:
        self.job, self.settings = job, settings
        self.refused: list[dict[str, str]] = []
        self.refusals: list[str] = []
        self.doubts: list[str] = []
        self.unusable: set[int] = set()

    def prepare(self) -> Outcome:
        """The best pair that can be read."""
        for source, target in self._pairs():
            if {id(source.volume), id(target.volume)} & self.unusable:
                continue
            made = self._make(source, target)
            if made is not None:
                return made
        if self.refused:
            raise _LeftOut(f"no pair of its series can be used: {self.refused[0]['reason']}")
        raise _LeftOut(self._too_little())

    def _pairs(self) -> list[tuple[Place, Place]]:
        if self.job.pairs is not None:
            if not self.job.pairs:
                self.refusals.append(self.job.problem)
                raise _LeftOut("a volume of its row in the list was not found, or is not one volume")
            self.series = list(self.job.series)
            return [found for source, target in self.job.pairs for found in self._rank([source], [target])]
        self.series = self._with_phases()
        plain = [series for series in self.series if series.phase == NECT]
        enhanced = [series for series in self.series if series.phase in ENHANCED]
        missing = [name for name, found in (("non-contrast", plain), ("contrast-enhanced", enhanced)) if not found]
        if missing:
            raise _LeftOut(f"no {' and no '.join(missing)} series" + self._undecided())
        return self._rank(plain, enhanced)

    def _rank(self, plain: Sequence[Series], enhanced: Sequence[Series]) -> list[tuple[Place, Place]]:
        settings = self.settings
        sources, targets = self._places(plain), self._places(enhanced)
        return rank_pairs(sources, targets, settings.phase, settings.min_overlap, settings.min_slices)

    def _with_phases(self) -> list[Series]:
        """The series; where a half is missing, those whose headers say nothing are looked at."""
        series = list(self.job.series)
        phases = {one.phase for one in series}
        if NECT in phases and phases & set(ENHANCED):
            return series
        for index, one in enumerate(series):
            if one.phase != UNKNOWN or one.evidence:
                continue
            try:
                phase = phase_from_image(*read_ct(one.volume))
            except InputError as error:
                self._refuse(one, error)
                continue
            if phase != UNKNOWN:
                series[index] = Series(one.volume, phase, "image")
        return series

    def _undecided(self) -> str:
        count = sum(series.phase == UNKNOWN for series in self.series)
        return f"; of {len(self.series)} series {count} could not be told" if count else ""

    def _too_little(self) -> str:
        share, least = self.settings.min_overlap, self.settings.min_slices
        return f"no NECT covers {share:.0%} of a CECT's slices and {least} or more of them"

    def _places(self, listed: Sequence[Series]) -> list[Place]:
        places = []
        for series in listed:
            if id(series.volume) in self.unusable:
                continue
            try:
                shape, affine = check_volume(series.volume)
                if not is_axial(series.volume, affine):
                    raise InputError(f"{series.volume.path}: slices not axial")
            except InputError as error:
                self._refuse(series, error)
            else:
                places.append(Place(series.volume, series.phase, shape, affine))
        return places

    def _refuse(self, series: Series, error: InputError) -> None:
        self.unusable.add(id(series.volume))
        self.refused.append({"phase": series.phase, "reason": without_paths(str(error), [series.volume])})
        self.refusals.append(str(error))

    def _series_of(self, place: Place) -> Series:
        return next(series for series in self.series if series.volume is place.volume)

    def _make(self, source: Place, target: Place) -> Outcome | None:
        """The pair on the CECT's grid, less the slices that they don't share."""
        settings = self.settings
        try:
            volume, affine = canonical(*read_ct(target.volume))
            grid = paper_grid(volume, affine, size=settings.size, spacing=settings.spacing)
        except InputError as error:
            self._refuse(self._series_of(target), error)
            return None
        shared = shared_slices(grid, source.shape, source.affine)
        count = shared.stop - shared.start
        if count < max(settings.min_slices, settings.min_overlap * grid.shape[2]):
            return None
        grid = Grid((*grid.shape[:2], count), grid.affine @ _step_up(shared.start))
        row = {"cect": self._describe(target, volume, affine)}
        total = volume.shape[2]
        cect = as_int16_hu(resample(volume, affine, grid))
        del volume
        try:
            volume, affine = canonical(*read_ct(source.volume))
        except InputError as error:
            self._refuse(self._series_of(source), error)
            return None
        row = {"nect": self._describe(source, volume, affine), **row}
        nect = as_int16_hu(resample(volume, affine, grid))
        if nect.max() <= AIR_HU:
            return None
        for name in (NECT, CECT):
            if row[name]["image_looks"] == (CECT if name == NECT else NECT):
                look = str(row[name]["image_looks"]).upper()
                self.doubts.append(f"the {name.upper()} looks like a {look}; check it in the contact sheet")
        hours = hours_apart(source.volume, target.volume)
        facts = {
            "same_study": same_study(source.volume, target.volume),
            "hours_apart": None if hours is None else round(hours, 2),
            "slices": count,
            "slices_cut": total - count,
            "overlap": round(count / total, 3),
            "shift_mm": shift_mm(target, source),
        }
        return Outcome(self.job.patient, {**row, **facts}, (), nect, cect, grid.affine)

    def _describe(self, place: Place, volume: np.ndarray, affine: np.ndarray) -> dict[str, Any]:
        return {
            "phase": place.phase,
            "evidence": self._series_of(place).evidence,
            "image_looks": phase_from_image(volume, affine),
            "shape": list(map(int, volume.shape)),
            "spacing_mm": [round(float(size), 4) for size in voxel_sizes(affine)],
        }


def _step_up(slices: int) -> np.ndarray:
    move = np.eye(4)
    move[2, 3] = slices
    return move
