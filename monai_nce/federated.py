"""Exchange the weights of a stage in federated training, and put what comes back into the bundle's files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.bundle import ConfigParser
from monai.utils import set_determinism

from monai_nce.bundle_folder import bundle_folder
from monai_nce.data.files.atomic import atomic_path, writing
from monai_nce.errors import InputError
from monai_nce.handlers.weights.state_file import read_state_dict, write_torch
from monai_nce.handlers.weights.trained_for import TrainedFor

__all__ = ["NETWORKS", "config_files", "read_weights", "said_by_sites", "write_start", "write_weights"]

# of each stage in their order: the files of its networks, the bundle's key of each, and what the names of its tensors
# begin with where several networks are exchanged as one
NETWORKS: dict[str, dict[str, tuple[str, str]]] = {
    "classifier": {"classifier.pt": ("domain_classifier_def", "")},
    "stage1": {
        "auxiliary.pt": ("auxiliary_def", "auxiliary."),
        "discriminator.pt": ("discriminator_def", "discriminator."),
    },
    "stage2": {"model.pt": ("network_def", "")},
}


def config_files(stage: str) -> list[str]:
    """Return the configuration files of a stage, relative to the bundle's folder, as MONAI's ``MonaiAlgo`` takes them.

    Raises:
        InputError: for a stage that there is not.
    """
    if stage not in NETWORKS:
        raise InputError(f"stage: expected {', '.join(NETWORKS)} but got {stage}")
    return ["configs/train.json", f"configs/federated_{stage}.json"]


def write_start(stage: str, folder: str | PathLike[str], size: int, settings: Mapping[str, Any] | None = None) -> None:
    """Write the weights that every site starts a stage from, drawn by the bundle's ``seed``; no data is read.

    Args:
        stage: one of :data:`NETWORKS`.
        folder: where the files go.
        size: pixels of a slice in each direction, of all sites' data.
        settings: of the bundle, such as ``{"network_def#channels": [8, 8]}``.
    """
    parser = ConfigParser()
    parser.read_config([str(bundle_folder() / file) for file in config_files(stage)])
    parser.update({"discriminator_def#input_size": [size, size], **(settings or {})})
    set_determinism(seed=parser.get_parsed_content("seed"))
    for file, (name, _) in NETWORKS[stage].items():
        _write(parser.get_parsed_content(name).state_dict(), Path(folder) / file)


def read_weights(stage: str, folder: str | PathLike[str]) -> dict[str, np.ndarray]:
    """Read the tensors of a stage's networks from their files, under the names that they are exchanged by."""
    return {
        prefix + key: value.numpy()
        for file, (_, prefix) in NETWORKS[stage].items()
        for key, value in read_state_dict(Path(folder) / file).items()
    }


def write_weights(
    stage: str,
    weights: Mapping[str, np.ndarray],
    start: str | PathLike[str],
    folder: str | PathLike[str],
    trained_for: TrainedFor | None = None,
) -> list[Path]:
    """Write exchanged tensors as weights that the bundle reads; return the files.

    Args:
        stage: one of :data:`NETWORKS`.
        weights: as :func:`read_weights` returns them, averaged over the sites.
        start: folder of :func:`write_start`, whose names, shapes and types they are to have.
        folder: where the files go.
        trained_for: of the stage's generator, see :func:`said_by_sites`.

    Raises:
        InputError: for tensors that miss or have another shape.
    """
    files = []
    for file, (name, prefix) in NETWORKS[stage].items():
        own: Any = read_state_dict(Path(start) / file)
        for key, value in own.items():
            given = weights.get(prefix + key)
            if given is None or np.size(given) != value.numel():
                raise InputError(
                    f"{prefix}{key}: expected {tuple(value.shape)} but got {None if given is None else given.shape}"
                )
            own[key] = torch.as_tensor(np.asarray(given)).reshape(value.shape).to(value.dtype)
        if trained_for is not None and name in ("network_def", "auxiliary_def"):
            trained_for.write_to(own)
        files.append(Path(folder) / file)
        _write(own, files[-1])
    return files


def said_by_sites(sites: Mapping[str, Mapping[str, Any]]) -> TrainedFor:
    """Join what the sites' weights were trained for, with the data sets of all.

    Args:
        sites: :meth:`TrainedFor.plain` by the site's name.

    Raises:
        InputError: naming two sites that train for something else.
    """
    (first, said), *others = sites.items()
    whole = TrainedFor(**said)
    for name, other in others:
        if wrong := whole.differences(other):
            mine, theirs = ({key: one.get(key) for key in wrong} for one in (said, other))
            raise InputError(f"{name}: expected the same as {first}, {mine}, but got {theirs}")
    data: Iterable[Mapping[str, Any]] = (one for site in sites.values() for one in site.get("data") or [])
    return TrainedFor(**{**said, "data": _summed(data)})


def _summed(data: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Join data sets of one name, kind and licence, as the parts of one that several sites have are, adding counts."""
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    for one in data:
        counts = {key: one[key] for key in ("patients", "scans") if key in one}
        same = found.setdefault(
            tuple(one.get(key) for key in ("name", "kind", "licence")), dict(one) | dict.fromkeys(counts, 0)
        )
        same |= {key: same.get(key, 0) + value for key, value in counts.items()}
    return list(found.values())


def _write(weights: Mapping[str, torch.Tensor], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with writing(path), atomic_path(path) as partial:
        write_torch(weights, partial)
