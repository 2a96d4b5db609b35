from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import Dataset

from monai_nce.data.dicom.calculated import calculation, why_no_hounsfield
from monai_nce.data.scans.examine import examine
from monai_nce.data.scans.found import find_images

MAPS = ("CBF", "RCBV", "MTT", "TTP", "TMAX", "PBV", "PERFUSION", "SUBTRACTION", "IODINE_MAP", "Z_EFF", "EFF_ATOMIC_NUM")
IN_HU = ("MIP", "MINIP", "VNC", "VIRTUAL NC", "VMI", "MONO", "PROJECTION IMAGE", "MAT_REMOVED")
ACQUIRED = (
    "AXIAL",
    "VOLUME",
    "HELIX",
    "CT_SOM5 SPI",
    "CT_SOM7 SPI DUAL",
    "REFORMATTED",
    "AVERAGE",
    "MPR",
    "RESAMPLED",
    "OTHER",
)


def header(**elements: Any) -> Dataset:
    dataset = Dataset()
    for keyword, value in elements.items():
        setattr(dataset, keyword, value)
    return dataset


@given(
    st.lists(st.sampled_from(ACQUIRED), max_size=3), st.sampled_from(MAPS), st.sampled_from(["PRIMARY", "SECONDARY"])
)
@settings(max_examples=50)
def test_a_map_is_known_wherever_image_type_names_it(others: list[str], name: str, second: str) -> None:
    for place in range(len(others) + 1):
        values = ["DERIVED", second, *others[:place], name, *others[place:]]
        made = header(ImageType=values)
        assert why_no_hounsfield(made) == f"its ImageType says {name.replace('_', ' ')}: calculated from scans"
        assert calculation(made) == why_no_hounsfield(made)


@given(
    st.lists(st.sampled_from(ACQUIRED), max_size=4),
    st.sampled_from(["ORIGINAL", "DERIVED"]),
    st.sampled_from(["", "HU"]),
)
@settings(max_examples=50)
def test_a_ct_as_acquired_or_reformatted_is_none(values: list[str], first: str, unit: str) -> None:
    made = header(ImageType=[first, "PRIMARY", *values], RescaleType=unit, SeriesDescription="Abdomen portal MPR cor")
    assert why_no_hounsfield(made) == calculation(made) == ""


@pytest.mark.parametrize("name", IN_HU)
def test_what_is_in_hu_is_read_but_no_ct_as_acquired(name: str) -> None:
    made = header(ImageType=["DERIVED", "SECONDARY", "AXIAL", name])
    assert why_no_hounsfield(made) == "" and calculation(made).startswith("its ImageType says ")


def units(code: str) -> list[Dataset]:
    return [header(MeasurementUnitsCodeSequence=[header(CodeValue=code, CodingSchemeDesignator="UCUM")])]


@pytest.mark.parametrize(
    ("elements", "reason"),
    [
        ({"RedPaletteColorLookupTableDescriptor": [256, 0, 16]}, "it has a colour palette"),
        ({"PixelPresentation": "COLOR"}, "its PixelPresentation is COLOR"),
        ({"PixelPresentation": "MONOCHROME"}, ""),
        (
            {"RealWorldValueMappingSequence": units("ml/100ml/min")},
            "its RealWorldValueMappingSequence names another unit",
        ),
        ({"RealWorldValueMappingSequence": units("[hnsf'U]")}, ""),
        ({"RealWorldValueMappingSequence": [*units("[hnsf'U]"), *units("mg/ml")]}, ""),
        ({"ImageType": ["DERIVED", "SECONDARY"], "SeriesDescription": "CTP CBF"}, "it is derived, and its SeriesDescr"),
        ({"ImageType": ["DERIVED", "SECONDARY"], "SeriesDescription": "Perfusion 5.0 MPR"}, ""),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "PERFUSION"]}, ""),  # the scans that maps are calculated from
        ({"ImageType": ["ORIGINAL", "PRIMARY", "AXIAL", "CBF"]}, "its ImageType says CBF"),
        ({"ImageType": "DERIVED"}, ""),
        ({"ImageType": None}, ""),
        ({}, ""),
    ],
)
def test_other_signs_of_another_unit(elements: dict[str, Any], reason: str) -> None:
    said = why_no_hounsfield(header(**elements))
    assert said.startswith(reason) and bool(said) == bool(reason)


def test_a_derived_image_of_unspecified_unit_is_perhaps_a_map() -> None:
    for first, doubted in (("DERIVED", True), ("ORIGINAL", False)):
        made = header(ImageType=[first, "SECONDARY", "AXIAL"], RescaleType="US")
        assert why_no_hounsfield(made) == "" and bool(calculation(made)) is doubted


def test_maps_are_refused_and_projections_noted(write_series: Callable[..., Path], tmp_path: Path) -> None:
    def typed(*values: str) -> Callable[[int, Any], None]:
        def edit(index: int, dataset: Any) -> None:
            dataset.ImageType = ["DERIVED", "SECONDARY", *values]

        return edit

    write_series(tmp_path / "map", typed("AXIAL", "CBF"))
    write_series(tmp_path / "mip", typed("MIP"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        refused, noted = (examine(found) for found in find_images(tmp_path))
    assert refused.reason.endswith("expected a CT in HU but its ImageType says CBF: calculated from scans")
    assert noted.accepted and (noted.phase_hint, noted.phase_evidence) == ("unknown", "ImageType")
    assert any(
        note.endswith("its ImageType says MIP: calculated from scans; not a CT as acquired") for note in noted.warnings
    )
