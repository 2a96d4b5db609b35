"""Tests of drawing lesions."""

from __future__ import annotations

import numpy as np
import pytest

from monai_nce.virtual.lesions import KINDS, Lesion, sample_lesions
from monai_nce.virtual.structures import STRUCTURES
from monai_nce.virtual.tissue import TISSUES


def test_kinds_are_tissues_in_known_structures() -> None:
    assert set(KINDS) <= set(TISSUES)
    assert {organ for kind in KINDS.values() for organ in kind.organs} <= set(STRUCTURES)


def test_lesions_lie_in_the_organs_of_their_kind() -> None:
    structures = np.zeros((40, 40, 40), np.uint8)
    structures[:20], structures[20:] = STRUCTURES["liver"], STRUCTURES["kidney_left"]
    seen = set()
    for seed in range(60):
        for lesion in sample_lesions(structures, 1.5, np.random.default_rng(seed)):
            seen.add(lesion.tissue)
            value = structures[tuple(lesion.center.astype(int))]
            assert value in [STRUCTURES[organ] for organ in KINDS[lesion.tissue].organs]
            low, high = KINDS[lesion.tissue].radius
            assert (lesion.radii * 1.5 > low * 0.7).all()
            assert (lesion.radii * 1.5 < high * 1.35).all()
    assert seen == {"liver_metastasis", "hepatocellular_carcinoma", "haemangioma", "cyst", "renal_cell_carcinoma"}


def test_level_is_one_at_the_radius() -> None:
    lesion = Lesion("cyst", np.array([20.0, 20.0, 20.0]), np.array([10.0, 5.0, 5.0]), 0.0)
    box, level = lesion.level((41, 41, 41), np.zeros((41, 41, 41), np.float32))
    whole = np.full((41, 41, 41), np.inf)
    whole[box] = level
    assert whole[30, 20, 20] == pytest.approx(1)
    assert whole[20, 25, 20] == pytest.approx(1)
    assert whole[20, 20, 20] == 0
    assert whole[20, 20, 24] == pytest.approx(0.8)
    assert (whole < 1).sum() == pytest.approx(4 / 3 * np.pi * 10 * 5 * 5, rel=0.1)


def test_a_lesion_at_the_edge_of_the_grid() -> None:
    lesion = Lesion("cyst", np.array([0.0, 0.0, 0.0]), np.array([4.0, 4.0, 4.0]), 0.0)
    box, level = lesion.level((10, 10, 10), np.zeros((10, 10, 10), np.float32))
    assert level.shape == tuple(s.stop - s.start for s in box)
    assert level[0, 0, 0] == 0
