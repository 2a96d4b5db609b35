from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.metrics import MultiScaleSSIMMetric
from scipy.signal import convolve2d
from skimage.metrics import mean_squared_error, peak_signal_noise_ratio, structural_similarity
from skimage.transform import downscale_local_mean

from monai_nce.metrics import METRICS, ImageMetrics, ms_ssim_setting

WANG = np.array([0.0448, 0.2856, 0.3001, 0.2363, 0.1333])


def volumes(height: int = 32, width: int = 40, depth: int = 3, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """A smooth random volume and a disturbed copy, in [-1, 1]."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width] / max(height, width)
    target = np.stack([np.sin(9 * y + k) * np.cos(7 * x - k) for k in range(depth)], axis=-1)
    target = 0.8 * target + 0.05 * random.standard_normal(target.shape)
    pred = 0.9 * target + 0.15 * random.standard_normal(target.shape)
    return torch.tensor(pred[None].clip(-1, 1)), torch.tensor(target[None].clip(-1, 1))


def gaussian_window(size: int, sigma: float = 1.5) -> np.ndarray:
    offset = np.arange(size) - (size - 1) / 2
    window = np.exp(-(offset[:, None] ** 2 + offset[None, :] ** 2) / (2 * sigma**2))
    return window / window.sum()


def ms_ssim(x: np.ndarray, y: np.ndarray, window: int, scales: int, data_range: float = 2.0) -> float:
    """Wang et al. 2003: contrast and structure at every scale, luminance at the coarsest."""
    kernel = gaussian_window(window)
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    weights = WANG[:scales] / WANG[:scales].sum()
    result = 1.0
    for scale, weight in enumerate(weights):
        if scale:
            height, width = x.shape[0] // 2 * 2, x.shape[1] // 2 * 2
            x, y = (v[:height, :width].reshape(height // 2, 2, width // 2, 2).mean(axis=(1, 3)) for v in (x, y))
        mean_x, mean_y = (convolve2d(v, kernel, mode="valid") for v in (x, y))
        var_x = convolve2d(x * x, kernel, mode="valid") - mean_x**2
        var_y = convolve2d(y * y, kernel, mode="valid") - mean_y**2
        covariance = convolve2d(x * y, kernel, mode="valid") - mean_x * mean_y
        term = (2 * covariance + c2) / (var_x + var_y + c2)
        if scale == scales - 1:
            term = term * (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
        result *= max(float(term.mean()), 0.0) ** weight
    return result


def test_by_hand() -> None:
    target = torch.zeros(1, 8, 8, 2)
    pred = target.clone()
    pred[0, :, :, 0] = 0.5
    pred[0, :4, :, 1] = -0.2  # half of the slice
    metrics = ImageMetrics(window_width=300)(pred, target)
    assert set(metrics) == set(METRICS)
    assert all(values.shape == (2,) for values in metrics.values())
    np.testing.assert_allclose(metrics["mse"], [0.25, 0.02], rtol=1e-5)
    np.testing.assert_allclose(metrics["mse_01"], [0.0625, 0.005], rtol=1e-5)
    np.testing.assert_allclose(metrics["mse_hu2"], [75.0**2, 30.0**2 / 2], rtol=1e-5)
    np.testing.assert_allclose(metrics["mae_hu"], [75, 15], rtol=1e-5)
    np.testing.assert_allclose(metrics["psnr"], [10 * math.log10(4 / 0.25), 10 * math.log10(4 / 0.02)], rtol=1e-5)


@pytest.mark.parametrize("width", [300.0, 400.0])
def test_scales_are_those_of_the_window(width: float) -> None:
    pred, target = volumes()
    metrics = ImageMetrics(window_width=width)(pred, target)
    pred_hu, target_hu = (50 + width / 2 * v.numpy()[0] for v in (pred, target))
    pred_01, target_01 = ((v.numpy()[0] + 1) / 2 for v in (pred, target))
    np.testing.assert_allclose(metrics["mse_hu2"], ((pred_hu - target_hu) ** 2).mean(axis=(0, 1)), rtol=1e-4)
    np.testing.assert_allclose(metrics["mae_hu"], np.abs(pred_hu - target_hu).mean(axis=(0, 1)), rtol=1e-4)
    np.testing.assert_allclose(metrics["mse_01"], ((pred_01 - target_01) ** 2).mean(axis=(0, 1)), rtol=1e-4)


def test_agrees_with_scikit_image() -> None:
    pred, target = volumes()
    metrics = ImageMetrics()(pred, target)
    for k in range(3):
        p, t = pred[0, ..., k].numpy(), target[0, ..., k].numpy()
        assert float(metrics["mse"][k]) == pytest.approx(mean_squared_error(t, p), rel=1e-5)
        assert float(metrics["psnr"][k]) == pytest.approx(peak_signal_noise_ratio(t, p, data_range=2), rel=1e-5)


def test_prediction_is_clamped_to_the_window() -> None:
    pred, target = volumes()
    beyond = pred.clone()
    beyond[0, :5] = 3.0
    beyond[0, 5:9] = -1.5
    clamped = beyond.clamp(-1, 1)
    for name, values in ImageMetrics()(beyond, target).items():
        torch.testing.assert_close(values, ImageMetrics()(clamped, target)[name], msg=name)
    assert float(ImageMetrics()(torch.full_like(target, 9.0), torch.ones_like(target))["mse"].max()) == 0


def test_identity_is_perfect() -> None:
    _, target = volumes()
    metrics = ImageMetrics()(target, target)
    perfect_values = {"psnr": 100, "ms_ssim": 1, "ms_ssim_01": 1}
    for name in METRICS:
        perfect = perfect_values.get(name, 0)
        np.testing.assert_allclose(metrics[name], perfect, atol=1e-6, err_msg=name)


@pytest.mark.parametrize(
    ("height", "width", "window", "scales"),
    [
        (256, 256, 11, 5),
        (128, 128, 7, 5),
        (180, 256, 11, 5),
        (100, 72, 7, 4),
        (33, 29, 7, 3),
        (20, 20, 7, 2),
        (9, 7, 7, 1),
    ],
)
def test_ms_ssim_against_its_definition(height: int, width: int, window: int, scales: int) -> None:
    pred, target = volumes(height, width, depth=2)
    assert ms_ssim_setting(height, width) == {"window": window, "scales": scales}
    metrics = ImageMetrics()(pred, target)
    found = metrics["ms_ssim"]
    expected = [ms_ssim(pred[0, ..., k].numpy(), target[0, ..., k].numpy(), window, scales) for k in range(2)]
    on_01 = [
        ms_ssim((pred[0, ..., k].numpy() + 1) / 2, (target[0, ..., k].numpy() + 1) / 2, window, scales, data_range=1.0)
        for k in range(2)
    ]
    np.testing.assert_allclose(metrics["ms_ssim_01"], on_01, atol=1e-4)
    assert all(0.05 < value < 0.98 for value in expected)  # a case that tells something
    np.testing.assert_allclose(found, expected, atol=1e-4)


def scikit_ssim(x: np.ndarray, y: np.ndarray, data_range: float, luminance: bool) -> float:
    """SSIM with Wang's 11×11 Gaussian window; without luminance its contrast and structure alone."""
    # with a boundless K1 the luminance term is 1
    return float(
        structural_similarity(
            x, y, data_range=data_range, gaussian_weights=True, sigma=1.5, use_sample_covariance=False,
            K1=0.01 if luminance else 1e6,
        )
    )  # fmt: skip


@pytest.mark.parametrize(("height", "width"), [(256, 256), (176, 240)])
def test_ms_ssim_of_scikit_images_ssim(height: int, width: int) -> None:
    pred, target = volumes(height, width, depth=2, seed=1)
    metrics = ImageMetrics()(pred, target)
    for name, data_range, shift in (("ms_ssim", 2.0, 0.0), ("ms_ssim_01", 1.0, 0.5)):
        for k in range(2):
            x, y = (v[0, ..., k].numpy() * data_range / 2 + shift for v in (pred, target))
            expected = 1.0
            for scale, weight in enumerate(WANG / WANG.sum()):
                halved = [downscale_local_mean(image, (2**scale, 2**scale)) for image in (x, y)]
                expected *= max(scikit_ssim(*halved, data_range, luminance=scale == 4), 0.0) ** weight
            assert 0.05 < expected < 0.98
            assert float(metrics[name][k]) == pytest.approx(expected, abs=1e-4)


def test_one_scale_is_scikit_images_ssim() -> None:
    """What MS-SSIM is made of, and the independent computation above, each against a third one."""
    pred, target = volumes(48, 56, depth=1)
    x, y = (v[0, ..., 0].numpy() for v in (pred, target))
    expected = scikit_ssim(x, y, 2.0, luminance=True)
    assert 0.05 < expected < 0.98
    metric = MultiScaleSSIMMetric(spatial_dims=2, data_range=2.0, kernel_size=11, weights=[1.0], reduction="none")
    assert metric(*(v.float().permute(3, 0, 1, 2) for v in (pred, target))).item() == pytest.approx(expected, abs=1e-5)
    assert ms_ssim(x, y, window=11, scales=1) == pytest.approx(expected, abs=1e-9)


def test_monai_runs_the_setting_of_every_size() -> None:
    for side in range(7, 201):
        pred, target = (torch.rand(1, side, side + 3, 1, generator=torch.Generator().manual_seed(k)) for k in (0, 1))
        assert 0 <= float(ImageMetrics()(pred, target)["ms_ssim"]) < 1, side


def test_settings_by_size() -> None:
    settings = [(side, ms_ssim_setting(side, 999)) for side in range(7, 600)]
    assert all(setting == ms_ssim_setting(999, side) for side, setting in settings)
    scales = [setting["scales"] for _, setting in settings]
    assert scales == sorted(scales)
    # every scale holds at least one window, and 11 comes with all five scales
    assert all(side // 2 ** (setting["scales"] - 1) >= setting["window"] for side, setting in settings)
    assert all(setting["scales"] == 5 for _, setting in settings if setting["window"] == 11)
    assert ms_ssim_setting(160, 160) == ms_ssim_setting(161, 161) == {"window": 7, "scales": 5}
    # 176 = 11 * 2**4 is the smallest side that holds the 11 x 11 window at the fifth scale
    assert ms_ssim_setting(175, 175) == {"window": 7, "scales": 5}
    assert ms_ssim_setting(176, 176) == {"window": 11, "scales": 5}
    assert ms_ssim_setting(112, 112) == {"window": 7, "scales": 5}
    assert ms_ssim_setting(111, 111) == {"window": 7, "scales": 4}


def test_too_small_an_image_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 7 x 7 for MS-SSIM but got 6 x 50"):
        ms_ssim_setting(6, 50)


@pytest.mark.parametrize(
    ("pred", "target"),
    [((1, 8, 8, 2), (1, 8, 8, 3)), ((8, 8, 2), (8, 8, 2)), ((2, 8, 8, 2), (2, 8, 8, 2))],
)
def test_other_shapes_are_refused(pred: tuple[int, ...], target: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="expected two volumes of shape"):
        ImageMetrics()(torch.zeros(pred), torch.zeros(target))


def test_metatensors_of_other_types_give_the_same_without_touching_them() -> None:
    pred, target = volumes()
    expected = ImageMetrics()(pred, target)
    given = MetaTensor(pred.double().requires_grad_()), MetaTensor(target.float())
    copies = [v.detach().clone() for v in given]
    found = ImageMetrics()(*given)
    for name in METRICS:
        assert type(found[name]) is torch.Tensor and not found[name].requires_grad
        torch.testing.assert_close(found[name], expected[name])
    assert all(torch.equal(a, b) for a, b in zip(given, copies, strict=True))


def test_means_of_opposite_sign_spoil_ms_ssim_on_the_papers_scale_only() -> None:
    texture = 0.2 * torch.randn(1, 64, 64, 1, generator=torch.Generator().manual_seed(0))
    metrics = ImageMetrics()(texture + 0.1, texture - 0.1)
    assert float(metrics["ms_ssim"]) == 0
    assert float(metrics["ms_ssim_01"]) > 0.8
