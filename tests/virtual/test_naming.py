"""Namings: every label of the two that ship has a structure, and a user's own file is taken or refused in one line."""

from __future__ import annotations

import json
import os
from importlib import resources
from pathlib import Path

import pytest

from monai_nce.errors import InputError
from monai_nce.virtual.naming import NAMINGS, Naming, read_naming
from monai_nce.virtual.structures import STRUCTURES

REAL = os.environ.get("NCE_REAL_DATA")
needs_real = pytest.mark.skipif(not REAL, reason="NCE_REAL_DATA is not set")


def written(folder: Path, text: str) -> Path:
    path = folder / "own.json"
    path.write_text(text, encoding="utf-8")
    return path


def structure(naming: Naming, key: int | str) -> str:
    value = naming.numbers[key] if isinstance(key, int) else naming.names[key]
    return list(STRUCTURES)[value]


def test_totalsegmentator_has_all_classes():
    naming = read_naming("totalsegmentator")
    assert set(naming.numbers) == set(range(119))
    assert naming.title == "totalsegmentator"


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        (5, "liver"),
        (2, "kidney_right"),
        (3, "kidney_left"),
        ("lung_middle_lobe_right", "lung"),
        ("rib_left_7", "rib"),
        ("vertebrae_l3", "vertebra"),
        ("sacrum", "vertebra"),
        ("hip_left", "bone"),
        ("autochthon_right", "muscle"),
        (79, "spinal_canal"),
        ("atrial_appendage_left", "heart"),
        ("brachiocephalic_trunk", "artery"),
        ("iliac_vena_left", "vein"),
        (64, "portal_vein"),
        (117, "costal_cartilage"),
        ("torso_fat", "visceral_fat"),
        ("skeletal_muscle", "muscle"),
        ("pleural_effusion", "effusion"),
        ("uterus", "uterus"),  # by its own name
    ],
)
def test_structures_of_totalsegmentator(key: int | str, expected: str):
    assert structure(read_naming("totalsegmentator"), key) == expected


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        (3, "liver"),
        (9, "bowel"),
        (13, "stomach"),
        (51, "kidney_right"),
        (52, "kidney_left"),
        (151, "hepatic_vein"),
        (129, "inferior_vena_cava"),
        (555, "disc"),
        (600, "vertebra"),
        (692, "rib"),
        ("right_psoas_muscle", "muscle"),
    ],
)
def test_structures_of_spl(key: int | str, expected: str):
    assert structure(read_naming("spl"), key) == expected


@pytest.mark.parametrize("naming", NAMINGS)
def test_files_are_data_of_the_package(naming: str):
    assert (resources.files("monai_nce.virtual.naming") / f"{naming}.json").is_file()


@needs_real
def test_spl_has_every_row_of_the_atlas():
    naming = read_naming("spl")
    table = Path(str(REAL), "labels", "spl_abdominal_atlas", "AbdominalAtlasColors.ctbl").read_text(encoding="utf-8")
    rows = [line.split() for line in table.splitlines() if line and not line.startswith("#")]
    assert len(rows) > 90
    assert {int(row[0]) for row in rows} == set(naming.numbers) - {0, 699}
    for number, name, *_ in rows:
        assert naming.names[name.lower()] == naming.numbers[int(number)]


def test_own_file(tmp_path: Path):
    naming = read_naming(
        written(tmp_path, json.dumps({"7": "liver", "Milz": "spleen", "9 left kidney": "kidney_left"}))
    )
    assert naming.numbers == {0: 0, 7: STRUCTURES["liver"], 9: STRUCTURES["kidney_left"]}
    assert structure(naming, "milz") == "spleen"
    assert structure(naming, "left kidney") == "kidney_left"
    assert structure(naming, "pancreas") == "pancreas"


def test_a_label_can_be_left_out(tmp_path: Path):
    assert read_naming(written(tmp_path, '{"4": "background"}')).numbers[4] == 0


def test_unknown_structure_is_answered_with_the_closest(tmp_path: Path):
    with pytest.raises(InputError, match=r"own\.json: 7: expected a structure \(liver, .* more\) but got 'livr'"):
        read_naming(written(tmp_path, '{"7": "livr"}'))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{", "not a readable JSON file"),
        ("[1]", "expected a JSON object"),
        ("{}", "expected a JSON object"),
        ('{"5": 3}', "but got 3"),
        ('{"spacing": {"header": [1, 1, 1]}}', "spacing: expected"),
        ('{"spacing": {"header": [1, 1, 1], "voxels": [1, 1, 0]}}', "spacing: expected"),
        ('{"spacing": {"header": [1, 1, 1], "voxels": 2}}', "spacing: expected"),
        ('{"spacing": 3}', "but got 3"),
        ('{"5": null}', "but got None"),
        ('{"5": ["liver"]}', "but got ['liver']"),
        ('{"5": {"liver": 1}}', "5: expected a structure"),
        ('{"-1": "liver"}', "key but got '-1'"),
        ('{"": "liver"}', "key but got ''"),
        ('{"70000": "liver"}', "up to 65535 but got 70000"),
        ('{"0": "liver"}', "expected 0 to be the background"),
        ('{"5": "liver", "5 spleen": "spleen"}', "5 is given twice"),
        ('{"liver": "liver", "5 Liver": "liver"}', "liver is given twice"),
    ],
)
def test_faulty_file(tmp_path: Path, text: str, expected: str):
    with pytest.raises(InputError, match=r"own\.json: ") as raised:
        read_naming(written(tmp_path, text))
    assert expected in str(raised.value)


def test_no_such_naming(tmp_path: Path):
    with pytest.raises(InputError, match="expected naming to be totalsegmentator, spl or a JSON file but got 'total'"):
        read_naming("total")
    with pytest.raises(InputError, match=r"none\.json: no such file"):
        read_naming(tmp_path / "none.json")
    (tmp_path / "bytes.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match=r"bytes\.json: not a readable JSON file"):
        read_naming(tmp_path / "bytes.json")
