"""Label files: numbers, place in RAS millimetres, names in the header; anything else is refused in one line."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from monai_nce.errors import InputError
from monai_nce.virtual.label_files import is_label_name, label_stem, read_label_file
from tests.data.itk.itk_files import save_itk

AFFINE = np.array([[-2.0, 0, 0, 30], [0, 0, 3.0, -20], [0, 1.5, 0, 10], [0, 0, 0, 1]])


def numbers() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 700, (5, 6, 7)).astype(np.int16)


def header(text: str, volume: np.ndarray) -> bytes:
    return f"NRRD0004\n{text}\nencoding: raw\nendian: little\n\n".encode() + volume.astype("<i2").tobytes(order="F")


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "a.nrrd", "a.seg.nrrd"])
def test_numbers_and_place(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if "nii" in name:
        nib.save(nib.Nifti1Image(numbers(), AFFINE), path)
    else:
        save_itk(path, numbers(), AFFINE)
    file = read_label_file(path)
    assert file.numbers.dtype == np.uint16
    np.testing.assert_array_equal(file.numbers, numbers())
    np.testing.assert_allclose(file.affine, AFFINE, atol=1e-6)
    assert file.names == {}


def test_whole_floats_are_numbers(tmp_path: Path) -> None:
    nib.save(nib.Nifti1Image(numbers().astype(np.float32), AFFINE), tmp_path / "a.nii")
    np.testing.assert_array_equal(read_label_file(tmp_path / "a.nii").numbers, numbers())


def test_nrrd_in_ras(tmp_path: Path) -> None:
    text = "type: short\ndimension: 3\nspace: right-anterior-superior\nsizes: 5 6 7\n"
    text += "space directions: (2,0,0) (0,2,0) (0,0,3)\nspace origin: (1,2,3)"
    (tmp_path / "a.nrrd").write_bytes(header(text, numbers()))
    file = read_label_file(tmp_path / "a.nrrd")
    np.testing.assert_array_equal(file.numbers, numbers())
    np.testing.assert_allclose(file.affine, [[2, 0, 0, 1], [0, 2, 0, 2], [0, 0, 3, 3], [0, 0, 0, 1]], atol=1e-6)


def test_names_of_the_header(tmp_path: Path) -> None:
    labels = {5: "liver", 52: "aorta"}
    rows = "".join(
        f'<Label Key="{number}" Red="1.0" Green="0.0" Blue="0.5" Alpha="1"><![CDATA[{name}]]></Label>\n'
        for number, name in labels.items()
    )
    xml = f'<?xml version="1.0" encoding="UTF-8"?> <CaretExtension><LabelTable>{rows}</LabelTable></CaretExtension>'
    image = nib.Nifti1Image(numbers(), AFFINE)
    image.header.extensions.append(nib.nifti1.Nifti1Extension(0, xml.encode()))
    nib.save(image, tmp_path / "a.nii.gz")
    assert read_label_file(tmp_path / "a.nii.gz").names == labels


@pytest.mark.parametrize(
    ("volume", "affine", "expected"),
    [
        (numbers()[None], AFFINE, "expected one three-dimensional volume but got shape"),
        (numbers() - 1000, AFFINE, "expected label numbers from 0 to 65535 but got values from -999"),
        (numbers().astype(np.int32) * 1000, AFFINE, "expected label numbers from 0 to 65535"),
        (numbers() + np.float32(0.5), AFFINE, "expected whole label numbers but got fractions"),
        (numbers() * np.float32("nan"), AFFINE, "but got values from nan to nan"),
        (numbers(), AFFINE / 30, "expected voxels of 0.1 to 20 mm but got 0.0666667 × 0.05 × 0.1"),
        (numbers(), np.diag([2.0, 2, 50, 1]), "expected voxels of 0.1 to 20 mm but got 2 × 2 × 50"),
        (numbers(), np.diag([2.0, 2, 0, 1]), "its affine is singular"),
    ],
)
def test_no_label_map_as_nifti(tmp_path: Path, volume: np.ndarray, affine: np.ndarray, expected: str) -> None:
    image = nib.Nifti1Image(volume, np.eye(4))
    image.set_sform(affine, 1)
    nib.save(image, tmp_path / "a.nii")
    with pytest.raises(InputError, match=r"a\.nii: ") as raised:
        read_label_file(tmp_path / "a.nii")
    assert expected in str(raised.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("type: short\ndimension: 3\nsizes: 5 6 7\nspacings: 1 1 1", "has no orientation"),
        ("type: short\ndimension: 3\nsizes: 5 6 7", "has no orientation"),
        (
            "type: short\ndimension: 4\nspace: left-posterior-superior\nsizes: 2 5 6 7\n"
            "kinds: list domain domain domain\nspace directions: none (1,0,0) (0,1,0) (0,0,1)\nspace origin: (0,0,0)",
            "expected one three-dimensional volume but got 5 × 6 × 7 voxels of 2 values",
        ),
        (
            "type: short\ndimension: 2\nspace: left-posterior-superior\nsizes: 5 6\n"
            "space directions: (1,0,0) (0,1,0)\nspace origin: (0,0,0)",
            "",
        ),
        (
            "type: short\ndimension: 3\nspace: left-posterior-superior\nsizes: 50 60 70\n"
            "space directions: (1,0,0) (0,1,0) (0,0,1)\nspace origin: (0,0,0)",
            "truncated or damaged",
        ),
        (
            "type: short\ndimension: 3\nspace: left-posterior-superior\nsizes: 50000 60000 70000\n"
            "space directions: (1,0,0) (0,1,0) (0,0,1)\nspace origin: (0,0,0)",
            "more than this program takes",
        ),
        ("type: short\ndimension: 3\nspace: nowhere\nsizes: 5 6 7", "not a readable NRRD file"),
    ],
)
def test_no_label_map_as_nrrd(tmp_path: Path, text: str, expected: str) -> None:
    (tmp_path / "a.nrrd").write_bytes(header(text, np.tile(numbers(), (2, 1, 1))))
    with pytest.raises(InputError, match=r"a\.nrrd: ") as raised:
        read_label_file(tmp_path / "a.nrrd")
    assert expected in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "a.nrrd"])
@pytest.mark.parametrize("content", [b"", b"no label map"])
def test_unreadable(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=f"{name}: "):
        read_label_file(tmp_path / name)


def test_missing_or_another_format(tmp_path: Path) -> None:
    for name in ("a.nii.gz", "a.nrrd"):
        with pytest.raises(InputError, match="no such file"):
            read_label_file(tmp_path / name)
    with pytest.raises(InputError, match=r"a\.mha: expected a label map as NIfTI or NRRD"):
        read_label_file(tmp_path / "a.mha")


def test_truncated(tmp_path: Path) -> None:
    nib.save(nib.Nifti1Image(numbers(), AFFINE), tmp_path / "a.nii.gz")
    save_itk(tmp_path / "a.nrrd", numbers(), AFFINE)
    for name in ("a.nii.gz", "a.nrrd"):
        content = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(content[:-100])
        with pytest.raises(InputError, match=name):
            read_label_file(tmp_path / name)


def test_names_of_files() -> None:
    assert is_label_name(Path("Liver.NII.GZ"))
    assert not is_label_name(Path("liver.json"))
    for name in ("liver.nii", "liver.nii.gz", "liver.nrrd", "liver.seg.nrrd"):
        assert label_stem(Path("x", name)) == "liver"
