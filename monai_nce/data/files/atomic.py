"""Write files, JSON and folders atomically: complete, or not at all.

New content goes to a hidden workspace beside its place, to disk, and then takes its place in one step. A failure leaves
what was there before; after a SIGKILL or a power cut the next writer of the same name removes the workspace.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator
from os import PathLike
from pathlib import Path
from typing import Any

from monai_nce.errors import InputError

LOCKS = os.name == "posix"  # elsewhere what a killed writer left stays there
if LOCKS:
    # not filelock: it locks a file, which would stay beside the result, and a folder holds the result alone
    import fcntl

__all__ = [
    "atomic_folder",
    "atomic_path",
    "locked",
    "make_folders",
    "remove_abandoned",
    "remove_empty",
    "write_json",
    "writing",
]

WORKSPACE = ".partial"  # end of a workspace's name
OLD = "replaced"  # in a workspace: the folder that makes way for the new one
AT_FDCWD, RENAME_EXCHANGE = -100, 2  # Linux: fcntl.h


def make_folders(folder: str | PathLike[str]) -> list[Path]:
    """Make ``folder`` and its missing parents; return those that were made, deepest first, for :func:`remove_empty`."""
    folder = Path(folder)
    made = [f for f in (folder, *folder.parents) if not f.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    return made


def remove_empty(folders: Iterable[Path]) -> None:
    """Remove those of ``folders`` that are empty; one that is in use stays."""
    for folder in folders:
        with contextlib.suppress(OSError):
            folder.rmdir()


@contextlib.contextmanager
def atomic_path(path: str | PathLike[str]) -> Iterator[Path]:
    """Yield a temporary file of the same name to create, and move it to ``path`` once it is safely on disk.

    Missing parent folders are made, and removed again if the body or the move fails.
    """
    with _workspace(Path(path)) as temporary:
        yield temporary
        _sync(temporary)
        os.replace(temporary, path)


@contextlib.contextmanager
def atomic_folder(path: str | PathLike[str]) -> Iterator[Path]:
    """Yield an empty temporary folder to fill, and move it to ``path``, or replace that, once it is safely on disk.

    On Linux the old and the new one change places in one step, so that there is one of them at any moment.
    """
    path = Path(path)
    with _workspace(path) as temporary:
        temporary.mkdir()
        yield temporary
        for file in sorted(temporary.iterdir()):
            _sync(file)
        _sync_folder(temporary)
        if not path.exists():
            os.rename(temporary, path)
        elif not _exchange(temporary, path):
            old = temporary.with_name(OLD)
            os.rename(path, old)
            try:
                os.rename(temporary, path)
            except BaseException:
                os.rename(old, path)
                raise


def write_json(path: str | PathLike[str], obj: Any) -> None:
    """Write strict JSON atomically; raise a ValueError on NaN or Inf, a TypeError on what else JSON cannot express."""
    text = json.dumps(obj, indent=2, allow_nan=False) + "\n"
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


@contextlib.contextmanager
def writing(path: str | PathLike[str], hint: str = "") -> Iterator[None]:
    """Turn an OSError of the body, as on a full disk, into an InputError that names ``path`` and ends in ``hint``."""
    try:
        yield
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error.strerror or 'unknown error'}{hint}") from error


@contextlib.contextmanager
def _workspace(path: Path) -> Iterator[Path]:
    """Yield a path to write to, in a locked hidden folder beside ``path`` that is removed at the end."""
    made = make_folders(path.parent)
    try:
        remove_abandoned(path.parent, path.name)
        while True:
            folder = path.with_name(f".{secrets.token_hex(4)}-{path.name}{WORKSPACE}")
            folder.mkdir()
            lock = _lock(folder)
            if folder.exists():  # else another process took it for abandoned, before the lock
                break
        try:
            yield folder / path.name
            _sync_folder(path.parent)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            if lock is not None:
                os.close(lock)
    except BaseException:
        remove_empty(made)
        raise


def remove_abandoned(folder: str | PathLike[str], name: str | None = None) -> None:
    """Remove the unlocked workspaces of killed writers of ``name``, or of any, from a folder."""
    if not LOCKS:
        return
    for workspace in Path(folder).glob(f".????????-*{WORKSPACE}"):
        path = workspace.with_name(workspace.name[10 : -len(WORKSPACE)])
        if name not in (None, path.name):
            continue
        lock = _lock(workspace, wait=False)
        if lock is not None:
            if not path.exists() and (workspace / OLD).exists():  # killed between the two steps of a replacement
                os.rename(workspace / OLD, path)
            shutil.rmtree(workspace, ignore_errors=True)
            os.close(lock)


@contextlib.contextmanager
def locked(folder: str | PathLike[str]) -> Iterator[None]:
    """Let one process at a time into the body, by a lock on an existing folder; where there are no locks, any."""
    lock = _lock(Path(folder))
    try:
        yield
    finally:
        if lock is not None:
            os.close(lock)


def _lock(folder: Path, wait: bool = True) -> int | None:
    """Return a descriptor that holds the lock on a folder until it is closed, or None where it cannot be had."""
    if not LOCKS:
        return None
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError:  # held by its writer, or a file system without locks
        os.close(descriptor)
        return None
    return descriptor


def _exchange(one: Path, other: Path) -> bool:
    """Exchange two folders in one step; return False where system or file system cannot."""
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError, TypeError):
        return False
    return bool(rename(AT_FDCWD, os.fsencode(one), AT_FDCWD, os.fsencode(other), RENAME_EXCHANGE) == 0)


def _sync(file: Path) -> None:
    with open(file, "r+b") as opened:
        os.fsync(opened.fileno())


def _sync_folder(folder: Path) -> None:
    """Make a rename durable. The files are safe by now, so a file system that cannot do this is no failure."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
