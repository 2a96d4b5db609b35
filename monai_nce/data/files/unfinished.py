"""The hidden folder of a long run: it outlives a kill, knows what work it belongs to, and what is finished in it."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

from monai_nce.data.files.atomic import LOCKS
from monai_nce.data.nifti.writer import make_folders, write_json
from monai_nce.errors import InputError

if LOCKS:
    import fcntl

__all__ = ["UnfinishedRun"]

NAME, WORK, FINISHED = ".unfinished", "work.json", "finished"


class UnfinishedRun:
    """Make the hidden folder, or go on in the one that a killed run left.

    One process at a time has it: it is locked until :meth:`release`.

    Args:
        out_dir: folder that the run writes to; made if missing.
        work: what is done with what, in a word that changes with either (a hash); no patient data.
        resume: go on with what is there.
        overwrite: start anew although something is there.

    Attributes:
        folder: the hidden folder.
        made: the folders that were made for it, deepest first.

    Raises:
        InputError: if an unfinished run is there and neither ``resume`` nor ``overwrite`` is set, or it is of other
            work and to be resumed, or another process is at work in it.
    """

    def __init__(self, out_dir: Path, work: str, resume: bool = False, overwrite: bool = False) -> None:
        self.folder = out_dir / NAME
        if self.folder.exists() and not (resume or overwrite):
            raise InputError(f"{out_dir}: holds an unfinished run; --resume goes on with it, --overwrite starts anew")
        self.made = make_folders(self.folder) or [out_dir]
        self._lock = self._take_lock(out_dir)
        known = self.folder / WORK
        if resume and known.exists():
            if json.loads(known.read_text(encoding="utf-8")) != {"work": work}:
                self.release()
                raise InputError(f"{out_dir}: its unfinished run had other input or settings; --overwrite starts anew")
            return
        for left in self.folder.iterdir():
            _remove(left)
        write_json(known, {"work": work})

    @classmethod
    def join(cls, out_dir: Path) -> UnfinishedRun:
        """Take part in the run that another process has begun and holds the lock of.

        Args:
            out_dir: folder that the run writes to.

        Raises:
            InputError: if there is no such run, as where ``out_dir`` is not shared with that process.
        """
        run = cls.__new__(cls)
        run.folder, run.made, run._lock = out_dir / NAME, [], None
        if not (run.folder / WORK).is_file():
            raise InputError(f"{out_dir}: expected the unfinished run of rank 0 but found none; is the folder shared?")
        return run

    def note(self, name: str, content: Any) -> None:
        """Take down that something is finished.

        Args:
            name: of it, usable as a file name.
            content: what :meth:`finished` shall give back, anything JSON can hold; no patient data.
        """
        write_json(self.folder / FINISHED / f"{name}.json", content)

    def finished(self) -> list[Any]:
        """What was taken down by all runs, sorted by name."""
        paths = sorted((self.folder / FINISHED).glob("*.json"))
        return [json.loads(path.read_text(encoding="utf-8")) for path in paths]

    def keep_only(self, subfolder: str, names: set[str]) -> None:
        """Remove from a sub-folder all but ``names``, given in lower case: what a killed writer left in part."""
        for path in (self.folder / subfolder).glob("*"):
            if path.name.lower() not in names:
                _remove(path)

    def release(self) -> None:
        """Let others have the folder. Without effect the second time."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _take_lock(self, out_dir: Path) -> int | None:
        if not LOCKS:
            return None
        lock = os.open(self.folder, os.O_RDONLY)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(lock)
            raise InputError(f"{out_dir}: another run is at work there") from error
        except OSError:  # a file system without locks
            os.close(lock)
            return None
        return lock


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()
