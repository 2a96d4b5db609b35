"""List the regular files below a path."""

from __future__ import annotations

import os
import stat
import warnings
from collections.abc import Iterator
from pathlib import Path

from monai_nce.errors import InputError

__all__ = ["ReaderWarning", "files_by_folder"]


class ReaderWarning(UserWarning):
    """Warn of what a reader let pass or left out: one line without patient data."""


def files_by_folder(path: Path) -> Iterator[tuple[Path, list[Path]]]:
    """Walk a tree once, folder by folder.

    Hidden files and folders are passed over. Links are followed to regular files inside the tree and nowhere else, so
    that neither a loop nor a link out of the tree does harm; pipes, sockets and devices are never opened. What was
    passed over for such a reason is counted in a :class:`ReaderWarning`.

    Args:
        path: a folder, or a file, which stands for itself alone.

    Yields:
        A folder and its files, both sorted by name; folders without files are left out.

    Raises:
        InputError: if nothing is there, or it is neither a folder nor a regular file.
    """
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: no such file or folder") from error
    if stat.S_ISREG(mode):
        yield path.parent, [path]
        return
    if not stat.S_ISDIR(mode):
        raise InputError(f"{path}: expected a file or folder but it is a device or a pipe")
    root = path.resolve()
    folders, passed = [path], 0
    while folders:  # a stack, since a recursion would end at the depth that Python allows
        folder = folders.pop()
        files, below = [], []
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError:
            passed += 1
            continue
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if entry.is_dir(follow_symlinks=False):
                below.append(folder / entry.name)
            elif _is_file_inside(entry, root):
                files.append(folder / entry.name)
            else:
                passed += 1
        if files:
            yield folder, files
        folders += reversed(below)
    if passed:
        warnings.warn(
            f"{path}: {passed} links out of the tree or to folders, devices, pipes or closed folders; left out",
            ReaderWarning,
            stacklevel=2,
        )


def _is_file_inside(entry: os.DirEntry[str], root: Path) -> bool:
    try:
        return entry.is_file() and (not entry.is_symlink() or Path(entry.path).resolve().is_relative_to(root))
    except (OSError, RuntimeError):  # a loop of links
        return False
