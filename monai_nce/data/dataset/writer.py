"""Write a data set; :mod:`monai_nce.data.dataset.datalist` reads it.

::

    OUT/datalist.json                    what belongs to which split, as in the Medical Segmentation Decathlon
    OUT/volumes/<patient>_<role>.nii     int16 HU, uncompressed (labels and masks: uint8)
    OUT/report.json                      only of some tools: how each patient was prepared, and who was left out
    OUT/contact_sheet.png                only of some tools, with contact_sheet_2.png and so on: what it looks like

Uncompressed, so that training reads a slice stack without the volume. All volumes of one item lie on one grid. An item
of an unpaired data set has only a source or only a target. Where the source as acquired has no motion against the
target, ``source`` and ``aligned_source`` name one file. ``synthetic_source`` is what an auxiliary network made of the
target; ``mask`` is 1 where a source that was registered to it counts, else 0. ``phase`` and ``level`` of the target's
contrast, where it has them, are those of :mod:`monai_nce.contrast`.
"""

from __future__ import annotations

import re
import secrets
import shutil
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from monai_nce.contrast import check_contrast
from monai_nce.data.files.atomic import make_folders, remove_empty, write_json
from monai_nce.data.files.unfinished import JoinedRun, UnfinishedRun
from monai_nce.data.nifti.writer import write_nifti_hu, write_nifti_labels
from monai_nce.errors import InputError

__all__ = [
    "CONTRAST",
    "DATALIST",
    "INTEGER_ROLES",
    "KINDS",
    "MARKS",
    "PATIENT",
    "REPORT",
    "ROLES",
    "SPLITS",
    "DatasetWriter",
    "VolumeWriter",
]

DATALIST = "datalist.json"
REPORT = "report.json"
VOLUMES = "volumes"
SPLITS = ("training", "validation", "test")
ROLES = ("source", "target", "aligned_source", "labels", "synthetic_source", "mask")
INTEGER_ROLES = ("labels", "mask")  # uint8, the others are HU
CONTRAST = ("phase", "level")
COUNTS = {"training": "numTraining", "validation": "numValidation", "test": "numTest"}
KINDS = ("phantom", "virtual", "real")  # what images show, from the farthest from a patient to the nearest
# descriptions in the headers of images of no patient, so that a file that leaves its folder still says what it is
MARKS = {
    "phantom": "PHANTOM, made by monai-nce; shows no patient",
    "virtual": "VIRTUAL, made by monai-nce; shows no patient",
}
PATIENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
SHEETS = "contact_sheet*.png"


class VolumeWriter:
    """Write patients' volumes into the hidden folder of a :class:`DatasetWriter`, of this or another process."""

    def __init__(self, staging: Path, run: JoinedRun | None = None, kind: str | None = None) -> None:
        self._staging = staging
        self._mark = MARKS.get(kind or "", "")
        self._notes = run
        self._items: dict[str, list[dict[str, Any]]] = {split: [] for split in SPLITS}
        self._patients: set[str] = set()
        self._files: set[str] = set()

    def add(
        self,
        split: str,
        patient: str,
        affine: ArrayLike,
        *,
        source: ArrayLike | None = None,
        target: ArrayLike | None = None,
        aligned_source: ArrayLike | None = None,
        labels: ArrayLike | None = None,
        synthetic_source: ArrayLike | None = None,
        mask: ArrayLike | None = None,
        phase: Any = None,
        level: Any = None,
        note: Any = None,
    ) -> None:
        """Write one patient's volumes.

        Args:
            split: ``training``, ``validation`` or ``test``.
            patient: an id of our own, of letters, digits, dots, underscores and hyphens.
            affine: 4×4 matrix from voxel indices to RAS millimetres, of all the volumes.
            source: volume (H, W, D) in HU of the source domain.
            target: volume (H, W, D) in HU of the target domain.
            aligned_source: a source without motion against the target, for evaluation; may be ``source`` itself.
            labels: organ labels, 0 to 255.
            synthetic_source: volume in HU of the source domain that a network made of the target.
            mask: 1 where source and target may be compared, 0 where not.
            phase, level: of the target's contrast, as in :mod:`monai_nce.contrast`; None where they are not known.
            note: what a resumed run finds in :attr:`finished`: anything JSON can hold, no patient data.

        Raises:
            InputError: for a phase or level that is none.
            ValueError: if something is not as said above, shapes differ, or the patient was added before.
        """
        given = (source, target, aligned_source, labels, synthetic_source, mask)
        volumes = {role: volume for role, volume in zip(ROLES, given, strict=True) if volume is not None}
        check_contrast(phase, level)
        if split not in SPLITS:
            raise ValueError(f"split: expected one of {', '.join(SPLITS)} but got {split!r}")
        if not PATIENT.fullmatch(patient):
            raise ValueError(f"patient: expected letters, digits, '.', '_' and '-' but got {patient!r}")
        if patient in self._patients:
            raise ValueError(f"patient: {patient} was added before")
        if source is None and target is None:
            raise ValueError(f"{patient}: expected a source, a target or both but got neither")
        shapes = {role: tuple(np.shape(volume)) for role, volume in volumes.items()}
        if len(set(shapes.values())) > 1:
            raise ValueError(f"{patient}: expected volumes of one shape but got {shapes}")
        names = {role: f"{patient}_{role}.nii" for role in volumes}
        if aligned_source is not None and aligned_source is source:
            names["aligned_source"] = names["source"]
            del volumes["aligned_source"]
        # 'a' with an aligned_source and 'a_aligned' with a source, or 'A' and 'a' on some file systems
        if taken := {name.lower() for name in names.values()} & self._files:
            raise ValueError(f"patient: the id {patient!r} leads to a file name that is taken: {min(taken)}")

        for role, volume in volumes.items():
            write = write_nifti_labels if role in INTEGER_ROLES else write_nifti_hu
            write(self._staging / VOLUMES / names[role], volume, affine, self._mark)
        contrast = {key: value for key, value in zip(CONTRAST, (phase, level), strict=True) if value is not None}
        item = {"patient": patient, **{role: f"{VOLUMES}/{name}" for role, name in names.items()}, **contrast}
        if self._notes is not None:
            self._notes.note(patient, {"split": split, "item": item, "note": note})
        self._register(split, item)

    def _register(self, split: str, item: dict[str, Any]) -> None:
        self._patients.add(item["patient"])
        self._files.update(Path(item[role]).name.lower() for role in ROLES if role in item)
        self._items[split].append(item)


