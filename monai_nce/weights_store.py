"""Find weights by name: those that ship, those that were imported, or a file.

Imported weights lie in a folder of the user's, each in a folder of its name. ``NCE_WEIGHTS_DIR`` names another one.
"""

from __future__ import annotations

import os
from pathlib import Path

from monai_nce.bundle_folder import bundle_folder
from monai_nce.errors import InputError

__all__ = ["DEFAULT", "NETWORK", "VARIABLE", "find_weights", "named_weights", "store_folder"]

DEFAULT = "default"  # the weights that ship
NETWORK = "model.pt"
VARIABLE = "NCE_WEIGHTS_DIR"


def store_folder() -> Path:
    """Return the folder of imported weights: of the environment, or where the platform keeps a user's data."""
    from platformdirs import user_data_path

    given = os.environ.get(VARIABLE)
    return Path(given) if given else user_data_path("monai-nce", appauthor=False) / "weights"


def named_weights() -> dict[str, Path]:
    """Return the target networks of all weights that have a name, the default first."""
    imported = sorted(store_folder().glob(f"[!.]*/{NETWORK}"))
    return {DEFAULT: bundle_folder() / "models" / NETWORK, **{file.parent.name: file for file in imported}}


def find_weights(name_or_path: str) -> Path:
    """Find a target network's file by name, by its path, or in a folder such as a training wrote; a name comes first.

    Raises:
        InputError: naming the weights that are known.
    """
    known = named_weights()
    if name_or_path in known:
        return known[name_or_path]
    path = Path(name_or_path)
    if path.is_file():
        if path.suffix.lower() == ".zip":
            raise InputError(f"{path}: expected a network's file but got an archive: nce weights import {path}")
        return path
    if path.is_dir():
        for place in (path / NETWORK, path / "models" / NETWORK):
            if place.is_file():
                return place
        raise InputError(f"{path}: expected a folder with {NETWORK} or models/{NETWORK} in it but found neither")
    raise InputError(f"weights: expected a file, a training's folder or one of {', '.join(known)} but got {path}")
