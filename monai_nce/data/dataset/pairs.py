"""Pair the volumes that an evaluation compares or a regression learns from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from monai_nce.errors import InputError

__all__ = ["evaluation_pairs", "regression_pairs"]


def evaluation_pairs(
    items: Sequence[Mapping[str, Any]],
    image: str = "source",
    label: str = "target",
    condition: Callable[[Mapping[str, Any]], Any] | None = None,
) -> list[dict[str, Any]]:
    """Pair items of ``read_datalist`` as ``image`` and ``label``, with the aligned source where there is one.

    Args:
        items: as ``read_datalist`` gives them.
        image: role that the network is given.
        label: role that its output is compared with.
        condition: what the network is to be told of an item, such as a :class:`~monai_nce.contrast.ContrastCondition`.

    Returns:
        One dictionary per patient with both roles: ``patient``, ``image``, ``label``, ``aligned``, ``organs`` where
        there is a label map, and ``condition`` if one is given.
    """
    pairs = []
    for item in items:
        aligned = "aligned_source" in item
        paths = {**item, "source": item["aligned_source"]} if aligned else item
        if image in paths and label in paths:
            pair = {"patient": paths["patient"], "image": paths[image], "label": paths[label], "aligned": aligned}
            if "labels" in paths:
                pair["organs"] = paths["labels"]
            if condition is not None:
                pair["condition"] = condition(item)
            pairs.append(pair)
    return pairs


def regression_pairs(items: Sequence[Mapping[str, Any]], *roles: str) -> list[Mapping[str, Any]]:
    """List the items with a target and a ``source``, or ``aligned_source`` for the oracle, to learn pixel by pixel.

    Args:
        items: as ``read_datalist`` or ``mixed_items`` give them.
        roles: what an item needs besides the target; ``source`` if none are given.

    Raises:
        InputError: if there are none, or none of a data set of a mixture.
    """
    roles = roles or ("source",)
    pairs = [item for item in items if {*roles, "target"} <= item.keys()]
    having = {item.get("data_set", "the data set") for item in pairs}
    for name in {item.get("data_set", "the data set"): None for item in items} or ["the data set"]:
        if name not in having:
            needed = f"both {roles[0]}" if len(roles) == 1 else ", ".join(roles)
            raise InputError(f"no training patient of {name} has {needed} and target, which regression needs")
    return pairs
