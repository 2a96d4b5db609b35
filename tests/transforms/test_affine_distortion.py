from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.data import MetaTensor

from monai_nce.transforms import AffineDistortion, affine_distortion, distortion_matrix

K = st.floats(0, 0.2)


def random_volume(shape: tuple[int, ...] = (1, 18, 16, 12)) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(0)) * 2 - 1


def blob(shape: tuple[int, int, int], centre: tuple[float, ...], width: float) -> np.ndarray:
    index = np.meshgrid(*map(np.arange, shape), indexing="ij")
    return np.exp(-sum(((i - c) / width) ** 2 for i, c in zip(index, centre, strict=True)))


def centroid(volume: torch.Tensor) -> np.ndarray:
    weight = volume[0].double().numpy()
    index = np.stack(np.meshgrid(*map(np.arange, weight.shape), indexing="ij"))
    return (index * weight).sum((1, 2, 3)) / weight.sum()


def resampled_by_itk(
    volume: torch.Tensor, matrix: np.ndarray, fill: float, interpolator: int = sitk.sitkLinear
) -> tuple[np.ndarray, np.ndarray]:
    """The same by ITK, and where ITK's sample points lie well inside the volume.

    An image whose pixels are 2 / N apart and begin at -1 + 1 / N has its faces at -1 and 1: ITK's physical points are
    the normalised coordinates. ITK's transform takes points of the output to points of the input.
    """
    array = volume[0].double().numpy()
    image = sitk.GetImageFromArray(array.transpose(2, 1, 0))  # ITK's arrays are (z, y, x)
    image.SetSpacing([2 / n for n in array.shape])
    image.SetOrigin([-1 + 1 / n for n in array.shape])
    transform = sitk.AffineTransform(3)
    transform.SetMatrix(matrix[:3, :3].flatten().tolist())
    transform.SetTranslation(matrix[:3, 3].tolist())
    moved = sitk.GetArrayFromImage(sitk.Resample(image, image, transform, interpolator, fill)).transpose(2, 1, 0)
    inside = np.zeros(array.shape, dtype=bool)
    for index in np.ndindex(array.shape):
        point = transform.TransformPoint([(2 * i + 1) / n - 1 for i, n in zip(index, array.shape, strict=True)])
        inside[index] = all(abs(p) < 1 - 1.01 / n for p, n in zip(point, array.shape, strict=True))
    return moved, inside


def with_matrix(monkeypatch: pytest.MonkeyPatch, matrix: np.ndarray) -> AffineDistortion:
    monkeypatch.setattr(affine_distortion, "distortion_matrix", lambda *_: matrix)
    return AffineDistortion(0.1)


def test_matrix_of_k_0_is_the_identity():
    np.testing.assert_array_equal(distortion_matrix(0.0, "IXI002"), np.eye(4))


@settings(deadline=None)
@given(K, st.text(), st.integers(0, 2**31))
def test_matrix_is_i_plus_k_u(k, subject, seed):
    matrix = distortion_matrix(k, subject, seed)
    assert matrix.shape == (4, 4) and matrix.dtype == np.float64
    np.testing.assert_array_equal(matrix[3], [0, 0, 0, 1])
    assert (np.abs(matrix - np.eye(4)) <= k + 1e-12).all()
    np.testing.assert_array_equal(matrix, distortion_matrix(k, subject, seed))
    # one U whatever k is
    u = (distortion_matrix(1.0, subject, seed) - np.eye(4))[:3]
    np.testing.assert_allclose(matrix[:3], np.eye(4)[:3] + k * u, atol=1e-12)


def test_u_is_uniform_between_minus_one_and_one():
    u = np.stack([distortion_matrix(1.0, f"IXI{i:03}")[:3] - np.eye(4)[:3] for i in range(1000)])
    assert u.min() < -0.99 and u.max() > 0.99 and np.abs(u).max() <= 1
    # of each of the 12 elements: mean 0, variance 1/3, both within five standard errors
    assert np.abs(u.mean(0)).max() < 5 * np.sqrt(1 / 3 / 1000)
    assert np.abs(u.var(0) - 1 / 3).max() < 5 * np.sqrt((1 / 5 - 1 / 9) / 1000)


