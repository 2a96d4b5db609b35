from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import Dataset

from monai_nce.data.scans.contrast_tags import contrast_elements, phase_from_contrast


@pytest.mark.parametrize(
    ("elements", "phase"),
    [
        ({}, "unknown"),
        ({"ContrastBolusAgent": "NON IONIC"}, "cect"),
        ({"ContrastBolusAgent": "APPLIED"}, "cect"),
        ({"ContrastBolusAgent": "Omnipaque 350"}, "cect"),
        ({"ContrastBolusAgent": "ORAL & IV"}, "cect"),
        ({"ContrastBolusAgent": "IODINE", "ContrastBolusVolume": "90"}, "cect"),
        ({"ContrastBolusStartTime": "101112.5"}, "cect"),
        ({"ContrastBolusAgent": "NONE"}, "nect"),
        ({"ContrastBolusAgent": "no"}, "nect"),
        ({"ContrastBolusAgent": "N/A"}, "nect"),
        ({"ContrastBolusAgent": "without contrast"}, "nect"),
        ({"ContrastBolusAgent": "NO CONTRAST", "ContrastBolusVolume": "0"}, "nect"),
        ({"ContrastBolusAgent": "ohne"}, "nect"),
        ({"ContrastBolusAgent": "ORAL"}, "unknown"),
        ({"ContrastBolusVolume": "0.0"}, "unknown"),
        ({"ContrastBolusAgent": "NONE", "ContrastBolusVolume": "90"}, "unknown"),
        ({"ContrastBolusAgent": "Gastrografin, ohne i.v."}, "nect"),
        ({"ContrastBolusAgent": "ORAL, no IV"}, "nect"),
        ({"ContrastBolusAgent": "No oral, Omnipaque 350 IV"}, "cect"),
        ({"ContrastBolusAgent": "Oral Omnipaque"}, "unknown"),
        ({"ContrastBolusAgent": "ORAL + OMNIPAQUE 350"}, "cect"),
        ({"ContrastBolusAgent": "Omnipaque", "ContrastBolusRoute": "ORAL"}, "unknown"),
        ({"ContrastBolusAgent": "Omnipaque", "ContrastBolusRoute": "IV"}, "cect"),
        ({"ContrastBolusAgent": "Omnipaque", "ContrastBolusAgentAdministered": "NO"}, "nect"),
        ({"ContrastBolusAgentAdministered": "YES"}, "cect"),
        ({"ContrastBolusIngredient": "CARBON DIOXIDE"}, "unknown"),
    ],
)
def test_tags(elements: dict[str, str], phase: str) -> None:
    assert phase_from_contrast(tuple(elements.items())) == phase


ORAL = (
    "water",
    "Wasser",
    "Gastrografin",
    "Readi-Cat 2",
    "E-Z-CAT",
    "Barium sulfate 2.1% w/v",
    "VoLumen",
    "Telebrix Gastro",
)


@given(
    st.sampled_from([*ORAL, "MD-Gastroview", "oral", "Omnipaque PO", "air", "CO2"]),
    st.sampled_from(["", " 500 ml", " 1000 cc", ", oral", " per os"]),
    st.booleans(),
)
@settings(max_examples=100)
def test_what_is_given_into_the_gut_says_nothing(agent: str, more: str, upper: bool) -> None:
    """Nor do its volume, time and ingredient."""
    text = (agent + more).upper() if upper else agent + more
    elements = [("ContrastBolusAgent", text), ("ContrastBolusVolume", "900"), ("ContrastBolusStartTime", "1010")]
    assert phase_from_contrast(elements) == "unknown"
    assert phase_from_contrast([*elements, ("ContrastBolusIngredient", "IODINE")]) == "unknown"
    assert phase_from_contrast([("ContrastBolusAgent", f"{text} and Ultravist 370 iv")]) == "cect"


def item(**elements: Any) -> Dataset:
    dataset = Dataset()
    for keyword, value in elements.items():
        setattr(dataset, keyword, value)
    return dataset


def agent(name: str, *routes: str) -> Dataset:
    coded = [item(CodeMeaning=route) for route in routes]
    return item(CodeMeaning=name, ContrastBolusAdministrationRouteSequence=coded)


@pytest.mark.parametrize(
    ("header", "phase"),
    [
        (item(ContrastBolusAgentSequence=[agent("Iohexol")]), "cect"),
        (item(ContrastBolusAgentSequence=[agent("Iohexol", "Intravenous route")]), "cect"),
        (item(ContrastBolusAgentSequence=[agent("Iohexol, 300 mg/ml", "Oral route")]), "unknown"),
        (item(ContrastBolusAgentSequence=[agent("Iohexol", "Oral route"), agent("Iopamidol")]), "cect"),
        (item(ContrastBolusAgentSequence=[item(CodeValue="C-B0322")]), "cect"),
        (item(ContrastBolusAgentSequence=[agent("None")]), "nect"),
        (
            item(ContrastBolusAgent="Iohexol", ContrastBolusAdministrationRouteSequence=[item(CodeMeaning="Oral")]),
            "unknown",
        ),
        (
            item(
                ContrastBolusAgentSequence=[agent("Iohexol")],
                SharedFunctionalGroupsSequence=[
                    item(ContrastBolusUsageSequence=[item(ContrastBolusAgentAdministered="NO")])
                ],
            ),
            "nect",
        ),
        (item(ContrastBolusAgent="", ContrastBolusVolume=None), "unknown"),
    ],
)
def test_coded_agents_and_routes(header: Dataset, phase: str) -> None:
    assert phase_from_contrast(contrast_elements(header)) == phase
