"""Keep the finished parts of a long run in a hidden folder, so that a killed run can be resumed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from monai_nce.data.files.atomic import make_folders, write_json
from monai_nce.data.files.lock import LOCK, Timeout, lock_folder
from monai_nce.errors import InputError

__all__ = ["JoinedRun", "UnfinishedRun"]

NAME, WORK, FINISHED = ".unfinished", "work.json", "finished"


class JoinedRun:
    """Take part in the run that another process has begun in ``out_dir`` and holds the lock of.

    Raises:
        InputError: if there is no such run, as where ``out_dir`` is not shared with that process.
    """

    def __init__(self, out_dir: Path) -> None:
        self.folder = out_dir / NAME
        if not (self.folder / WORK).is_file():
            raise InputError(f"{out_dir}: expected the unfinished run of rank 0 but found none; is the folder shared?")

    def note(self, name: str, content: Any) -> None:
        """Note as a file ``name`` that something is finished; ``content`` is JSON without patient data."""
        write_json(self.folder / FINISHED / f"{name}.json", content)

    def finished(self) -> list[Any]:
        """Return the notes of all runs, sorted by name."""
        paths = sorted((self.folder / FINISHED).glob("*.json"))
        return [json.loads(path.read_text(encoding="utf-8")) for path in paths]


class UnfinishedRun(JoinedRun):
    """Make the hidden folder, or go on in the one that a killed run left, and lock it until :meth:`release`.

    Args:
        out_dir: folder that the run writes to; made if missing.
        work: a hash of input and settings; no patient data.
        resume: go on with an unfinished run.
        overwrite: start anew although there is an unfinished run.

    Attributes:
        made: the folders that were made, deepest first.

    Raises:
        InputError: if an unfinished run is there and neither ``resume`` nor ``overwrite`` is set, or it is of other
            work and to be resumed, or another process is at work in it.
    """

    def __init__(self, out_dir: Path, work: str, resume: bool = False, overwrite: bool = False) -> None:
        folder = out_dir / NAME
        if folder.exists() and not (resume or overwrite):
            raise InputError(f"{out_dir}: holds an unfinished run; --resume goes on with it, --overwrite starts anew")
        self.made = make_folders(folder) or [out_dir]
        try:
            self._lock = lock_folder(folder)
        except Timeout as error:
            raise InputError(f"{out_dir}: another run is at work there") from error
        known = folder / WORK
        if not (resume and known.exists()):
            for left in folder.iterdir():
                if left.name != LOCK:
                    _remove(left)
            write_json(known, {"work": work})
        elif json.loads(known.read_text(encoding="utf-8")) != {"work": work}:
            self.release()
            raise InputError(f"{out_dir}: its unfinished run had other input or settings; --overwrite starts anew")
        super().__init__(out_dir)

    def keep_only(self, subfolder: str, names: set[str]) -> None:
        """Remove from a sub-folder all but ``names``, given in lower case: what a killed writer left in part."""
        for path in (self.folder / subfolder).glob("*"):
            if path.name.lower() not in names:
                _remove(path)

    def release(self) -> None:
        """Unlock the folder. Without effect the second time."""
        self._lock.release()


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()
