"""Read a volume that was found, and decide whether it is accepted and why not."""

from __future__ import annotations

import contextlib
import warnings
from dataclasses import dataclass, field

import numpy as np

from monai_nce.data.scans.file_tree import ReaderWarning
from monai_nce.data.scans.found import FoundVolume
from monai_nce.data.scans.phase import CECT, decide_phase
from monai_nce.data.scans.reader import check_volume, read_ct
from monai_nce.errors import InputError

__all__ = ["Examined", "examine"]


@dataclass(frozen=True)
class Examined:
    """Hold a volume that was read, or the reason why it is refused.

    Attributes:
        found: what was read.
        phase_hint: ``"nect"``, ``"cect"`` or ``"unknown"``.
        phase_evidence: what showed it, as :func:`~monai_nce.data.scans.phase.decide_phase` names it.
        reason: why it is refused; empty if it is accepted.
        warnings: what a person should know of an accepted volume, or of one before it was refused.
        shape: columns, rows and slices; None where the headers do not tell.
        affine: 4×4 matrix from voxel indices to RAS millimetres; None likewise.
        volume: (H, W, D) in HU; None if it is refused.
    """

    found: FoundVolume
    phase_hint: str
    phase_evidence: str
    reason: str
    warnings: tuple[str, ...]
    shape: tuple[int, ...] | None
    affine: np.ndarray | None = field(repr=False)
    volume: np.ndarray | None = field(repr=False)

    @property
    def accepted(self) -> bool:
        """Return whether every voxel was decoded and lies where the affine says."""
        return not self.reason


def examine(found: FoundVolume) -> Examined:
    """Read a volume to its last voxel; never raise for what is in its files, since one must not end a listing."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        volume, affine, reason = _read(found)
    notes = [str(item.message) for item in caught if issubclass(item.category, ReaderWarning)]
    shape: tuple[int, ...] | None = None
    if volume is not None:
        shape = volume.shape
    else:
        with warnings.catch_warnings(), contextlib.suppress(Exception):  # the reason is known
            warnings.simplefilter("ignore")
            shape, affine = check_volume(found)
    hint, evidence = decide_phase(found, volume, affine)
    if hint == CECT:
        notes.append(f"{found.path}: seems to show contrast medium already")
    if found.calculated and volume is not None:
        notes.append(f"{found.path}: {found.calculated}; not a CT as acquired")
    return Examined(found, hint, evidence, reason, tuple(dict.fromkeys(notes)), shape, affine, volume)


def _read(found: FoundVolume) -> tuple[np.ndarray | None, np.ndarray | None, str]:
    try:
        volume, affine = read_ct(found)
    except InputError as error:
        return None, None, str(error)
    except Exception as error:  # its text could hold anything that a header says
        return None, None, f"{found.path}: an unexpected {type(error).__name__} while it was read"
    return volume, affine, ""
