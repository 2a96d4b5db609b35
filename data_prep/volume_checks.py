"""Warn of named volumes that seem to be of the other phase, and refuse one that is given as both."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from monai_nce.data.scans.formats import volume_stem
from monai_nce.data.scans.found import FoundVolume
from monai_nce.data.scans.phase import CECT, NECT, UNKNOWN, decide_phase
from monai_nce.errors import InputError

from .messages import MessageLog
from .persons import image_hash
from .phases import ENHANCED, name_phase

__all__ = ["VolumeChecks"]

ROLE = {"source": "NECT", "target": "CECT"}


class VolumeChecks:
    """Compare volumes with the role that they are given in, and with each other.

    Args:
        log: where warnings go; they name files.

    Attributes:
        images: hashes of each patient's images.
    """

    def __init__(self, log: MessageLog) -> None:
        self.log = log
        self.images: dict[str, list[str]] = defaultdict(list)
        self.first: dict[str, tuple[str, Path]] = {}  # role and path of each hash
        self.count: Counter[str] = Counter()  # of each role
        self.wrong: Counter[str] = Counter()

    def note(self, patient: str, role: str, found: FoundVolume, volume: np.ndarray, affine: np.ndarray) -> None:
        """Take in a volume as acquired, with a line where it does not look as it should.

        Raises:
            InputError: if the same image was there in the other role.
        """
        digest = image_hash(volume)
        before = self.first.setdefault(digest, (role, found.path))
        if before[0] != role:
            raise InputError(f"{found.path}: the same image as {before[1]}, which can't be NECT and CECT at once")
        self.images[patient].append(digest)
        self.count[role] += 1
        if found.calculated:
            self.log.add([f"warning: {found.path}: {found.calculated}; not a CT as acquired"])
        name, other = (NECT, CECT) if role == "source" else (CECT, NECT)
        phase, evidence = decide_phase(found, volume, affine)
        if phase == UNKNOWN and found.kind != "dicom":
            named = name_phase(volume_stem(found.path.name).replace("_", " "))
            phase, evidence = NECT if named == NECT else CECT if named in ENHANCED else UNKNOWN, "name"
        if phase == other:
            self.wrong[role] += 1
            said = f"given as {name.upper()} but seems to be a {other.upper()}, by its {evidence}"
            self.log.add([f"warning: {found.path}: {said}"])

    def sum_up(self, person_of: Mapping[str, str]) -> None:
        """Say what all volumes together show."""
        if self.wrong and all(2 * self.wrong[role] > count for role, count in self.count.items()):
            each = " and ".join(f"{self.wrong[role]} of {self.count[role]} {ROLE[role]}" for role in self.count)
            self.log.add([f"warning: {each} seem to be the other kind: are they given the wrong way round?"])
        if twice := len(person_of) - len(set(person_of.values())):
            text = f"{twice} of {len(person_of)} patients are persons that come twice, or the same image"
            self.log.add([f"notice: {text}: each person is kept in one split"])
