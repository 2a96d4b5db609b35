"""Which volumes an evaluation compares."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["evaluation_pairs"]


def evaluation_pairs(
    items: Sequence[Mapping[str, Any]], image: str = "source", label: str = "target"
) -> list[dict[str, Any]]:
    """Items as ``image`` and ``label``, with the aligned source in place of the acquired one where it exists.

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
