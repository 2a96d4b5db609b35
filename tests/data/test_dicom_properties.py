"""Drawn series: what is accepted is right within 0.001 mm and 1 HU, everything else is refused."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from monai_nce.data.scans.reader import read_ct
from monai_nce.errors import InputError

RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
ANGLES = st.floats(-180, 180)
SIZES = st.floats(0.3, 2)


@st.composite
def geometries(draw: st.DrawFn) -> dict[str, Any]:
    """Slices anywhere, as DICOM has them: up to ten digits, or positions of hundredths."""
    axes = Rotation.from_euler("xyz", [draw(ANGLES), draw(ANGLES), draw(ANGLES)], degrees=True).as_matrix()
    tilt, towards = np.radians(draw(st.sampled_from([0.0, 0.0, 1.0, 15.0, 30.0]))), np.radians(draw(ANGLES))
    aside = np.tan(tilt) * (np.cos(towards) * axes[:, 0] + np.sin(towards) * axes[:, 1])
    step = draw(st.sampled_from([1, -1])) * draw(st.floats(0.5, 6)) * (axes[:, 2] + aside)
    if draw(st.booleans()):
        step = np.round(step, 2)  # so that rounded positions are even
    return {
        "axes": np.round(axes, 10),
        "spacing": (round(draw(SIZES), 6), round(draw(SIZES), 6)),
        "origin": np.round([draw(st.floats(-300, 300)) for _ in range(3)], 2),
        "step": np.round(step, 8),
        "tilted": tilt > 0,
    }


@st.composite
def storages(draw: st.DrawFn) -> dict[str, Any]:
    """How each slice stores its values, and in what order the files come."""
    return {
        "signed": draw(st.lists(st.booleans(), min_size=5, max_size=5)),
        "slopes": draw(st.lists(st.sampled_from([0.5, 1, 1.25, 2, -1]), min_size=5, max_size=5)),
        "order": draw(st.permutations(range(5))),
    }


DEFECTS: dict[str, Callable[[int, Any, dict[str, Any]], None] | None] = {
    "none": None,
    "off": lambda k, d, g: move(d, 0.5 * g["axes"][:, 2]) if k == 2 else None,
    "aside": lambda k, d, g: move(d, 0.5 * g["axes"][:, 0]) if k == 3 else None,
    "turned": lambda k, d, g: setattr(d, "ImageOrientationPatient", [0.6, 0.8, 0, 0, 0, 1]) if k == 1 else None,
    "slope": lambda k, d, g: delattr(d, "RescaleSlope") if k == 4 else None,
    "spacing": lambda k, d, g: setattr(d, "PixelSpacing", [0.11, 0.11]) if k == 0 else None,
    "double": lambda k, d, g: move(d, g["step"]) if k == 0 else None,
}


def move(dataset: Any, by: np.ndarray) -> None:
    dataset.ImagePositionPatient = [text(v) for v in np.array(dataset.ImagePositionPatient, float) + by]


def text(value: float) -> str:
    return f"{value:.10f}"[:16]


@pytest.mark.filterwarnings("ignore")
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(geometry=geometries(), storage=storages(), defect=st.sampled_from(list(DEFECTS)))
def test_accepted_means_right(
    geometry: dict[str, Any], storage: dict[str, Any], defect: str, write_series: Callable[..., Path], hu: np.ndarray
) -> None:
    def edit(index: int, dataset: Any) -> None:
        slope = storage["slopes"][index]
        signed = storage["signed"][index]
        intercept = 0 if signed else -1500 if slope > 0 else 1600
        stored = np.rint((hu[:, :, index].T.astype(float) - intercept) / slope)
        dataset.PixelData = stored.astype("<i2" if signed else "<u2").tobytes()
        dataset.PixelRepresentation = int(signed)
        dataset.RescaleSlope, dataset.RescaleIntercept = slope, intercept
        dataset.ImagePositionPatient = [text(v) for v in geometry["origin"] + index * geometry["step"]]
        dataset.ImageOrientationPatient = [text(v) for v in geometry["axes"].T[:2].ravel()]
        dataset.PixelSpacing = [str(geometry["spacing"][1]), str(geometry["spacing"][0])]
        change = DEFECTS[defect]
        if change:
            change(index, dataset, geometry)

    with tempfile.TemporaryDirectory() as name, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        folder = write_series(Path(name), edit)
        for index, new in enumerate(storage["order"]):
            (folder / f"slice{index}.dcm").rename(folder / f"IM{new}.dcm")
        if defect != "none":
            with pytest.raises(InputError):
                read_ct(folder)
            return
        volume, affine = read_ct(folder)

    expected = np.eye(4)
    expected[:3, 0] = geometry["axes"][:, 0] * geometry["spacing"][0]
    expected[:3, 1] = geometry["axes"][:, 1] * geometry["spacing"][1]
    expected[:3, 2], expected[:3, 3] = geometry["step"], geometry["origin"]
    if geometry["step"] @ geometry["axes"][:, 2] < 0:  # slices always follow the normal
        hu = hu[:, :, ::-1]
        expected[:3, 3] += 4 * geometry["step"]
        expected[:3, 2] *= -1
    np.testing.assert_allclose(volume, hu, atol=1)
    corners = np.array([[*voxel, 1] for voxel in np.ndindex(2, 2, 2)]).T * [[6], [5], [4], [1]]
    np.testing.assert_allclose(affine @ corners, RAS @ expected @ corners, atol=1e-3)
    if geometry["tilted"]:
        assert any("gantry tilt" in str(item.message) for item in caught)