def test_each_subject_and_each_seed_has_its_own_matrix_in_any_order():
    subjects = ["IXI002", "IXI012", "IXI013"]
    forwards = {s: distortion_matrix(0.05, s) for s in subjects}
    np.random.seed(7)  # nobody's global state matters
    backwards = {s: distortion_matrix(0.05, s) for s in reversed(subjects)}
    for s in subjects:
        np.testing.assert_array_equal(forwards[s], backwards[s])
    assert len({m.tobytes() for m in forwards.values()}) == 3
    assert not np.array_equal(forwards["IXI002"], distortion_matrix(0.05, "IXI002", seed=1))


def test_the_matrix_of_a_subject_is_the_same_in_every_release():
    """Data sets were made with it."""
    expected = [
        [0.987617, -0.027636, -0.013950, -0.030158],
        [-0.035691, 1.003240, 0.000095, -0.015747],
        [0.047187, -0.014887, 1.011537, -0.044363],
        [0.0, 0.0, 0.0, 1.0],
    ]
    np.testing.assert_allclose(distortion_matrix(0.05, "IXI002", seed=0), expected, atol=1e-6)


@pytest.mark.parametrize("fill", [0.0, -1.0])
def test_k_0_leaves_the_volume_as_it_is(fill):
    volume = random_volume()
    transform = AffineDistortion(0.0, fill=fill)
    for out in (transform(volume, "a"),):
        torch.testing.assert_close(out, volume, atol=1e-5, rtol=0)


@pytest.mark.parametrize("shape", [(1, 16, 16, 16), (1, 18, 14, 10)])
@pytest.mark.parametrize("fill", [0.0, -1.0])
def test_against_itk(monkeypatch, shape, fill):
    matrix = np.array([[1.08, -0.05, 0.04, 0.06], [0.03, 0.93, 0.09, -0.1], [-0.02, 0.07, 1.05, 0.15], [0, 0, 0, 1]])
    volume = random_volume(shape)
    expected, inside = resampled_by_itk(volume, matrix, fill)
    out = with_matrix(monkeypatch, matrix)
    out.fill = fill
    assert inside.mean() > 0.4
    np.testing.assert_allclose(out(volume, "a")[0].numpy()[inside], expected[inside], atol=1e-3)


def test_interpolation_is_linear_and_not_nearest_or_cubic():
    volume = random_volume()
    out = AffineDistortion(0.05, seed=3)(volume, "IXI012")[0].numpy()
    away = {}
    for name, interpolator in (
        ("nearest", sitk.sitkNearestNeighbor),
        ("linear", sitk.sitkLinear),
        ("cubic", sitk.sitkBSpline),
    ):
        expected, inside = resampled_by_itk(volume, distortion_matrix(0.05, "IXI012", 3), 0.0, interpolator)
        away[name] = float(np.sqrt(np.mean((out - expected)[inside] ** 2)))
    assert away["linear"] < 1e-4
    assert away["nearest"] > 0.1 and away["cubic"] > 0.1


@pytest.mark.parametrize("k", [0.01, 0.02, 0.05])
def test_the_papers_distortions_against_itk(k):
    volume = random_volume()
    out = AffineDistortion(k, seed=3)(volume, "IXI012")
    expected, inside = resampled_by_itk(volume, distortion_matrix(k, "IXI012", 3), 0.0)
    assert inside.mean() > 0.4
    np.testing.assert_allclose(out[0].numpy()[inside], expected[inside], atol=1e-3)
    assert (out - volume)[0].abs().numpy()[inside].max() > 0.01


