from __future__ import annotations

import tempfile
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from monai_nce.data.nifti.writer import write_nifti_hu
from monai_nce.data.scans.formats import (
    check_file,
    data_file,
    holds_labels,
    is_label_map,
    is_volume_name,
    kind_of,
    read_file,
    volume_stem,
)
from tests.data.itk.itk_files import save_itk

AFFINE = np.array([[-0.8, 0, 0, 10], [0, -0.7, 0, 20], [0, 0, 2.5, 30], [0, 0, 0, 1]])
NAMES = {"a.nii": "nifti", "a.nii.gz": "nifti", "a.mha": "metaimage", "a.mhd": "metaimage", "a.nrrd": "nrrd"}


@pytest.mark.parametrize("name", NAMES)
def test_every_format_gives_the_same_volume(name: str, hu: np.ndarray, tmp_path: Path) -> None:
    (write_nifti_hu if NAMES[name] == "nifti" else save_itk)(tmp_path / name, hu, AFFINE)
    volume, affine = read_file(tmp_path / name)
    assert (volume.dtype, volume.flags.f_contiguous) == (np.float32, True)
    np.testing.assert_array_equal(volume, hu)
    np.testing.assert_allclose(affine, AFFINE, atol=1e-5)
    shape, checked = check_file(tmp_path / name)
    assert shape == hu.shape
    np.testing.assert_allclose(checked, AFFINE, atol=1e-5)


def test_names() -> None:
    for name, kind in NAMES.items():
        path = Path("x", name.upper())
        assert (is_volume_name(path), volume_stem(path.name), kind_of(path)) == (True, "A", kind)
    assert not is_volume_name(Path("a.raw"))
    assert volume_stem("a.b") == "a.b"


def test_a_header_names_the_file_beside_it(hu: np.ndarray, tmp_path: Path) -> None:
    assert data_file(save_itk(tmp_path / "a.mhd", hu, AFFINE)) == tmp_path / "a.raw"
    assert data_file(save_itk(tmp_path / "b.nhdr", hu, AFFINE)) == tmp_path / "b.raw"
    assert data_file(save_itk(tmp_path / "c.mha", hu, AFFINE)) is None
    (tmp_path / "d.mhd").write_text("nothing")
    assert data_file(tmp_path / "d.mhd") is None
    assert data_file(tmp_path / "e.nii") is None


@pytest.mark.parametrize(
    ("name", "kind", "is_label"),
    [
        ("ct.mha", np.int16, False),
        ("ct.nrrd", np.float32, False),
        ("ct.mha", np.uint8, True),
        ("ct.nrrd", np.uint16, True),
        ("Segmentation.seg.nrrd", np.int16, True),
        ("p1-label.nrrd", np.int16, True),
        ("liver_mask.mha", np.int16, True),
        ("segal_p1.mha", np.int16, False),
        ("maskell.nrrd", np.int16, False),
    ],
)
def test_label_maps_by_name_and_numbers(name: str, kind: type, is_label: bool, hu: np.ndarray, tmp_path: Path) -> None:
    assert is_label_map(save_itk(tmp_path / name, hu.astype(kind), AFFINE)) == is_label


def nifti(path: Path, values: np.ndarray) -> Path:
    nib.save(nib.Nifti1Image(values, np.eye(4)), path)
    return path


@settings(max_examples=15, deadline=None)
@given(
    hnp.arrays(np.uint8, (3, 3, 3), elements=st.integers(0, 120)).filter(lambda labels: np.ptp(labels) > 0),
    st.sampled_from([np.uint8, np.int16, np.float32]),
)
def test_label_maps_are_known_by_their_values(labels: np.ndarray, dtype: type) -> None:
    with tempfile.TemporaryDirectory() as folder:
        blocks = np.kron(labels, np.ones((8, 4, 2))).astype(dtype)
        assert holds_labels(nifti(Path(folder) / "case.nii.gz", blocks))


def test_what_is_no_label_map(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).normal(50, 10, (16, 16, 4))
    for name, values in {
        "hu": noise - 1000,
        "mr": noise.astype(np.int16) + 500,
        "fractions": np.kron(noise[:4, :4], np.ones((4, 4, 1))),
        "empty": np.zeros((4, 4, 4), np.int16),
        "seven": np.full((4, 4, 4), 7, np.int16),
    }.items():
        assert not holds_labels(nifti(tmp_path / f"{name}.nii", values))
    assert holds_labels(nifti(tmp_path / "tumour_mask.nii", np.zeros((4, 4, 4), np.uint8)))
