"""Prepare one patient of an archive: choose a pair, read it, bring it onto one grid. Runs in a process of its own.

Of the acquired voxels one volume is in memory at a time. What is said for the report holds no path and no identifier.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from nibabel.affines import from_matvec, voxel_sizes

from monai_nce.data.nifti.writer import as_int16_hu
from monai_nce.data.scans.phase import CECT, NECT, UNKNOWN, phase_from_image, phase_hint
from monai_nce.data.scans.reader import AIR_HU, check_volume, read_ct
from monai_nce.errors import InputError

from .archives import Series
from .geometry import SIZE, SPACING_MM, Grid, canonical, paper_grid, resample
from .messages import redact
from .pairing import Place, hours_apart, is_axial, rank_pairs, same_study, shared_slices, shift_mm
from .persons import contradictions, image_hash
from .phases import ENHANCED

__all__ = ["Job", "Outcome", "PairSettings", "prepare_patient"]


@dataclass(frozen=True)
class PairSettings:
    """Geometry and choice of pairs, for all patients."""

    size: int = SIZE  # pixels along both in-plane axes
    spacing: float = SPACING_MM  # of the pixels
    phase: str = "portal"  # of the CECT: "portal", "arterial", "late" or "any"; others follow where it is missing
    min_overlap: float = 0.5  # least share of the CECT's slices that the NECT covers
    min_slices: int = 16  # least number of slices that are left of a pair

    def as_json(self) -> dict[str, Any]:
        """Give the settings for the report."""
        return {{"spacing": "spacing_mm"}.get(name, name): value for name, value in asdict(self).items()}


@dataclass(frozen=True)
class Job:
    """A patient to prepare, by our own name.

    A list says which series are pairs of NECT and CECT, of which the first that can be used is, and the problem with
    one that was not found.
    """

    patient: str
    series: tuple[Series, ...] = field(repr=False)
    pairs: tuple[tuple[Series, Series], ...] | None = field(default=None, repr=False)
    problem: str = field(default="", repr=False)


@dataclass(frozen=True)
class Outcome:
    """A prepared patient: NECT and CECT in int16 HU, (H, W, D); without them where the patient is left out."""

    patient: str
    report: dict[str, Any]  # for report.json; with "reason" where the patient is left out
    messages: tuple[str, ...]  # for stderr; they name files
    source: np.ndarray | None = field(default=None, repr=False)
    target: np.ndarray | None = field(default=None, repr=False)
    affine: np.ndarray | None = field(default=None, repr=False)


_Pair = tuple[dict[str, Any], np.ndarray, np.ndarray, np.ndarray]  # report, NECT, CECT, affine


class _LeftOut(Exception):
    """Why a patient has no pair."""


def prepare_patient(job: Job, settings: PairSettings) -> Outcome:
    """Prepare one patient; nothing that is wrong with its files is raised."""
    patient, pair, reason = _Patient(job, settings), None, ""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            pair = patient.prepare()
        except _LeftOut as error:
            reason = str(error)
        except (MemoryError, OSError, RuntimeError) as error:  # RuntimeError: ITK
            reason = f"could not be prepared ({type(error).__name__})"
    notices = [*dict.fromkeys(str(warning.message) for warning in caught), *patient.doubts]
    volumes = [series.volume for series in job.series]
    report = {
        "patient": job.patient,
        **(pair[0] if pair else {"reason": reason}),
        "refused": patient.refused,
        "warnings": [redact(notice, volumes) for notice in notices],
    }
    said = [f"left out: {reason}"] if pair is None else []
    said += [*(f"refused: {line}" for line in patient.refusals), *(f"warning: {line}" for line in notices)]
    messages = tuple(f"{job.patient}: {' '.join(line.split())}" for line in said)
    return Outcome(job.patient, report, messages, *(pair[1:] if pair else ()))


class _Patient:
    def __init__(self, job: Job, settings: PairSettings) -> None:
        self.job, self.settings, self.series = job, settings, list(job.series)
        self.refused: list[dict[str, str]] = []
        self.refusals: list[str] = []
        self.doubts: list[str] = []
        self.unusable: set[int] = set()

    def prepare(self) -> _Pair:
        """Prepare the best pair that can be read."""
        for source, target in self._pairs():
            if {id(source.volume), id(target.volume)} & self.unusable:
                continue
            with suppress(InputError):
                self._check_person(source, target)
                if pair := self._make(source, target):
                    return pair
        if self.refused:
            raise _LeftOut(f"no pair of its series can be used: {self.refused[0]['reason']}")
        share, least = self.settings.min_overlap, self.settings.min_slices
        raise _LeftOut(f"no NECT covers {share:.0%} of a CECT's slices and {least} or more of them")

    def _check_person(self, source: Place, target: Place) -> None:
        """Refuse a pair that is several people's; of a list, another PatientID alone is doubted."""
        differing = contradictions(source.volume, target.volume)
        if self.job.pairs is not None and differing == ["PatientID"]:
            self.doubts.append("NECT and CECT differ in PatientID; taken for one patient's because of the list")
        elif differing:
            reason = f"NECT and CECT are two people's: they differ in {', '.join(differing)}"
            if not self.refused or self.refused[-1]["reason"] != reason:
                self.refused.append({"phase": target.phase, "reason": reason})
                self.refusals.append(f"{target.volume.path}: {reason}")
            raise InputError(reason)

    def _pairs(self) -> list[tuple[Place, Place]]:
        if self.job.pairs is not None:
            if not self.job.pairs:
                self.refusals.append(self.job.problem)
                raise _LeftOut("a volume of its row in the list was not found, or is not one volume")
            return [found for source, target in self.job.pairs for found in self._rank([source], [target])]
        self._look_at_images()
        plain = [series for series in self.series if series.phase == NECT]
        enhanced = [series for series in self.series if series.phase in ENHANCED]
        missing = [name for name, found in (("non-contrast", plain), ("contrast-enhanced", enhanced)) if not found]
        if missing:
            unknown = sum(series.phase == UNKNOWN for series in self.series)
            undecided = f"; of {len(self.series)} series {unknown} could not be told" if unknown else ""
            raise _LeftOut(f"no {' and no '.join(missing)} series{undecided}")
        return self._rank(plain, enhanced)

    def _rank(self, plain: Sequence[Series], enhanced: Sequence[Series]) -> list[tuple[Place, Place]]:
        settings = self.settings
        sources, targets = self._places(plain), self._places(enhanced)
        return rank_pairs(sources, targets, settings.phase, settings.min_overlap, settings.min_slices)

    def _look_at_images(self) -> None:
        """Take phases from images where NECT or CECT is missing, and the series' own header says nothing."""
        phases = {one.phase for one in self.series}
        if NECT in phases and phases & set(ENHANCED):
            return
        for index, one in enumerate(self.series):
            if one.evidence not in ("", "study"):
                continue
            with suppress(InputError), self._noted(one):
                if (phase := phase_from_image(*read_ct(one.volume))) != UNKNOWN:
                    self.series[index] = Series(one.volume, phase, "image")

    def _places(self, listed: Sequence[Series]) -> list[Place]:
        places = []
        for series in listed:
            if id(series.volume) in self.unusable:
                continue
            with suppress(InputError), self._noted(series):
                shape, affine = check_volume(series.volume)
                if not is_axial(series.volume, affine):
                    raise InputError(f"{series.volume.path}: slices not axial")
                places.append(Place(series.volume, series.phase, shape, affine))
        return places

    @contextmanager
    def _noted(self, series: Series | Place) -> Iterator[None]:
        """Note a series that the body refuses."""
        try:
            yield
        except InputError as error:
            self.unusable.add(id(series.volume))
            self.refused.append({"phase": series.phase, "reason": redact(str(error), [series.volume])})
            self.refusals.append(str(error))
            raise

    def _make(self, source: Place, target: Place) -> _Pair | None:
        """Bring a pair onto the CECT's grid, less the slices that they don't share."""
        settings = self.settings
        with self._noted(target):
            volume, affine = canonical(*read_ct(target.volume))
            grid = paper_grid(volume, affine, size=settings.size, spacing=settings.spacing)
        shared, total = shared_slices(grid, source.shape, source.affine), grid.shape[2]
        count = shared.stop - shared.start
        if count < max(settings.min_slices, settings.min_overlap * total):
            return None
        grid = Grid((*grid.shape[:2], count), grid.affine @ from_matvec(np.eye(3), [0, 0, shared.start]))
        cect, about_cect = as_int16_hu(resample(volume, affine, grid)), self._describe(target, volume, affine)
        images = [image_hash(volume)]
        del volume
        with self._noted(source):
            volume, affine = canonical(*read_ct(source.volume))
            images.append(image_hash(volume))
            if images[0] == images[1]:
                raise InputError(f"{source.volume.path}: NECT and CECT are the same image")
        nect, about_nect = as_int16_hu(resample(volume, affine, grid)), self._describe(source, volume, affine)
        if nect.max() <= AIR_HU:
            return None
        for about, name, wrong in ((about_nect, NECT, CECT), (about_cect, CECT, NECT)):
            if about["image_looks"] == wrong:
                self.doubts.append(f"the {name.upper()} looks like a {wrong.upper()}; check it in the contact sheet")
        for place, name, wrong in ((source, NECT, CECT), (target, CECT, NECT)):
            if self.job.pairs is not None and phase_hint(place.volume) == wrong:
                self.doubts.append(f"the {name.upper()} of the list is a {wrong.upper()} by its header")
        hours = hours_apart(source.volume, target.volume)
        report = {
            "nect": about_nect,
            "cect": about_cect,
            "same_study": same_study(source.volume, target.volume),
            "studies_not_used": self._studies_not_used(source, target),
            "hours_apart": None if hours is None else round(hours, 2),
            "slices": count,
            "slices_cut": total - count,
            "overlap": round(count / total, 3),
            "shift_mm": shift_mm(target, source),
            "image_sha256": images,
        }
        return report, nect, cect, grid.affine

    def _studies_not_used(self, source: Place, target: Place) -> int:
        """Count the patient's other studies in DICOM."""
        studies = {series.volume.study_uid for series in self.job.series} - {""}
        return len(studies - {source.volume.study_uid, target.volume.study_uid})

    def _describe(self, place: Place, volume: np.ndarray, affine: np.ndarray) -> dict[str, Any]:
        return {
            "phase": place.phase,
            "evidence": next(series.evidence for series in self.series if series.volume is place.volume),
            "image_looks": phase_from_image(volume, affine),
            "shape": list(map(int, volume.shape)),
            "spacing_mm": [round(float(size), 4) for size in voxel_sizes(affine)],
        }