class DatasetWriter(VolumeWriter):
    """Write a data set, all of it or nothing.

    Volumes go to a hidden folder inside ``out_dir`` and take their place when the data set is closed; ``datalist.json``
    is written last. As a context manager it closes itself, or, on an exception, leaves things as they were::

        with DatasetWriter("data/phantom", name="phantom", description="…", licence="Apache-2.0") as dataset:
            dataset.add("training", "p000", affine, source=nect, target=cect)

    With ``work`` the hidden folder stays when the run is killed, interrupted or out of disk, to be resumed. It goes
    when the input is at fault, or on closing.

    Args:
        out_dir: folder of the data set; made if missing.
        name: name of the data set.
        description: one sentence about it.
        licence: licence of the images.
        kind: what the images show, one of ``KINDS``: ``phantom`` for bodies of geometric shapes, ``virtual`` for images
            computed from a real anatomy, ``real`` for scans; None where nobody knows. Weights keep it, and the headers
            of the first two name it.
        source_domain: what ``source`` and ``aligned_source`` show.
        target_domain: what ``target`` shows.
        provenance: how the data set came about (seed, geometry, versions), as JSON can hold it; no patient data.
        overwrite: replace a data set that is already there, once the new one is complete.
        work: what is done with what, in a word that changes with either (a hash); no patient data.
        resume: go on where a run with the same ``work`` stopped, if there is one.

    Attributes:
        finished: notes by patient that :meth:`take_over` has seen; at the beginning those of an earlier run.

    Raises:
        ValueError: for another kind.
        InputError: if ``out_dir`` is not a folder, holds a data set that is not to be overwritten, or an unfinished run
            that is of other work or neither to be resumed nor overwritten, or another process is at work there.
    """

    def __init__(
        self,
        out_dir: str | PathLike[str],
        *,
        name: str,
        description: str,
        licence: str,
        kind: str | None = None,
        source_domain: str = "nect",
        target_domain: str = "cect",
        provenance: Mapping[str, Any] | None = None,
        overwrite: bool = False,
        work: str | None = None,
        resume: bool = False,
    ) -> None:
        if kind is not None and kind not in KINDS:
            raise ValueError(f"kind: expected one of {', '.join(KINDS)} but got {kind!r}")
        self.out_dir = Path(out_dir)
        if self.out_dir.exists() and not self.out_dir.is_dir():
            raise InputError(f"{self.out_dir}: expected a folder for the data set but it is a file")
        for taken in (*(self.out_dir / name for name in (DATALIST, VOLUMES, REPORT)), *self.out_dir.glob(SHEETS)):
            if taken.exists() and not overwrite:
                raise InputError(f"{taken}: already there; choose another folder, or overwrite it (--overwrite)")
        self._header = {
            "name": name,
            "description": description,
            "licence": licence,
            **({} if kind is None else {"kind": kind}),
            "source_domain": source_domain,
            "target_domain": target_domain,
            "provenance": dict(provenance or {}),
        }
        self._report: Mapping[str, Any] | None = None
        self._sheets: list[str] = []
        self.finished: dict[str, Any] = {}
        self._run = None if work is None else UnfinishedRun(self.out_dir, work, resume, overwrite)
        staging = self.out_dir / f".partial-{secrets.token_hex(4)}" if self._run is None else self._run.folder
        super().__init__(staging, self._run, kind)
        self._made = make_folders(staging) if self._run is None else self._run.made
        self.take_over()

    @classmethod
    def join(cls, out_dir: str | PathLike[str], kind: str | None = None) -> VolumeWriter:
        """Join the data set, of that ``kind``, that another process has begun with ``work`` in a shared folder.

        Raises:
            InputError: if there is none.
        """
        run = JoinedRun(Path(out_dir))
        return VolumeWriter(run.folder, run, kind)

    def resplit(self, splits: Mapping[str, Sequence[str]]) -> None:
        """Put all patients that were added into other splits; raise a ValueError unless each comes once."""
        items = {item["patient"]: item for part in self._items.values() for item in part}
        wanted = [patient for split in SPLITS for patient in splits.get(split, ())]
        if sorted(wanted) != sorted(items) or set(splits) - set(SPLITS):
            raise ValueError("splits: expected each patient that was added once")
        self._items = {split: [items[patient] for patient in splits.get(split, ())] for split in SPLITS}

    def volume_paths(self) -> dict[str, dict[str, Path]]:
        """Return the volumes' paths by role until the data set is closed, sorted by patient."""
        items = sorted((item for part in self._items.values() for item in part), key=lambda item: item["patient"])
        return {item["patient"]: {role: self._staging / item[role] for role in ROLES if role in item} for item in items}

    def sheet(self) -> Path:
        """Return the path of the contact sheet's next page; it takes its place with the data set."""
        page = len(self._sheets) + 1
        self._sheets.append("contact_sheet.png" if page == 1 else f"contact_sheet_{page}.png")
        return self._staging / self._sheets[-1]

    def report(self, content: Mapping[str, Any]) -> None:
        """Have this written as ``report.json`` with the data set: anything JSON can hold; no patient data."""
        self._report = content

    def close(self) -> Path:
        """Put everything in place and return the path of ``datalist.json``; raise a ValueError without a patient."""
        datalist, volumes, report = self.out_dir / DATALIST, self.out_dir / VOLUMES, self.out_dir / REPORT
        counts = {COUNTS[split]: len(items) for split, items in self._items.items()}
        try:
            if not self._patients:
                raise ValueError("expected at least one patient before the data set is closed")
            write_json(self._staging / DATALIST, {**self._header, **counts, **self._items})
            if self._report is not None:
                write_json(self._staging / REPORT, self._report)
            datalist.unlink(missing_ok=True)  # the new data set is complete on disk; from here on only renames
            if volumes.exists():
                volumes.rename(self._staging / "replaced")
            for old in (report, *self.out_dir.glob(SHEETS)):
                old.unlink(missing_ok=True)
            (self._staging / VOLUMES).rename(volumes)
            for name in (*self._sheets, *([REPORT] if self._report is not None else [])):
                (self._staging / name).rename(self.out_dir / name)
            (self._staging / DATALIST).rename(datalist)
        except BaseException as error:
            self._give_up(error)
            raise
        self.discard()
        return datalist

    def discard(self) -> None:
        """Remove what is not in place; what was there before stays. Without effect on a closed data set."""
        shutil.rmtree(self._staging, ignore_errors=True)
        if self._run is not None:
            self._run.release()
        remove_empty(self._made)

    def take_over(self) -> None:
        """Register finished patients of other processes, none of which may still add: what is left in part goes."""
        if self._run is None:
            return
        for done in self._run.finished():
            item = done["item"]
            if all((self._staging / item[role]).is_file() for role in ROLES if role in item):
                if item["patient"] not in self._patients:
                    self._register(done["split"], item)
                self.finished[item["patient"]] = done["note"]
        self._run.keep_only(VOLUMES, self._files)

    def _give_up(self, error: BaseException) -> None:
        """Keep what can be resumed, unless the input was at fault."""
        resumable = self._run is not None and not isinstance(error, InputError)
        if self._run is not None and resumable and (self._patients or self._run.finished()):
            self._run.release()
        else:
            self.discard()

    def __enter__(self) -> DatasetWriter:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is None:
            self.close()
        else:
            self._give_up(error)
