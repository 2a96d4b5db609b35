from __future__ import annotations

import json
import os
import warnings
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monai_nce.data import ReaderWarning
from monai_nce.errors import InputError
from monai_nce.metrics.organ_table import LITERATURE, organ_table, organ_text, take_organs
from monai_nce.virtual.tissue import EXPECTED_RANGES
from tests.data.scans.in_memory_kinds import as_kind, oblique

AFFINE = np.diag([10.0, 10, 20, 1])  # 2 ml a voxel
FAR = AFFINE + 500 * np.eye(4, k=3)
LABELS = np.array([[[5, 5], [5, 1]], [[1, 52], [0, 200]]])  # liver, spleen, aorta, and a number of no naming
BEFORE = np.array([[[50, 60], [40, 30]], [[50, 45], [-1000, 7]]], np.float32)
AFTER = np.array([[[110, 100], [120, 150]], [[130, 170], [-1000, 8]]], np.float32)


def test_by_hand() -> None:
    organs = take_organs(LABELS, LABELS.shape, AFFINE)
    rows = organ_table(BEFORE, AFTER, organs, AFFINE)
    assert [[value if name != "ml" else round(value, 9) for name, value in row.items()] for row in rows] == [
        ["spleen", 4.0, 40.0, 140.0, 100.0, None, (38.0, 110.0)],
        ["liver", 6.0, 50.0, 110.0, 60.0, None, (25.0, 80.0)],
        ["aorta", 2.0, 45.0, 170.0, 125.0, None, (60.0, 180.0)],
        ["label 200", 2.0, 7.0, 8.0, 1.0, None, None],
    ]
    assert list(rows[0]) == ["organ", "ml", "before", "after", "change", "real", "expected"]
    assert json.loads(json.dumps(rows))[0]["expected"] == [38, 110]
    real = organ_table(BEFORE, AFTER, organs, AFFINE, real=AFTER + 2.5, phase="arterial")
    assert [(row["real"], row["expected"]) for row in real[:2]] == [(142.5, (50.0, 140.0)), (112.5, (8.0, 40.0))]
    assert organ_text(rows)[:2] == [
        ["organ", "ml", "before HU", "after HU", "change HU", "literature: change HU"],
        ["spleen", "4", "40.0", "140.0", "100.0", "+38 to +110"],
    ]
    assert organ_text(real)[2] == ["liver", "6", "50.0", "110.0", "60.0", "112.5", "+8 to +40"]


def test_names_are_those_of_a_dictionary_a_file_or_the_label_map_s_own_header(tmp_path: Path) -> None:
    def names(organs: Any, naming: Any) -> tuple[str, ...]:
        return take_organs(organs, LABELS.shape, AFFINE, naming).names

    assert names(LABELS, {5: "liver", 1: "my tumour"}) == ("my tumour", "liver", "label 52", "label 200")
    assert names(LABELS, {5: "liver", 1: "liver", 52: "aorta", 200: "aorta"}) == ("liver", "aorta")
    assert names(np.where(LABELS == 5, 26, 27), "totalsegmentator") == ("vertebra",)  # L5 and S1
    (tmp_path / "naming.json").write_text('{"1": "liver", "5": "background"}')
    assert names(LABELS, tmp_path / "naming.json") == ("liver", "label 52", "label 200")
    image = nib.Nifti1Image(LABELS.astype(np.uint8), AFFINE)
    keys = '<Label Key="5">spleen</Label><Label Key="1">tumour</Label>'
    image.header.extensions.append(nib.nifti1.Nifti1Extension(0, keys.encode()))
    nib.save(image, tmp_path / "organs.nii.gz")
    assert names(tmp_path / "organs.nii.gz", "totalsegmentator") == ("tumour", "spleen", "aorta", "label 200")


@pytest.mark.parametrize("kind", ["nibabel", "simpleitk", "itk", "metatensor"])
def test_labels_as_images_lie_where_they_say(kind: str) -> None:
    labels, affine = LABELS.astype(np.uint8), oblique()
    image, _ = as_kind(kind, labels, affine)
    expected = take_organs(LABELS, LABELS.shape, affine)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        same = take_organs(image, LABELS.shape, affine)
    np.testing.assert_array_equal(same.labels, expected.labels)
    # the scan's axes in another order and direction
    turned = nib.Nifti1Image(labels, affine).as_reoriented(np.array([[2, -1], [0, 1], [1, -1]]))
    with pytest.warns(ReaderWarning, match="^organs: lies on another grid, .*; resampled by nearest neighbour$"):
        taken = take_organs(image, turned.shape, turned.affine)
    np.testing.assert_array_equal(np.array([0, 1, 5, 52, 200])[taken.labels], turned.dataobj)


