"""Choose the bundle's files to train with by what a data set says of itself."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from monai_nce.errors import InputError
from monai_nce.modality import MR, modality_of

__all__ = ["PRESETS", "SCHEMES", "TrainingChoice", "choose_training", "mri_settings", "said_of"]

# scheme: the configuration files that are laid over train.json
SCHEMES: dict[str, list[str]] = {
    "separate": [],
    "joint": ["joint"],
    "single": ["single"],
    "cycle": ["cycle"],
    "aligned": ["aligned"],
    "regression": ["regression"],
    "oracle": ["regression", "oracle"],
    "registered": ["registered"],
    "registered-joint": ["registered_joint"],
}
PRESETS = ("small", "paper-ct", "paper-ixi")
PAPER_SIZE = 256  # pixels in plane


class TrainingChoice(NamedTuple):
    """Hold how to train: a scheme of ``SCHEMES``, the files of a preset, and names of domains by key."""

    scheme: str
    preset: list[str]
    names: dict[str, str]


def said_of(dataset_dir: str) -> dict[str, Any]:
    """Read what a data set's ``datalist.json`` says of it; what is wrong inside, the training itself will say.

    Raises:
        InputError: if there is none.
    """
    path = Path(dataset_dir, "datalist.json")
    if not path.is_file():
        raise InputError(f"{dataset_dir}: expected a data set, with datalist.json, but found none; see nce prepare")
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        said = None
    return said if isinstance(said, dict) else {}


def choose_training(about: Mapping[str, Any], scheme: str | None = None, preset: str | None = None) -> TrainingChoice:
    """Choose how to train on a data set.

    Args:
        about: what its ``datalist.json`` says of it.
        scheme: of ``SCHEMES``; None for the one that the data set was made for.
        preset: of ``PRESETS``; None for the one that fits its images.

    Raises:
        InputError: for a preset of another modality.
    """
    made = about.get("provenance") or {}
    usual = "separate"
    if made.get("tool") == "data_prep register":
        usual, made = "registered" if "auxiliary" in made else "regression", made.get("original", {})
    mri = mri_settings(about)
    if preset is not None and preset != "small" and (preset == "paper-ixi") != (mri is not None):
        fits = "MRI" if preset == "paper-ixi" else "CT"
        raise InputError(f"--preset {preset}: made for {fits}, but the data set is of {'CT' if mri is None else 'MRI'}")
    if mri is not None:
        more, names = mri
        return TrainingChoice(
            scheme or usual, [*(["paper", "paper_ixi"] if preset == "paper-ixi" else ["ixi"]), *more], names
        )
    large = preset == "paper-ct" or (preset is None and made.get("size", 0) >= PAPER_SIZE)
    return TrainingChoice(scheme or usual, ["paper"] * large, {})


def mri_settings(about: Mapping[str, Any]) -> tuple[list[str], dict[str, str]] | None:
    """Name the files behind ``ixi.json``, and the values of keys, that a data set of MRI asks for; None for one of CT.

    Args:
        about: what its ``datalist.json`` says of it.
    """
    if modality_of(about.get("source_domain", "nect")) != MR:
        return None
    made = about.get("provenance") or {}
    made = made.get("original", made)
    common = made.get("scale") == "common"
    usual = ["T1", "T1CE"] if common else ["T2", "PD"]
    keys = ("source_name", "target_name")
    named = {key: name for key, name, it in zip(keys, made.get("names", usual), usual, strict=True) if name != it}
    return ["t1ce"] * common, named
