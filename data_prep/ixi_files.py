"""Read the scans of IXI where they lie: in a tar archive as downloaded, or in a folder.

Files are named ``IXI012-HH-1211-T2.nii.gz``: subject, site, number, contrast. The archives are not compressed as a
whole, so one scan after the other is copied out of them, and never the archive unpacked.

https://brain-development.org/ixi-dataset/; the images are under CC BY-SA 3.0. Sites: Guy's Hospital (Guys, 1.5 T),
Hammersmith Hospital (HH, 3 T), Institute of Psychiatry (IOP, 1.5 T).
"""

from __future__ import annotations

import re
import tarfile
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from monai_nce.data.nifti.reader import check_nifti, read_nifti
from monai_nce.errors import InputError

from .geometry import Grid, canonical, canonical_grid

__all__ = ["IXIFiles"]

FILE_NAME = re.compile(r"(IXI\d+)-([A-Za-z]+)-(\d+)-([A-Za-z0-9]+)\.nii(?:\.gz)?")
BLOCK = 512  # bytes: what tar counts in
HEADER_BYTES = 2**16  # of a compressed file: more than enough for a NIfTI header


class IXIFiles:
    """Read one contrast's scans, one per subject.

    Args:
        path: a tar archive, or a folder with such files at any depth.
        contrast: ``T2`` or ``PD``, as in the files' names.

    Attributes:
        sites: the site of each subject that has one scan of the contrast.
        repeated: those that have several, and their site.

    Raises:
        InputError: if there is no such file or folder, the archive is damaged, or nothing in it has the contrast.
    """

    def __init__(self, path: Path, contrast: str) -> None:
        self.path = path
        self.contrast = contrast
        self.sites: dict[str, str] = {}
        self.repeated: dict[str, str] = {}
        self._scans: dict[str, Path | tarfile.TarInfo] = {}
        if not path.exists():
            raise InputError(f"{path}: no such file or folder")
        self._sort([file for file in sorted(path.rglob("*")) if file.is_file()] if path.is_dir() else self._in_tar())

    def grid(self, subject: str) -> Grid:
        """Read the grid that :meth:`volume` has from the header of one of ``sites``; a fault names archive and scan."""
        with self._file(subject, HEADER_BYTES) as file:
            image = check_nifti(file)
            return canonical_grid(image.shape[:3], np.asarray(image.affine, dtype=np.float64))

    def volume(self, subject: str) -> tuple[np.ndarray, np.ndarray]:
        """Read the scan of one of ``sites``, with axes to the right, to the front and upwards, and its affine.

        A fault names archive and scan.
        """
        with self._file(subject) as file:
            return canonical(*read_nifti(file))

    def _in_tar(self) -> list[tarfile.TarInfo]:
        members: list[tarfile.TarInfo] = []
        try:
            with tarfile.open(self.path, "r:") as tar:
                for member in tar:
                    members.append(member)
        except (tarfile.TarError, EOFError) as error:
            if not members:
                raise InputError(f"{self.path}: not a tar archive, or empty or damaged") from error
            last = members[-1].name
            raise InputError(f"{self.path}: truncated or damaged at or after {last}; download it again") from error
        # tarfile takes a broken header in the middle, or an end without the closing zeros, for the archive's end
        end = max((m.offset_data + -(-m.size // BLOCK) * BLOCK for m in members), default=0)
        with open(self.path, "rb") as file:
            file.seek(end)
            if file.read(BLOCK) != bytes(BLOCK):
                last = members[-1].name if members else "its start"
                raise InputError(f"{self.path}: truncated or damaged after {last}; download it again")
        return [member for member in members if member.isfile()]

    def _sort(self, found: list[Path] | list[tarfile.TarInfo]) -> None:
        contrasts: Counter[str] = Counter()
        for entry in found:
            if (match := FILE_NAME.fullmatch(Path(entry.name).name)) is None:
                continue
            subject, site, _, contrast = match.groups()
            contrasts[contrast] += 1
            if contrast == self.contrast:
                (self.repeated if subject in self._scans else self.sites)[subject] = site
                self._scans[subject] = entry
        for subject in self.repeated:
            del self.sites[subject], self._scans[subject]
        if not contrasts[self.contrast]:
            others = ", ".join(f"{count} of {name}" for name, count in contrasts.most_common()) or "no IXI scan at all"
            raise InputError(
                f"{self.path}: expected {self.contrast} scans (IXI…-{self.contrast}.nii.gz) but found {others}"
            )

    @contextmanager
    def _file(self, subject: str, limit: int = -1) -> Iterator[Path]:
        """Copy a scan, or its first ``limit`` bytes, to a file of its own; errors name the archive instead of it."""
        entry = self._scans[subject]
        if isinstance(entry, Path):
            yield entry
            return
        member = f"{self.path}: {entry.name}"
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder) / Path(entry.name).name
            try:
                with tarfile.open(self.path, "r:") as tar:
                    stream = tar.extractfile(entry)
                    assert stream is not None  # _in_tar leaves only files
                    copy.write_bytes(stream.read(limit))
            except (tarfile.TarError, EOFError) as error:
                raise InputError(f"{member}: truncated or damaged ({error})") from error
            try:
                yield copy
            except InputError as error:
                raise InputError(str(error).replace(str(copy), member)) from error
