"""Grow vessels inside an organ: the portal and hepatic veins of the liver, the vessels of the lungs.

A tree joins random points of the organ to a root, each to the branch that makes the way to the root short and adds
little length; a branch is as wide as the points behind it ask for: Murray, Proc. Natl. Acad. Sci. 1926 (the cube of a
vessel's radius is the sum of its branches').
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["grow_vessels"]

PATH_WEIGHT = 0.35  # of the way to the root, against the length that a branch adds
STEP = 0.5  # voxels between the points at which a branch is drawn


def grow_vessels(
    organ: NDArray[np.bool_], root: NDArray[np.float64], ends: int, radii: tuple[float, float], rng: np.random.Generator
) -> NDArray[np.bool_]:
    """Draw a tree of vessels.

    Args:
        organ: that it grows in.
        root: where it begins, in voxels.
        ends: how many branches end in the organ.
        radii: of an end and the greatest, in voxels.

    Returns:
        Where vessels are, of the organ's shape and within the organ.
    """
    vessels = np.zeros_like(organ)
    inside = np.argwhere(organ)
    if not len(inside):
        return vessels
    points = inside[rng.integers(len(inside), size=ends)].astype(float)
    points = points[np.argsort(((points - root) ** 2).sum(1))]
    nodes, parents, ways = [np.asarray(root, float)], [-1], [0.0]
    for point in points:
        lengths = np.linalg.norm(np.array(nodes) - point, axis=1)
        best = int(np.argmin(lengths + PATH_WEIGHT * np.array(ways)))
        middle = (nodes[best] + point) / 2 + rng.normal(size=3) * lengths[best] * 0.08
        for place, parent in ((middle, best), (point, len(nodes))):
            nodes.append(place)
            parents.append(parent)
            ways.append(ways[parent] + float(np.linalg.norm(place - nodes[parent])))
    loads = np.zeros(len(nodes))
    for number in range(len(nodes) - 1, 0, -1):
        loads[number] = max(loads[number], 1)
        loads[parents[number]] += loads[number]
    widths = np.minimum(radii[0] * np.cbrt(loads), radii[1])
    for number in range(1, len(nodes)):
        _draw(vessels, nodes[parents[number]], nodes[number], widths[number])
    return vessels & organ


def _draw(vessels: NDArray[np.bool_], start: NDArray[np.float64], end: NDArray[np.float64], radius: float) -> None:
    """Draw a branch as overlapping balls."""
    length = float(np.linalg.norm(end - start))
    reach = int(np.ceil(radius))
    offsets = np.stack(np.meshgrid(*[np.arange(-reach, reach + 1)] * 3, indexing="ij"), -1).reshape(-1, 3)
    steps = np.linspace(0, 1, max(2, int(length / max(STEP * radius, 0.7)) + 1))
    centers = start + steps[:, None] * (end - start)
    places = np.rint(centers).astype(int)[:, None] + offsets
    near = ((places - centers[:, None]) ** 2).sum(2) <= max(radius, 0.6) ** 2
    places = places[near]
    places = places[((places >= 0) & (places < vessels.shape)).all(1)]
    vessels[tuple(places.T)] = True
