"""The phantom: reproducible, anatomically in order, and with the physics that training on it relies on."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from scipy import ndimage

from monai_nce.phantom.anatomy import Anatomy
from monai_nce.phantom.patient import LABELS, Motion, PhantomPatient, make_phantom_patient
from monai_nce.phantom.tissue import ORGAN_UPTAKE_SD, TISSUES, UPTAKE_RANGE

PATIENTS = range(4)
VOLUMES = ("cect", "nect", "nect_aligned", "labels")
SOLID = ("muscle", "liver", "spleen", "kidney_cortex", "pancreas", "subcutaneous_fat", "visceral_fat")


@cache
def patient(index: int) -> PhantomPatient:
    return make_phantom_patient(index, seed=1)


@cache
def anatomies(count: int = 40) -> tuple[Anatomy, ...]:
    return tuple(Anatomy(np.random.default_rng([5, index])) for index in range(count))


def core(made: PhantomPatient, label: str) -> np.ndarray:
    """Voxels of a label away from its border in plane, where no other tissue has a part."""
    return ndimage.binary_erosion(made.labels == LABELS[label], np.ones((3, 3, 1)))


def centroid(made: PhantomPatient, label: str) -> np.ndarray:
    index = np.argwhere(made.labels == LABELS[label]).mean(0)
    return made.affine[:3, :3] @ index + made.affine[:3, 3]


def test_same_seed_gives_same_patient_and_another_does_not():
    first = make_phantom_patient(2, size=48, slices=4, seed=3)
    make_phantom_patient(0, size=48, slices=4, seed=3)  # what is made in between does not matter
    again = make_phantom_patient(2, size=48, slices=4, seed=3)
    for name in VOLUMES:
        np.testing.assert_array_equal(getattr(first, name), getattr(again, name))
    for other in (make_phantom_patient(2, 48, 4, seed=4), make_phantom_patient(1, 48, 4, seed=3)):
        assert np.mean(first.labels != other.labels) > 0.05


@pytest.mark.parametrize(
    ("size", "slices", "spacing"), [(128, 32, 5.0), (64, 8, 5.0), (64, 4, 5.0), (32, 1, 5.0), (40, 64, 2.5)]
)
def test_shapes_and_affine(size: int, slices: int, spacing: float):
    made = make_phantom_patient(7, size, slices)
    assert made.patient == "phantom_007"
    for name, dtype in zip(VOLUMES, (np.int16, np.int16, np.int16, np.uint8), strict=True):
        assert getattr(made, name).shape == (size, size, slices)
        assert getattr(made, name).dtype == dtype
    assert made.affine.dtype == np.float64
    pixel = 1024 / 3 / size
    np.testing.assert_allclose(np.diag(made.affine), [pixel, pixel, spacing, 1])
    center = made.affine @ [(size - 1) / 2, (size - 1) / 2, (slices - 1) / 2, 1]
    np.testing.assert_allclose(center, [0, 0, 0, 1], atol=1e-9)


def test_grid_does_not_change_the_patient():
    coarse, fine = make_phantom_patient(1, 64, 8), make_phantom_patient(1, 128, 8)
    for label in ("liver", "muscle", "vertebra"):
        volumes = [np.count_nonzero(made.labels == LABELS[label]) / made.labels.size for made in (coarse, fine)]
        assert volumes[0] == pytest.approx(volumes[1], rel=0.1)


def test_every_label_occurs():
    """Over a few patients: not everyone has lesions."""
    seen = set().union(*(np.unique(patient(index).labels).tolist() for index in PATIENTS))
    assert seen == set(LABELS.values())


@pytest.mark.parametrize("index", PATIENTS)
def test_organs_lie_where_they_belong(index: int):
    """RAS+: x grows to the right, y to anterior, z to superior."""
    at = {label: centroid(patient(index), label) for label in LABELS if "lesion" not in label}
    assert at["liver"][0] > 20 > -20 > at["spleen"][0]
    assert at["ivc"][0] > at["aorta"][0]
    assert at["vertebra"][1] < at["aorta"][1] - 10
    assert at["spinal_canal"][1] < at["vertebra"][1]
    assert at["pancreas"][1] > at["kidney_cortex"][1]
    assert at["liver"][2] > at["kidney_cortex"][2]
    assert np.all(patient(index).labels[:, [0, -1]] == LABELS["background"])


@pytest.mark.parametrize("index", PATIENTS)
@pytest.mark.parametrize("tissue", SOLID)
def test_hu_without_contrast(index: int, tissue: str):
    """Twice the spread between patients, plus 6 HU for borders across slices and texture."""
    made, kind = patient(index), TISSUES[tissue]
    hu = made.nect_aligned[core(made, tissue)].mean()
    assert abs(hu - kind.nect) < 2 * kind.spread + 6


@pytest.mark.parametrize("index", PATIENTS)
def test_enhancement(index: int):
    made = patient(index)
    rise = made.cect.astype(float) - made.nect_aligned
    uptake = Anatomy(np.random.default_rng(np.random.SeedSequence([1, index]).spawn(3)[0])).values.uptake
    assert rise[core(made, "aorta")].mean() > 60 * uptake
    assert rise[core(made, "kidney_cortex")].mean() > 60 * uptake
    assert rise[core(made, "liver")].mean() == pytest.approx(52 * uptake, rel=0.25)
    for label in ("vertebra", "disc", "bowel_gas", "subcutaneous_fat", "visceral_fat", "background"):
        assert abs(rise[made.labels == LABELS[label]].mean()) < 5
    still = np.isin(made.labels, [LABELS[label] for label in ("background", "disc", "spinal_canal")])
    assert rise[still].std() < 15  # two scans' noise, nothing else


def test_uptake_differs_between_patients():
    uptake = np.array([anatomy.values.uptake for anatomy in anatomies()])
    assert uptake.min() < 0.75 and uptake.max() > 1.25
    assert uptake.min() >= UPTAKE_RANGE[0] and uptake.max() <= UPTAKE_RANGE[1]
    for anatomy in anatomies():
        factor = anatomy.values.enhancement["liver"] / TISSUES["liver"].enhancement
        assert abs(factor / anatomy.values.uptake - 1) <= 2 * ORGAN_UPTAKE_SD + 1e-9


def test_lesions():
    """None to four, hidden without contrast; some take less and some more than the liver around them."""
    counts = [len(anatomy.lesions) for anatomy in anatomies()]
    assert min(counts) == 0 and max(counts) == 4
    shares = []
    for anatomy in anatomies():
        for lesion in anatomy.lesions:
            assert abs(lesion.contrast) < 10
            if lesion.label == "liver_lesion":
                shares.append(lesion.enhancement / anatomy.values.enhancement["liver"])
    assert min(shares) < 0.5 and max(shares) > 1.4


def test_lesions_are_hidden_in_the_image():
    found = 0
    for index in PATIENTS:
        made = patient(index)
        lesion = core(made, "liver_lesion")
        if lesion.sum() >= 10:
            found += 1
            difference = made.nect_aligned[lesion].mean() - made.nect_aligned[core(made, "liver")].mean()
            assert abs(difference) < 12  # 8 by design, and the mean of few noisy voxels
    assert found


@pytest.mark.parametrize("index", PATIENTS)
def test_acquired_scan_is_displaced(index: int):
    """Edges inside the body, seen without labels, cost more against the acquired scan than against the aligned one."""
    made = patient(index)
    cect = made.cect.astype(float)
    edges = np.hypot(*np.gradient(ndimage.gaussian_filter(cect, (1, 1, 0)), axis=(0, 1))) > 40
    acquired, aligned = (np.abs(cect - nect)[edges].mean() for nect in (made.nect, made.nect_aligned))
    assert acquired > 2 * aligned


def test_breathing_moves_the_liver_along_the_body():
    """The best match of the liver's region, over whole slices, is mostly not at rest."""
    moved = 0
    for index in PATIENTS:
        made = patient(index)
        liver = made.labels == LABELS["liver"]
        window = [np.clip(volume.astype(float), -100, 200) for volume in (made.nect_aligned, made.nect)]
        width, depth, _ = ndimage.find_objects(liver.astype(int))[0]
        still, other = (volume[width, depth] for volume in window)
        error = [np.mean((still[..., 4:28] - other[..., 4 + shift : 28 + shift]) ** 2) for shift in range(-4, 5)]
        moved += int(np.argmin(error) != 4)
    assert moved >= 3


def test_motion_is_mostly_cranio_caudal_and_spares_the_spine():
    points = np.array([[70, 0, 30], [-70, -30, 40], [0, -60, 0]], np.float32)  # liver, spleen, vertebra
    shifts = np.abs([np.stack(Motion(np.random.default_rng(seed))(*points.T)) for seed in range(40)]).mean(0)
    assert np.all(shifts[2, :2] > 5) and np.all(shifts[2, :2] < 15)
    assert np.all(shifts[2, :2] > 2 * shifts[0, :2])
    assert 1 < shifts[1, 0] < 5
    assert np.all(shifts[:, 2] < 2)


@pytest.mark.parametrize(("name", "value", "least"), [("index", -1, 0), ("size", 31, 32), ("slices", 0, 1)])
def test_refuses_impossible_requests(name: str, value: int, least: int):
    with pytest.raises(ValueError, match=f"expected {name} of at least {least} but got {value}"):
        make_phantom_patient(**{"index": 0, "size": 64, "slices": 4, name: value})
