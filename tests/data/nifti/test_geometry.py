from __future__ import annotations

import struct
import warnings
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nibabel.affines import from_matvec
from scipy.spatial.transform import Rotation

from monai_nce.data.nifti.reader import check_nifti
from monai_nce.data.nifti.writer import write_nifti_hu
from monai_nce.data.scans.file_tree import ReaderWarning
from monai_nce.errors import InputError

SIZES = np.array([0.7, 0.8, 5.0])
AFFINE = from_matvec(np.diag(SIZES) * [-1, -1, 1], [80, 90, -300])
SHAPE = (4, 5, 6)
QUICK = settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
ANGLES = st.floats(-180, 180)
Check = Callable[..., list[str]]


@pytest.fixture
def checked(tmp_path: Path) -> Check:
    """Check a file with these two affines, edited at a byte; return the warnings."""

    def check(
        sform: np.ndarray | None, qform: np.ndarray | None, edits: tuple[tuple[int, str, float], ...] = ()
    ) -> list[str]:
        image = nib.Nifti1Image(np.zeros(SHAPE, np.int16), np.eye(4))
        image.header.set_xyzt_units("mm")
        image.set_qform(qform, 0 if qform is None else 1)
        image.set_sform(sform, 0 if sform is None else 1)
        if qform is None and sform is not None:
            image.header.set_zooms(nib.affines.voxel_sizes(sform))
        nib.save(image, tmp_path / "a.nii")
        content = bytearray((tmp_path / "a.nii").read_bytes())
        for at, form, value in edits:
            content[at : at + struct.calcsize(form)] = struct.pack(form, value)
        (tmp_path / "a.nii").write_bytes(content)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            check_nifti(tmp_path / "a.nii")
        assert all(item.category is ReaderWarning for item in caught)
        return [str(item.message) for item in caught]

    return check


def pixdim(axis: int, value: float) -> tuple[int, str, float]:
    return 76 + 4 * axis, "<f", value


@QUICK
@given(
    angles=st.tuples(ANGLES, ANGLES, ANGLES),
    sizes=st.tuples(*[st.floats(0.3, 8)] * 3),
    left=st.booleans(),
    parts=st.sampled_from(["both", "sform", "qform"]),
)
def test_what_agrees_is_let_pass_without_a_word(
    angles: tuple[float, ...], sizes: tuple[float, ...], left: bool, parts: str, checked: Check
) -> None:
    matrix = Rotation.from_euler("xyz", angles, degrees=True).as_matrix() * sizes
    affine = from_matvec(matrix * [-1 if left else 1, 1, 1], [-210.5, 190.25, 1000])
    assert checked(affine if parts != "qform" else None, affine if parts != "sform" else None) == []


@pytest.mark.parametrize("degrees", [1, 15, 30])
@pytest.mark.parametrize("between_slices", [False, True])
def test_a_gantry_tilt_is_no_contradiction(degrees: float, between_slices: bool, checked: Check) -> None:
    """Some write the distance between slices as the pixel size, and no qform, which cannot hold a shear."""
    tilted = AFFINE.copy()
    tilted[1, 2] = SIZES[2] * np.tan(np.radians(degrees))
    assert checked(tilted, None, (pixdim(3, SIZES[2]),) if between_slices else ()) == []


def test_what_this_project_writes_is_let_pass(tmp_path: Path) -> None:
    tilted = AFFINE.copy()
    tilted[1, 2] = 1.3
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for affine in (AFFINE, tilted, AFFINE[:, [2, 0, 1, 3]]):
            write_nifti_hu(tmp_path / "a.nii.gz", np.zeros(SHAPE), affine)
            check_nifti(tmp_path / "a.nii.gz")


