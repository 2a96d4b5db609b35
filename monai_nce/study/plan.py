"""Plan who grades which image when: an order of its own for each reader, with some images twice."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from typing import NamedTuple

__all__ = ["Reading", "plan_readings"]

TRIES = 500  # orders that are drawn, of which the one with the fewest neighbours of one case is taken


class Reading(NamedTuple):
    """Hold one place in a reader's order: which image, and whether the reader has graded it before."""

    image: int
    repeat: bool


def plan_readings(cases: Sequence[str], reader: int, seed: int = 0, repeats: float = 0.0) -> list[Reading]:
    """Draw the order in which a reader grades images.

    A repeat comes at least half a round behind the first time. Two images of one case follow each other only where
    that cannot be helped.

    Args:
        cases: the case of each image.
        reader: number of the reader, from 1; each has another order.
        seed: of the study; the same seed gives the same orders.
        repeats: share of the images that come twice, from 0 to 0.5, rounded to a whole number of images.

    Raises:
        ValueError: for another share.
    """
    if not 0 <= repeats <= 0.5:
        raise ValueError(f"repeats: expected a share from 0 to 0.5 but got {repeats}")
    rng = random.Random(f"{seed}/{reader}")
    drawn = (_draw(len(cases), math.floor(repeats * len(cases) + 0.5), rng) for _ in range(TRIES))
    best: tuple[int, list[Reading]] | None = None
    for order in drawn:
        met = sum(cases[one.image] == cases[next_.image] for one, next_ in zip(order, order[1:], strict=False))
        if best is None or met < best[0]:
            best = met, order
        if not met:
            break
    assert best is not None
    return best[1]


def _draw(count: int, twice: int, rng: random.Random) -> list[Reading]:
    order = rng.sample(range(count), count)
    half = count // 2
    twice = min(twice, half)
    # a key of a repeat lies half a round or more behind that of the first time, and anywhere after it
    placed = [(float(place), Reading(image, False)) for place, image in enumerate(order)]
    for place in rng.sample(range(half), twice):
        placed.append((rng.uniform(place + half, count), Reading(order[place], True)))
    return [reading for _, reading in sorted(placed)]
