from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from benchmarks.preparation import UID_ROOT
from data_prep.archives import PRESETS, find_patients, read_pair_list
from data_prep.phases import PHASES
from monai_nce.errors import InputError
from tests.data.itk.itk_files import save_itk

Add = Callable[..., Path]


def phases(root: Path, preset: str | None = None) -> list[list[tuple[str, str]]]:
    """Phase and evidence of each patient's series."""
    return [sorted((one.phase, one.evidence) for one in series) for series in find_patients(root, preset)]


def touch_nifti(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        nib.save(nib.Nifti1Image(np.zeros((2, 2, 2), np.int16), np.eye(4)), path)


def test_c4kc_kits(add_series: Add, tmp_path: Path) -> None:
    for patient in ("KiTS-00001", "KiTS-00002"):
        for name in ("noncontrast", "arterial", "late"):
            add_series(f"C4KC-KiTS/{patient}/04-21-2000/{name}", name, patient)
        add_series(f"C4KC-KiTS/{patient}/04-21-2000/seg", "Segmentation", patient, Modality="SEG")
    add_series("C4KC-KiTS/KiTS-00003/x/venous", "venous", "KiTS-00003")  # not a name of this archive's
    one = [("arterial", "preset"), ("late", "preset"), ("nect", "preset")]
    assert phases(tmp_path / "C4KC-KiTS", "c4kc-kits") == [one, one, [("other", "")]]


def test_hcc_tace_seg(add_series: Add, tmp_path: Path) -> None:
    add_series("s/HCC_001/1/pre", "PRE LIVER", "HCC_001")
    add_series("s/HCC_001/1/3phase", "Recon 2: LIVER 3 PHASE (AP)", "HCC_001")
    add_series("s/HCC_001/1/chest", "CHEST", "HCC_001")
    assert phases(tmp_path / "s", "hcc-tace-seg") == [[("cect", "preset"), ("nect", "preset"), ("other", "")]]


def test_vindr_multiphase(add_series: Add, tmp_path: Path) -> None:
    labels = ["Non-contrast", "Aterial", "Venous", "Other"]
    for _ in labels:
        add_series("s/studies/abc", "Abdomen", "anonymous")
    table = "".join(f"{UID_ROOT}1,{UID_ROOT}1.{n},{label}\n" for n, label in enumerate(labels, start=1))
    with pytest.raises(InputError, match=r"labels\.csv: missing"):
        find_patients(tmp_path / "s", "vindr-multiphase")
    (tmp_path / "s" / "labels.csv").write_text("StudyInstanceUID,SeriesInstanceUID\n1,2\n")
    with pytest.raises(InputError, match=r"labels\.csv: expected the columns .* but has no Label"):
        find_patients(tmp_path / "s", "vindr-multiphase")
    (tmp_path / "s" / "labels.csv").write_text(f"StudyInstanceUID,SeriesInstanceUID,Label\n{table}")
    wanted = [(phase, "preset") for phase in ("arterial", "nect", "other", "portal")]
    assert phases(tmp_path / "s", "vindr-multiphase") == [wanted]


def test_waw_tace(tmp_path: Path) -> None:
    touch_nifti(*(tmp_path / f"{patient}_{phase}.nii.gz" for patient in (12, 120) for phase in range(4)))
    touch_nifti(tmp_path / "12_mask.nii.gz")
    wanted = [(phase, "preset") for phase in ("arterial", "late", "nect", "portal")]
    assert phases(tmp_path, "waw-tace") == [wanted, wanted, [("other", "")]]


def test_coltea_lung(add_series: Add, tmp_path: Path) -> None:
    for folder in ("001", "002"):
        for name in ("native", "arterial", "venous"):
            add_series(f"s/{folder}/{name}", "Thorax", patient="")
    wanted = [(phase, "preset") for phase in ("arterial", "nect", "portal")]
    assert phases(tmp_path / "s", "coltea-lung") == [wanted, wanted]


def test_general_patterns_in_dicom(add_series: Add, tmp_path: Path) -> None:
    add_series("s/1", "Abdomen nativ", "A", study=1)
    add_series("s/2", "Abdomen portalvenös", "A", study=1)
    add_series("s/3", "Abdomen", "A", study=2, ContrastBolusAgent="Iomeprol")
    add_series("s/4", "VNC", "A", study=2)
    add_series("s/5", "sans injection", "B", study=3)
    add_series("s/6", "Localizer", "B", study=3)
    assert phases(tmp_path / "s") == [
        [("cect", "tags"), ("nect", "description"), ("other", "description"), ("portal", "description")],
        [("nect", "description"), ("unknown", "")],
    ]


def test_without_patient_id_the_study_is_the_patient(add_series: Add, tmp_path: Path) -> None:
    for study in (1, 2):
        for name in ("nativ", "portal"):
            add_series(f"s/{study}{name}", name, patient=" ", study=study)
    assert [len(series) for series in find_patients(tmp_path / "s")] == [2, 2]


@pytest.mark.parametrize(
    "names",
    [
        ("p1/nativ.nii.gz", "p1/portal.nii.gz", "p2/nativ.nii.gz", "p2/portal.nii.gz"),
        ("nect/p1.nii", "cect portal/p1.nii", "nect/p2.nii", "cect portal/p2.nii"),
        ("p1_nect.nii", "p1_portal.nii", "p2_nect.nii", "p2_portal.nii"),
    ],
)
def test_general_patterns_in_nifti(names: tuple[str, ...], tmp_path: Path) -> None:
    touch_nifti(*(tmp_path / name for name in names))
    assert phases(tmp_path) == [[("nect", "name"), ("portal", "name")]] * 2


def test_files_of_itk_are_named_as_nifti_files_are(tmp_path: Path) -> None:
    for patient, suffix in (("p1", ".mha"), ("p2", ".nrrd")):
        for name in ("nativ", "portalvenous"):
            save_itk(tmp_path / patient / f"{name}{suffix}", np.zeros((2, 3, 4), np.int16), np.eye(4))
    assert phases(tmp_path) == [[("nect", "name"), ("portal", "name")]] * 2


def test_another_archive_is_told(add_series: Add, tmp_path: Path) -> None:
    add_series("s/1", "Leber nativ")
    with pytest.raises(InputError, match="no series is named as in c4kc-kits"):
        find_patients(tmp_path / "s", "c4kc-kits")
    (tmp_path / "empty").mkdir()
    with pytest.raises(
        InputError, match="expected CT series or files but holds neither NIfTI, MetaImage, NRRD nor DICOM"
    ):
        find_patients(tmp_path / "empty")


def test_tables_name_known_phases() -> None:
    for preset in PRESETS.values():
        assert set(preset.phases.values()) <= set(PHASES)


def write(path: Path, *rows: str) -> Path:
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return path


def test_paths_and_series_uids(add_series: Add, tmp_path: Path) -> None:
    add_series("s/1", "one")
    add_series("s/2", "two")
    add_series("beside/a", "three")
    path = write(
        tmp_path / "list.csv",
        "\ufeffPatient;NECT;CECT;phase",
        f"B;{UID_ROOT}1.1;{UID_ROOT}1.2;late",
        "A;beside/a;s/2;",
        ";;;",
        f"B;s/1;{tmp_path}/none;",
    )
    (first,), (second, third) = read_pair_list(path, tmp_path / "s")
    assert first.series is not None and second.series is not None
    assert [(one.volume.description, one.phase, one.evidence) for one in first.series] == [
        ("three", "nect", "csv"),
        ("two", "cect", "csv"),
    ]
    assert [(one.volume.description, one.phase) for one in second.series] == [("one", "nect"), ("two", "late")]
    assert third.series is None and third.problem.startswith("row 5: cect: ") and "no such file" in third.problem


def test_several_volumes_in_a_folder_are_no_cell(add_series: Add, tmp_path: Path) -> None:
    add_series("s/1")
    add_series("s/2")
    ((row,),) = read_pair_list(write(tmp_path / "list.csv", "patient,nect,cect", "A,s,s/2"))
    assert row.series is None and row.problem.endswith("expected one volume but found 2")


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (("patient,nect", "a,b"), "has no cect"),
        (("patient,nect,cect",), "holds no row"),
        (("patient,nect,cect", "secret,b,"), "row 2 has no cect"),
        (("patient,nect,cect", ",b,c"), "row 2 has no patient"),
        (("patient,nect,cect,phase", "secret,b,c,venous"), "row 2: expected as phase portal, cect, late, arterial"),
        (("",), "has no patient and nect and cect"),
    ],
)
def test_a_bad_list_is_one_line_without_patients(rows: tuple[str, ...], message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message) as error:
        read_pair_list(write(tmp_path / "list.csv", *rows))
    assert "secret" not in str(error.value)


def test_no_list(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_pair_list(tmp_path / "none.csv")
    with pytest.raises(InputError, match="not a readable CSV"):
        read_pair_list(tmp_path)
    (tmp_path / "x.csv").write_bytes(b"patient,nect,cect\n\xff,b,c\n")
    with pytest.raises(InputError, match="not a readable CSV"):
        read_pair_list(tmp_path / "x.csv")