@pytest.mark.parametrize("axis", [1, 2, 3])
@pytest.mark.parametrize("value", [0.0, -0.8, np.nan, np.inf])
def test_a_pixel_size_that_cannot_be(axis: int, value: float, checked: Check) -> None:
    with pytest.raises(
        InputError, match=r"its pixel sizes are .* mm, and no sform is set|singular or not finite|not a r"
    ):
        checked(None, AFFINE, (pixdim(axis, value),))
    (note,) = checked(AFFINE, AFFINE, (pixdim(axis, value),))
    assert "those of its sform were taken, 0.7 × 0.8 × 5 mm" in note


@QUICK
@given(axis=st.integers(0, 2), factor=st.one_of(st.floats(0.1, 0.94), st.floats(1.06, 8)))
def test_sizes_that_contradict_each_other_are_refused(axis: int, factor: float, checked: Check) -> None:
    other = AFFINE.copy()
    other[:, axis] *= factor
    for sform, qform in ((AFFINE, other), (other, AFFINE)):
        with pytest.raises(
            InputError, match=r"its sform has voxels of .* mm, its pixel sizes are .*: correct the header"
        ):
            checked(sform, qform)
    with pytest.raises(InputError, match="which are right is not known"):
        checked(AFFINE, None, (pixdim(axis + 1, SIZES[axis] * factor),))


def test_an_identity_in_place_of_an_sform_is_refused(checked: Check) -> None:
    with pytest.raises(InputError, match="its sform has voxels of 1 × 1 × 1 mm, its pixel sizes are 0.7 × 0.8 × 5 mm"):
        checked(np.eye(4), AFFINE)


def test_pixel_sizes_that_nobody_filled_in_are_told(tmp_path: Path) -> None:
    """As nibabel leaves them where a script sets an sform alone."""
    image = nib.Nifti1Image(np.zeros(SHAPE, np.int16), np.eye(4))
    image.set_sform(AFFINE, 1)
    nib.save(image, tmp_path / "a.nii")
    with pytest.warns(
        ReaderWarning, match="pixel sizes are 1 × 1 × 1 mm; those of its sform were taken, 0.7 × 0.8 × 5"
    ):
        np.testing.assert_allclose(check_nifti(tmp_path / "a.nii").affine, AFFINE, rtol=1e-6)


def test_sizes_that_were_rounded_are_told(checked: Check) -> None:
    (note,) = checked(AFFINE, None, (pixdim(1, 0.71),))
    assert note.endswith("its pixel sizes are 0.71 × 0.8 × 5 mm; those of its sform were taken, 0.7 × 0.8 × 5 mm")


@QUICK
@given(axis=st.integers(0, 2), angles=st.tuples(ANGLES, ANGLES, ANGLES))
def test_parts_that_mirror_each_other_are_refused(axis: int, angles: tuple[float, ...], checked: Check) -> None:
    turned = from_matvec(Rotation.from_euler("xyz", angles, degrees=True).as_matrix()) @ AFFINE
    turned[:3, axis] *= -1
    for sform, qform in ((AFFINE, turned), (turned, AFFINE)):
        with pytest.raises(InputError, match="mirror each other, so that left and right are not known"):
            checked(sform, qform)


@QUICK
@given(shift=st.floats(0.2, 500), axis=st.integers(0, 2))
def test_places_apart_are_told_and_the_sform_is_taken(shift: float, axis: int, checked: Check) -> None:
    other = AFFINE.copy()
    other[axis, 3] += shift
    (note,) = checked(AFFINE, other)
    assert f"its sform and qform put voxels up to {shift:.1f} mm apart; the sform was taken" in note


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        ((254, "<h", 9), "its sform_code is 9, which the standard does not know; its sform was not taken"),
        (pixdim(0, 5.0), "its qfac is 5, where 1 or -1 is expected"),
        ((256, "<f", 3.0), "its qform is no rotation; its sform was taken"),
    ],
)
def test_other_doubts_are_told(edit: tuple[int, str, float], message: str, checked: Check) -> None:
    (note,) = checked(AFFINE, AFFINE, (edit,))
    assert message in note
