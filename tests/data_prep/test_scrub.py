from __future__ import annotations

from pathlib import Path

import pytest

from data_prep.scrub import without_paths
from monai_nce.data.scans.found import FoundVolume

FOLDER = Path("/archive/DOE^JANE/nativ")
SERIES = FoundVolume(
    "dicom", FOLDER, (FOLDER / "DOE 001.dcm", FOLDER / "7"), patient_id="X-4711", series_uid="1.2.3", study_uid="1.2"
)


@pytest.mark.parametrize(
    ("text", "left"),
    [
        (f"{FOLDER}: slices not axial", "slices not axial"),
        (f"{FOLDER}/DOE 001.dcm: has no Rows", "has no Rows"),
        (f"{FOLDER}: two different slices at position 27.50 mm: DOE 001.dcm and 7", "two different slices at position"
         " 27.50 mm: … and …"),
        ("patient X-4711 has 17 slices", "patient … has 17 slices"),
        ("series 1.2.3", "series …"),
        (f"{FOLDER.parent}: 3 of 9", "3 of 9"),
    ],
)  # fmt: skip
def test_nothing_says_who_it_is(text: str, left: str) -> None:
    assert without_paths(text, [SERIES]) == left
