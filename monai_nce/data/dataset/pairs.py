"""Pair the volumes that an evaluation compares or a regression learns from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from monai_nce.errors import InputError

__all__ = ["evaluation_pairs", "regression_pairs"]


def evaluation_pairs(
    items: Sequence[Mapping[str, Any]], image: str = "source", label: str = "target"
) -> list[dict[str, Any]]:
    """Pair items as ``image`` and ``label``, with the aligned source in place of the acquired one where it exists.

    Args:
        items: as ``read_datalist`` gives them.
        image: role that the network is given.
        label: role that its output is compared with.

    Returns:
        One dictionary per patient that has both roles: ``patient``, ``image``, ``label``, whether they are
        ``aligned``, and ``organs`` where there is a label map.
    """
    pairs = []
    for item in items:
        paths = dict(item)
        aligned = "aligned_source" in paths
        if aligned:
            paths["source"] = paths["aligned_source"]
        if image in paths and label in paths:
            pair = {"patient": paths["patient"], "image": paths[image], "label": paths[label], "aligned": aligned}
            if "labels" in paths:
                pair["organs"] = paths["labels"]
            pairs.append(pair)
    return pairs


def regression_pairs(items: Sequence[Mapping[str, Any]], source: str = "source") -> list[Mapping[str, Any]]:
    """List the items that a network can learn from pixel by pixel, without stage 1.

    Args:
        items: as ``read_datalist`` gives them.
        source: role that the network is given: ``source``, the image as acquired, or ``aligned_source`` for the oracle.

    Returns:
        The items that have it and a target.

    Raises:
        InputError: if there are none.
    """
    pairs = [item for item in items if source in item and "target" in item]
    if not pairs:
        raise InputError(f"no training patient of the data set has both {source} and target, which regression needs")
    return pairs
