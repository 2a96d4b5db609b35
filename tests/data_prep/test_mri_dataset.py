from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from nibabel.affines import voxel_sizes
from scipy import ndimage

from data_prep.mri_dataset import (
    AcquiredPair,
    MRISettings,
    add_subjects,
    central_slices,
    resize_in_plane,
)
from monai_nce.data.dataset.datalist import read_datalist
from monai_nce.data.dataset.pairs import evaluation_pairs
from monai_nce.data.dataset.writer import DatasetWriter
from monai_nce.errors import InputError
from monai_nce.transforms import distortion_matrix

SPLITS = {"training": ["IXI002", "IXI012"], "validation": ["IXI013"], "test": ["IXI014", "IXI015"]}
SIZE, SLICES = 32, 12


def pair(subject: str) -> AcquiredPair:
    """Smooth blobs, the subject's own. PD is four times T2, exactly so in binary: prepared they are equal."""
    seed = int(subject[3:])
    noise = np.random.default_rng(seed).uniform(0, 1, (40, 40, 16))
    t2 = ndimage.gaussian_filter(noise, (4, 4, 2))
    return AcquiredPair(100 * t2, 400 * t2, np.diag([1.5, 1.5, 2.0, 1.0]))


def make(folder: Path, distortion: float, seed: int = 3) -> tuple[dict[str, dict[str, str]], list[dict[str, Any]]]:
    settings = MRISettings(SIZE, SLICES, distortion, seed)
    with DatasetWriter(folder, name="n", description="d", licence="l") as dataset:
        rows = add_subjects(dataset, SPLITS, pair, settings, name="test", progress=False)
    return {item["patient"]: item for item in read_datalist(folder)}, rows


def voxels(path: str) -> np.ndarray:
    return np.asarray(nib.load(path).dataobj).astype(np.float64)


def test_the_matrix_reported_is_the_one_applied(tmp_path: Path) -> None:
    still, rows = make(tmp_path / "0", 0.0)
    assert all(row["distortion_matrix"] is None for row in rows)
    moved, rows = make(tmp_path / "5", 0.05)
    matrices = {row["subject"]: row["distortion_matrix"] for row in rows}
    for subject in SPLITS["training"]:
        matrix = np.array(matrices[subject])
        np.testing.assert_array_equal(matrix, distortion_matrix(0.05, subject, seed=3))
        shape = np.array([SIZE, SIZE, SLICES])
        # from -1..1 at the outer faces to voxels
        to_unit = np.diag([*(2 / shape), 1.0])
        to_unit[:3, 3] = 1 / shape - 1
        index = np.linalg.inv(to_unit) @ matrix @ to_unit
        target = voxels(still[subject]["target"])
        expected = ndimage.affine_transform(target, index[:3, :3], index[:3, 3], order=1)
        inside = ndimage.affine_transform(np.ones_like(target), index[:3, :3], index[:3, 3], order=1) > 0.999
        assert inside.mean() > 0.5
        found = voxels(moved[subject]["target"])
        assert abs(found - expected)[inside].max() <= 1.01  # both were rounded
        assert abs(found - target)[inside].max() > 5


def test_only_the_target_of_training_is_distorted(tmp_path: Path) -> None:
    still, moved = make(tmp_path / "0", 0.0)[0], make(tmp_path / "5", 0.05)[0]
    for subject, item in still.items():
        for role in ("source", "target"):
            same = Path(item[role]).read_bytes() == Path(moved[subject][role]).read_bytes()
            assert same == (role == "source" or subject not in SPLITS["training"])


def test_the_aligned_source_is_aligned(tmp_path: Path) -> None:
    moved = make(tmp_path / "5", 0.05)[0]
    for subject, item in moved.items():
        # PD is a multiple of T2 here, so aligned they are equal
        np.testing.assert_array_equal(voxels(item["aligned_source"]), voxels(item["target"]))
        assert (item["aligned_source"] == item["source"]) == (subject not in SPLITS["training"])
        if subject in SPLITS["training"]:
            assert abs(voxels(item["source"]) - voxels(item["target"])).max() > 5
    assert all(pair["aligned"] for pair in evaluation_pairs(list(moved.values())))
    assert all(item["aligned_source"] == item["source"] for item in make(tmp_path / "0", 0.0)[0].values())


def test_intensity_and_geometry_are_reported(tmp_path: Path) -> None:
    items, rows = make(tmp_path, 0.0)
    assert [row["subject"] for row in rows] == sorted(items)
    for row in rows:
        acquired = pair(row["subject"])
        assert row["split"] == items[row["subject"]]["split"]
        assert row["full_scale"]["t2"] == pytest.approx(np.percentile(acquired.source, 99.5))
        assert row["full_scale"]["pd"] == pytest.approx(np.percentile(acquired.target, 99.5))
        assert row["acquired_shape"] == [40, 40, 16] and row["acquired_spacing_mm"] == [1.5, 1.5, 2.0]
        image = nib.load(items[row["subject"]]["source"])
        assert image.shape == (SIZE, SIZE, SLICES)
        np.testing.assert_allclose(np.diag(image.affine), [1.875, 1.875, 2, 1])
        np.testing.assert_allclose(image.affine[:3, 3], [0.1875, 0.1875, 4])
        assert 900 < voxels(items[row["subject"]]["source"]).max() <= 1000


