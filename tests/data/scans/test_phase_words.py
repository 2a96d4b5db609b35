from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monai_nce.data.scans.phase_words import phase_from_text

TEXTS = {
    "nect": [
        "noncontrast", "Non-Contrast", "NON CONTRAST", "CT ABD AND PELVIS WO IV CONT",
        "5.3 CHEST/ABD/PEL (NON CONTRAST)",
        "ABD W/O", "Abdomen w/o contrast", "without IV contrast", "unenhanced", "Nativ 3.0", "Leber nativ", "native",
        "ohne KM", "Abdomen o. KM", "ohne Kontrastmittel", "sans injection", "SANS IV",
        "Abdo sans produit de contraste",
        "non injecté", "Spontané", "precontrast", "PRE LIVER", "pre", "ABD C- 5.0", "NC", "plain",
        "ohne i.v. KM", "Abdomen_nativ_2.0_B30f", "avant injection", "native, oral contrast",
        "NONCON", "NON CON", "PRE CON", "-C", "Chest HCT 5mm  -C", "C(-)", "KM-frei", "Kontrastlos", "KM-", "IV-",
        "Abdomen KM frei", "contrast free", "Non \\Contrast", "w/out contrast", "W/0 CONTRAST", "CT HEAD W.O. CON",
        "W/O C", "without oral or iv contrast", "no IV contrast, oral contrast", "oral contrast only", "nur orales KM",
        "CT ABD PELVIS WO IV CON W ORAL CON", "KM: keins", "contrast: none", "contrast not given", "pas d'injection",
        "absence de contraste", "sin contraste", "senza mdc", "sem contraste", "zonder contrast", "unkontrastiert",
        "vor KM", "before contrast", "ABD PRE", "PRE 5.0", "ohne i.v.-KM", "ohne Kontrastmittelgabe", "s/ contraste",
    ],
    "cect": [
        "arterial", "ARTERIAL PHASE", "artériel", "arteriell", "Abdomen portal", "portalvenös 3mm",
        "Portal Venous",
        "late", "Spät", "SPAETPHASE", "temps tardif", "Delayed", "nephrographic", "mit KM", "nach KM",
        "Abdomen KM",
        "avec injection", "après injection", "W IV CONTRAST", "w/ contrast", "ABD C+", "post contrast", "enhanced",
        "CTA Aorta", "CT CHEST PULMONARY ANGIO WITH IV CON", "FDG_TK_KM", "venös", "veineux", "temps portal",
        "5.9 PE<200 LBS/ 90 KG 4 CC/SEC INJECTION RATE", "Abdomen_portalvenoes_1.0",
        "Body 1.0 CE", "+C", "Abdomen+C", "C(+)", "KM+", "IV+", "with C", "post con", "POST 5.0", "ABD POST", "w iv",
        "with oral and iv contrast", "with iv, no oral contrast", "con contraste", "con mdc", "mit i.v.-KM", "CECT",
    ],
    "unknown": [
        "", "STANDARD 2.5mm", "CHEST 1.25 MM", "CT Body 3.0", "template", "PLATE FIXATION", "spatial", "alternative",
        "W WO CONTRAST", "CT ABDOMEN W AND WO CONTRAST", "nativ + portal", "oral contrast", "PRE OP PLANNING", "NCE",
        "Recon 2: LIVER", "Topogram", "Kontrolle", "pancreas", "contrary", "injury", "Nativity hospital",
        "CT ANGIO ABD PELVIS WWO IV CONT", "WWO CONTRAST", "W & W/O", "W/O & W/", "W+W/O CONTRAST", "C-/C+",
        "sans puis avec injection", "sans IV puis avec IV", "avant et après injection", "ohne und mit KM", "m/o KM",
        "vor und nach KM", "pre and post contrast", "PRE/POST", "sin y con contraste", "senza e con mdc",
        "non injecté puis injecté", "with oral contrast", "W GASTROGRAFIN", "angiomyolipoma", "CT C-SPINE",
        "C - SPINE", "WITHOUT ORAL CONTRAST", "W/ C-SPINE",
    ],
}  # fmt: skip


@pytest.mark.parametrize(("phase", "text"), [(phase, text) for phase, texts in TEXTS.items() for text in texts])
def test_descriptions(phase: str, text: str) -> None:
    assert phase_from_text(text) == phase


def one_of(*words: str) -> st.SearchStrategy[str]:
    return st.sampled_from(words)


WHERE = one_of("", "Abdomen", "CT CHEST", "5.3 ABD/PEL", "Leber 3.0 B30f", "TAP", "CT ABD AND PELVIS")
ENGLISH = one_of("contrast", "IV contrast", "CON", "i.v. contrast", "IV CONT", "CE", "contrast enhancement")
GERMAN = one_of("KM", "Kontrastmittel", "i.v. KM", "Kontrast")
FRENCH = one_of("injection", "contraste", "PDC", "produit de contraste")
WITHOUT = st.one_of(
    st.tuples(one_of("without", "w/o", "W/O", "wo", "no", "w/out"), ENGLISH),
    st.tuples(one_of("ohne", "kein", "vor"), GERMAN),
    st.tuples(one_of("sans", "avant", "pas de"), FRENCH),
).map(" ".join)
WITH = st.one_of(
    st.tuples(one_of("with", "w/", "w", "after"), ENGLISH),
    st.tuples(one_of("mit", "nach"), GERMAN),
    st.tuples(one_of("avec", "après"), FRENCH),
).map(" ".join)


@given(WHERE, WITHOUT, WHERE, one_of(" ", "_", ", ", " - "), st.booleans())
@settings(max_examples=150)
def test_words_of_negation(before: str, said: str, after: str, between: str, upper: bool) -> None:
    text = between.join(filter(None, (before, said, after)))
    assert phase_from_text(text.upper() if upper else text) == "nect"


@given(WHERE, WITH, WHERE, one_of(" ", "_", ", ", " - "), st.booleans())
@settings(max_examples=150)
def test_words_of_contrast_medium(before: str, said: str, after: str, between: str, upper: bool) -> None:
    text = between.join(filter(None, (before, said, after)))
    assert phase_from_text(text.upper() if upper else text) == "cect"


@given(WHERE, WITHOUT, one_of("and", "/", "puis", "und", "&", "then"), WITH, st.booleans())
@settings(max_examples=150)
def test_both_say_nothing(where: str, without: str, link: str, with_: str, swapped: bool) -> None:
    parts = (with_, without) if swapped else (without, with_)
    assert phase_from_text(f"{where} {parts[0]} {link} {parts[1]}") == "unknown"


@given(WHERE, WITHOUT, one_of("oral contrast", "with oral contrast", "orales KM", "rectal contrast", "PO contrast"))
@settings(max_examples=100)
def test_what_is_in_the_gut_is_set_aside(where: str, without: str, gut: str) -> None:
    assert phase_from_text(f"{where}, {gut}") == "unknown"
    assert phase_from_text(f"{without}, {gut} {where}") == phase_from_text(f"{gut}, {without}") == "nect"
