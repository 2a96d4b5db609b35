"""Lock a folder for one process."""

from __future__ import annotations

from pathlib import Path

from filelock import BaseFileLock, FileLock, Timeout

__all__ = ["LOCK", "Timeout", "lock_folder"]

LOCK = ".lock"


def lock_folder(folder: Path, reentrant: bool = False) -> BaseFileLock:
    """Lock a folder for this process, not for those that it forks, until ``release()`` or its end, however it ends.

    The lock's file stays in the folder. Where the file system has no locks nothing is locked.

    Args:
        folder: an existing folder.
        reentrant: let this process lock it again.

    Raises:
        Timeout: if it is locked already.
        OSError: if the folder cannot be written to.
    """
    lock = FileLock(folder / LOCK, is_singleton=reentrant, thread_local=False)
    (folder / LOCK).touch()  # raises where the folder cannot be written to
    try:
        lock.acquire(blocking=False)
    except Timeout:  # an OSError too
        raise
    except OSError:  # no locks here
        pass
    return lock