@given(data=st.data())
@settings(max_examples=25)
def test_on_any_grid_a_voxel_has_the_label_of_the_place_that_it_lies_at(data: Any) -> None:
    labels = np.random.default_rng(data.draw(st.integers(0, 99))).integers(0, 9, (6, 5, 4))
    labels[3, 2, 2] = 8
    own = oblique(angles=data.draw(st.tuples(*[st.floats(-1, 1)] * 2)))
    steps = data.draw(st.tuples(*[st.floats(0.4, 2)] * 3))
    affine = own @ np.diag([*steps, 1])
    shape = (7, 6, 5)
    centre = np.floor((np.array(shape) - 1) / 2)
    affine[:3, 3] = (own @ [3, 2, 2, 1])[:3] - affine[:3, :3] @ centre  # this voxel's centre is one of label 8
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ReaderWarning)
        taken = take_organs(
            nib.Nifti1Image(labels.astype(np.int16), own), shape, affine, {n: f"{n}" for n in range(1, 9)}
        )
    names = ("0", *taken.names)
    for index in np.ndindex(shape):
        place = np.linalg.inv(own) @ affine @ [*index, 1]
        near = np.rint(place[:3]).astype(int)
        if np.abs(np.abs(place[:3] - near) - 0.5).min() > 1e-3:  # not halfway between two
            inside = ((near >= 0) & (near < labels.shape)).all()
            assert int(names[taken.labels[index]]) == (labels[tuple(near)] if inside else 0)


@pytest.mark.parametrize(
    ("organs", "naming", "expected"),
    [
        (LABELS[:1], {}, "organs: expected an array on the scan's grid, .2, 2, 2., but got .1, 2, 2."),
        (LABELS + 0.5, {}, "organs: expected whole label numbers but got fractions"),
        (LABELS - 1, {}, "organs: expected label numbers from 0 to 65535 but got -1 to 199"),
        (LABELS + np.nan, {}, "organs: expected label numbers from 0 to 65535 but got nan to nan"),
        (LABELS * 1j, {}, "organs: expected label numbers but got data of type complex128"),
        (LABELS * 0, {}, "organs: no label lies in the scan"),
        (
            nib.Nifti1Image(LABELS.astype(np.uint8), AFFINE + 500 * np.eye(4, k=3)),
            {},
            "organs: no label lies in the scan",
        ),
        ("no.nii.gz", {}, "no.nii.gz: no such file"),
        ("no.txt", {}, "no.txt: expected a label map as NIfTI or NRRD"),
        (LABELS, "mine", "expected naming to be totalsegmentator, spl or a JSON file but got 'mine'"),
        (LABELS, {"5": "liver"}, "naming: expected a dictionary such as .5: 'liver'. but got '5': 'liver'"),
        (LABELS, {5: ""}, "naming: expected a dictionary"),
    ],
)
@pytest.mark.filterwarnings("ignore:organs. lies on another grid")
def test_what_cannot_be_is_refused_in_one_line(organs: Any, naming: Any, expected: str) -> None:
    with pytest.raises(InputError, match=f"^{expected}"):
        take_organs(organs, LABELS.shape, AFFINE, naming)


def test_every_range_of_the_literature_is_some_structure_s() -> None:
    assert set(LITERATURE.values()) == set(EXPECTED_RANGES)


@pytest.mark.skipif("NCE_REAL_DATA" not in os.environ, reason="NCE_REAL_DATA is not set")
def test_a_real_scan_s_organs() -> None:
    real_data = Path(os.environ["NCE_REAL_DATA"])
    scan = nib.load(real_data / "nect_abdomen" / "ct.nii.gz")
    organs = take_organs(real_data / "nect_abdomen" / "organs.nii.gz", scan.shape, scan.affine)
    assert {"spleen", "kidney_right", "kidney_left", "liver", "aorta"} <= set(organs.names)
    hu = scan.get_fdata()
    rows = {row["organ"]: row for row in organ_table(hu, hu, organs, scan.affine)}
    assert 40 < rows["liver"]["before"] < 55 and 900 < rows["liver"]["ml"] < 2500 and rows["liver"]["change"] == 0
