from __future__ import annotations

from pydicom import Dataset

from monai_nce.data.dicom.text import clean_text, patient_words


def test_a_value_becomes_one_line_without_the_patient() -> None:
    header = Dataset()
    header.PatientName, header.PatientID, header.PatientBirthDate = "Miller^Ann^B", "4711", "19500101"
    secrets = patient_words(header)
    assert secrets == ("19500101", "Miller", "4711", "Ann")  # a single letter stands in any word
    text = clean_text("ABDOMEN\n of  mrs. MILLER,\x00 born 19500101", secrets)
    assert text == "ABDOMEN of mrs. ***, born ***"
    assert clean_text(None, secrets) == ""
    assert len(clean_text("a" * 100, ())) == 64