def test_a_subject_is_distorted_alike_in_any_company(tmp_path: Path) -> None:
    settings = MRISettings(SIZE, SLICES, 0.05, 3)
    both = make(tmp_path / "both", 0.05)[0]
    with DatasetWriter(tmp_path / "alone", name="n", description="d", licence="l") as dataset:
        alone = {"training": ["IXI012"], "validation": [], "test": []}
        add_subjects(dataset, alone, pair, settings, name="test", progress=False)
    (item,) = read_datalist(tmp_path / "alone")
    assert Path(item["target"]).read_bytes() == Path(both["IXI012"]["target"]).read_bytes()


@pytest.mark.parametrize("distortion", [-0.01, float("nan"), float("inf")])
def test_a_distortion_that_cannot_be_is_refused(distortion: float) -> None:
    with pytest.raises(InputError, match="distortion: expected 0 or more but got"):
        MRISettings(distortion=distortion)


def test_an_empty_scan_is_named(tmp_path: Path) -> None:
    def empty(subject: str) -> AcquiredPair:
        found = pair(subject)
        return AcquiredPair(found.source, found.target * (subject != "IXI013"), found.affine)

    with (
        pytest.raises(InputError, match="PD of IXI013: its 99.5th percentile is 0"),
        DatasetWriter(tmp_path / "x", name="n", description="d", licence="l") as dataset,
    ):
        add_subjects(dataset, SPLITS, empty, MRISettings(SIZE, SLICES), name="test", progress=False)
    assert list(tmp_path.iterdir()) == []


# a little oblique, so that no term of the affine can be forgotten
OBLIQUE = np.array([[0.9, 0.1, 0.2, -30], [-0.1, 0.9, 0.1, 50], [-0.1, -0.1, 2.4, -7], [0, 0, 0, 1.0]])


def world(shape: tuple[int, ...], affine: np.ndarray) -> np.ndarray:
    return np.moveaxis(np.indices(shape), 0, -1) @ affine[:3, :3].T + affine[:3, 3]


def linear(shape: tuple[int, ...], affine: np.ndarray) -> np.ndarray:
    return world(shape, affine) @ [2.0, -3.0, 5.0] + 1000


@pytest.mark.parametrize(("slices", "kept"), [(4, [3, 4, 5, 6]), (3, [3, 4, 5]), (10, list(range(10))), (1, [4])])
def test_the_slices_in_the_middle(slices: int, kept: list[int]) -> None:
    volume = linear((3, 2, 10), OBLIQUE)
    central, affine = central_slices(volume, OBLIQUE, slices)
    np.testing.assert_array_equal(central, volume[:, :, kept])
    np.testing.assert_allclose(linear(central.shape, affine), central)


@pytest.mark.parametrize("size", [10, 20, 27, 40])
def test_every_value_stays_at_its_place(size: int) -> None:
    """A linear function of the position is what bilinear interpolation keeps, if the new affine is right."""
    resized, affine = resize_in_plane(linear((20, 20, 3), OBLIQUE), OBLIQUE, size)
    assert resized.shape == (size, size, 3)
    edge = 1 + size // 20
    inner = (slice(edge, -edge), slice(edge, -edge))
    np.testing.assert_allclose(resized[inner], linear(resized.shape, affine)[inner], rtol=1e-5)
    np.testing.assert_allclose(voxel_sizes(affine)[:2], voxel_sizes(OBLIQUE)[:2] * 20 / size)
    np.testing.assert_allclose(affine[:3, 2], OBLIQUE[:3, 2])


@pytest.mark.parametrize(("shape", "spacing"), [((20, 26), (1, 1)), ((27, 20), (1, 1)), ((20, 20), (1.0, 1.5))])
def test_slices_that_are_not_square_are_padded_about_their_centre(shape: tuple, spacing: tuple) -> None:
    straight = np.diag([*spacing, 3.0, 1.0])
    straight[:3, 3] = 5, 6, 7
    resized, affine = resize_in_plane(linear((*shape, 2), straight), straight, 60)
    np.testing.assert_allclose(voxel_sizes(affine)[0], voxel_sizes(affine)[1], rtol=1e-6)
    middle = np.array([(shape[0] - 1) / 2, (shape[1] - 1) / 2, 0, 1])
    odd = np.array([spacing[0], spacing[1], 0]) / 2  # an odd number of pixels cannot be shared
    assert (abs((affine @ [29.5, 29.5, 0, 1] - straight @ middle)[:3]) <= odd + 1e-9).all()
    # the corners of the padding are empty, and what was there is where it was
    wide = np.argmax(np.array(shape) * spacing)
    assert not np.take(resized, (0, 59), axis=1 - wide).any()
    inside = (world(resized.shape, affine)[..., :2] > [5 + 2 * spacing[0], 6 + 2 * spacing[1]]).all(-1)
    last = [5 + (shape[0] - 3) * spacing[0], 6 + (shape[1] - 3) * spacing[1]]
    inside &= (world(resized.shape, affine)[..., :2] < last).all(-1)
    np.testing.assert_allclose(resized[inside], linear(resized.shape, affine)[inside], rtol=1e-5)
    assert inside.mean() > 0.3


def test_reducing_does_not_alias() -> None:
    stripes = np.zeros((60, 60, 1))
    stripes[::2] = 100
    resized, _ = resize_in_plane(stripes, np.eye(4), 23)
    assert abs(resized[2:-2] - 50).max() < 5
