"""Enhance series in a process of its own, which loads the network once and whose end harms nothing else."""

from __future__ import annotations

import errno
import multiprocessing
import signal
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from monai_nce import __version__
from monai_nce.errors import error_chain, fault_text, find_input_error
from monai_nce.processes import end_with_parent

__all__ = ["Crashed", "Enhancing", "Result", "enhance_series"]

SECONDS = 3600  # in which one series has to be done
END_SECONDS = 2
BY_GUARD = " (refused because of --strict)"


class Crashed(Exception):
    """Report that the process ended, or was ended for being too slow."""


@dataclass(frozen=True)
class Result:
    """Hold what became of a series.

    Attributes:
        outcome: ``"enhanced"``, ``"unsuitable"`` for a scan that the weights were not made for, ``"unusable"`` for one
            that cannot be read or written as DICOM, ``"fault"`` for what was not expected, ``"disk"`` for a disk
            that is full or damaged.
        reason: why it was not enhanced, in one line without patient data.
        slices: that were written.
    """

    outcome: str
    reason: str = ""
    slices: int = 0


class Enhancing:
    """Run :func:`enhance_series` in a process that is started when it is needed, and again after it has ended.

    Args:
        settings: of :func:`monai_nce.enhance`.
        target: what the process runs, given its end of a pipe and the settings.
    """

    def __init__(self, settings: Mapping[str, Any], target: Callable[..., None] | None = None) -> None:
        self.settings = dict(settings)
        self.target = target or _serve
        self._process: Any = None
        self._pipe: Connection | None = None
        self.closed = False

    def run(self, series: Path, output: Path, seed: str) -> Result:
        """Enhance a series.

        Raises:
            Crashed: if the process ended over it.
        """
        try:
            if self._process is None or not self._process.is_alive():
                self.start()
            assert self._pipe is not None
            self._pipe.send((series, output, seed))
            if not self._pipe.poll(SECONDS):
                raise TimeoutError
            result: Result = self._pipe.recv()
        except (EOFError, OSError) as error:
            self.stop()  # a late answer would be taken for that of the next series
            slow = isinstance(error, TimeoutError)
            raise Crashed(f"not done after {SECONDS} s" if slow else "the process that enhances ended") from error
        return result

    def close(self) -> None:
        """End the process for good."""
        self.closed = True
        self.stop()

    def stop(self) -> None:
        """End the process: idle, it goes by itself."""
        if self._pipe is not None:
            self._pipe.close()
        if self._process is not None:
            self._process.join(timeout=END_SECONDS)
            self._process.kill()
            self._process.join()
        self._process = self._pipe = None

    def start(self) -> None:
        """Start the process, in which the libraries are loaded before the first series comes."""
        self.stop()
        context = multiprocessing.get_context("spawn")  # a fork of a process with threads may hang
        self._pipe, other = context.Pipe()
        self._process = context.Process(target=self.target, args=(other, self.settings), name="enhancing", daemon=True)
        self._process.start()
        other.close()


def _serve(pipe: Connection, settings: dict[str, Any]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, with which this process ends
    end_with_parent()
    warnings.simplefilter("ignore")  # others' may quote a header; the project's own come with the result
    import monai_nce.python_api  # noqa: F401

    while True:
        try:
            series, output, seed = pipe.recv()
        except EOFError:
            return
        pipe.send(enhance_series(series, output, seed, settings))


def enhance_series(series: Path, output: Path, seed: str, settings: Mapping[str, Any]) -> Result:
    """Enhance a DICOM series by the bundle, strictly, and write the derived one, complete or not at all.

    Args:
        series: folder of one series, with another beside it to work in.
        output: folder of the derived series.
        seed: from which its UIDs are made, so that the same series enhanced again has the same ones.
        settings: of :func:`monai_nce.enhance`.
    """
    from monai_nce.data.dicom.writer import series_files
    from monai_nce.python_api import enhance

    try:
        made = series.with_name("made")
        enhanced = enhance(series, strict=True, **settings)
        enhanced.save(made, "dicom")
        _place(made, output, f"{seed} {__version__} {enhanced.weights['sha256']}")
        return Result("enhanced", slices=len(series_files(output)))
    except Exception as error:
        reason = fault_text(error, "enhanced").replace(f"{series}: ", "").replace(str(series.parent), "").strip()
        if _is_systems(error):
            return Result("disk", "the disk is full or not writable")
        if find_input_error(error) is None:
            return Result("fault", reason)
        unsuitable = reason.endswith(BY_GUARD)
        return Result("unsuitable" if unsuitable else "unusable", reason.removesuffix(BY_GUARD))


def _place(made: Path, output: Path, seed: str) -> None:
    """Give a derived series UIDs that follow from the seed, and its place."""
    from pydicom import dcmread, dcmwrite
    from pydicom.uid import generate_uid

    from monai_nce.data.dicom.files import quiet_pydicom
    from monai_nce.data.dicom.writer import series_files
    from monai_nce.data.files.atomic import atomic_folder

    with quiet_pydicom(made), atomic_folder(output) as temporary:
        for file in series_files(made):
            header = dcmread(file)
            header.SeriesInstanceUID = generate_uid(entropy_srcs=[seed])
            header.SOPInstanceUID = generate_uid(entropy_srcs=[seed, file.name])
            header.file_meta.MediaStorageSOPInstanceUID = header.SOPInstanceUID
            dcmwrite(temporary / file.name, header, enforce_file_format=True)


def _is_systems(error: BaseException) -> bool:
    """Return whether the disk is behind an error, not the scan."""
    numbers = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS)
    return any(isinstance(one, OSError) and one.errno in numbers for one in error_chain(error))