@pytest.mark.parametrize(("axis", "size"), [(0, 16), (1, 12), (2, 8)])
def test_direction_and_unit_of_a_shift(monkeypatch, axis, size):
    """2 / N is one voxel: the output at i is the input at i + 1, and beyond the last there is ``fill``."""
    matrix = np.eye(4)
    matrix[axis, 3] = 2 / size
    volume = random_volume((1, 16, 12, 8))
    transform = with_matrix(monkeypatch, matrix)
    transform.fill = -5.0
    out = transform(volume, "a").movedim(1 + axis, 0)
    torch.testing.assert_close(out[:-1], volume.movedim(1 + axis, 0)[1:], atol=1e-4, rtol=0)
    torch.testing.assert_close(out[-1], torch.full_like(out[-1], -5.0), atol=1e-4, rtol=0)


def test_scaling_is_about_the_centre(monkeypatch):
    matrix = np.diag([0.5, 0.5, 0.5, 1.0])
    volume = torch.tensor(blob((24, 20, 16), (11.5, 9.5, 7.5), 2.0)[None]).float()
    out = with_matrix(monkeypatch, matrix)(volume, "a")
    # the output shows the middle half of the input: twice as large, in the same place
    np.testing.assert_allclose(centroid(out), (11.5, 9.5, 7.5), atol=1e-3)
    assert out.sum() / volume.sum() == pytest.approx(8, rel=0.02)


def test_channels_move_together():
    volume = random_volume((3, 10, 9, 8))
    out = AffineDistortion(0.05)(volume, "a")
    for channel in range(3):
        torch.testing.assert_close(out[channel], AffineDistortion(0.05)(volume[channel : channel + 1], "a")[0])


@settings(deadline=None, max_examples=25)
@given(K, st.floats(-1, 1), st.text(max_size=5))
def test_values_stay_between_those_of_the_volume_and_the_fill(k, fill, subject):
    volume = random_volume((1, 6, 5, 4))
    out = AffineDistortion(k, fill=fill)(volume, subject)
    assert out.shape == volume.shape
    assert out.min() >= min(volume.min(), fill) - 1e-5 and out.max() <= max(volume.max(), fill) + 1e-5


def test_a_constant_volume_of_the_fill_stays_constant():
    out = AffineDistortion(0.2, fill=-1.0)(torch.full((1, 6, 5, 4), -1.0), "a")
    assert torch.equal(out, torch.full((1, 6, 5, 4), -1.0))


@pytest.mark.parametrize("dtype", [np.int16, np.float64])
def test_other_arrays(dtype):
    array = (random_volume().numpy() * 100).astype(dtype)
    before = array.copy()
    out = AffineDistortion(0.05)(array, "a")
    assert type(out) is torch.Tensor and out.dtype == torch.float32
    torch.testing.assert_close(out, AffineDistortion(0.05)(torch.tensor(array).float(), "a"))
    np.testing.assert_array_equal(array, before)


def test_a_metatensor_keeps_its_geometry_and_the_given_one_its_values():
    affine = torch.diag(torch.tensor([0.9, 0.9, 1.25, 1.0], dtype=torch.float64))
    volume = MetaTensor(random_volume(), affine=affine)
    transform = AffineDistortion(0.05)
    there = transform(volume, "a")
    for out in (there,):
        assert isinstance(out, MetaTensor)
        assert torch.equal(out.affine, affine)
    assert torch.equal(volume.as_tensor(), random_volume())
    torch.testing.assert_close(there.as_tensor(), transform(random_volume(), "a"))


@pytest.mark.parametrize("k", [-0.01, float("nan")])
def test_a_negative_k(k):
    for make in (
        lambda: distortion_matrix(k, "a"),
        lambda: AffineDistortion(k),
    ):
        with pytest.raises(ValueError, match=f"at least 0 but got {k}"):
            make()


@pytest.mark.parametrize("shape", [(6, 5, 4), (1, 1, 6, 5, 4)])
def test_a_wrong_shape(shape):
    with pytest.raises(ValueError, match=r"\(C, H, W, D\) but got \(" + ", ".join(map(str, shape))):
        AffineDistortion(0.05)(torch.zeros(shape), "a")
