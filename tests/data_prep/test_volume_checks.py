from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from data_prep.messages import MessageLog
from data_prep.volume_checks import VolumeChecks
from monai_nce.data.scans.found import FoundVolume
from monai_nce.errors import InputError
from monai_nce.phantom.patient import make_phantom_patient

Output = pytest.CaptureFixture[str]
PATIENT = make_phantom_patient(0, size=48, slices=8)


def nifti(name: str) -> FoundVolume:
    return FoundVolume("nifti", Path(name), (Path(name),))


def test_swapped_kinds_are_warned_of_one_by_one_and_together(capsys: Output) -> None:
    checks, patient = VolumeChecks(MessageLog("")), PATIENT
    checks.note("pair_000", "source", nifti("a.nii"), patient.cect, patient.affine)
    checks.note("pair_000", "target", nifti("b.nii"), patient.nect, patient.affine)
    checks.sum_up({"pair_000": "pair_000"})
    assert capsys.readouterr().err.splitlines() == [
        "warning: a.nii: given as NECT but seems to be a CECT, by its image",
        "warning: b.nii: given as CECT but seems to be a NECT, by its image",
        "warning: 1 of 1 NECT and 1 of 1 CECT seem to be the other kind: are they given the wrong way round?",
    ]


def test_the_right_way_round_nothing_is_said(capsys: Output) -> None:
    checks, patient = VolumeChecks(MessageLog("")), PATIENT
    checks.note("pair_000", "source", nifti("a.nii"), patient.nect, patient.affine)
    checks.note("pair_000", "target", nifti("b.nii"), patient.cect, patient.affine)
    checks.sum_up({"pair_000": "pair_000"})
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("role", "found", "said"),
    [
        ("source", nifti("p1_portal.nii.gz"), "p1_portal.nii.gz: given as NECT but seems to be a CECT, by its name"),
        ("target", nifti("p1_nativ.nii"), "p1_nativ.nii: given as CECT but seems to be a NECT, by its name"),
        ("target", nifti("p1_portal.nii"), ""),
        ("source", nifti("venice.nii"), ""),
        (
            "source",
            FoundVolume("dicom", Path("s"), (), "CT", "arterial"),
            "s: given as NECT but seems to be a CECT, by its SeriesDescription",
        ),
        (
            "target",
            FoundVolume("dicom", Path("s"), (), "CT", calculated="its ImageType says MIP"),
            "s: its ImageType says MIP; not a CT as acquired",
        ),
    ],
)
def test_headers_and_names_tell_where_images_do_not(role: str, found: FoundVolume, said: str, capsys: Output) -> None:
    VolumeChecks(MessageLog("")).note("x_000", role, found, np.zeros((4, 4, 2), np.float32), np.eye(4))
    assert capsys.readouterr().err == (f"warning: {said}\n" if said else "")


def test_one_image_in_both_roles_is_refused_and_one_given_twice_told(capsys: Output) -> None:
    checks, volume = VolumeChecks(MessageLog("")), np.zeros((4, 4, 2), np.float32)
    checks.note("nect_000", "source", nifti("a.nii"), volume, np.eye(4))
    checks.note("nect_001", "source", nifti("b.nii.gz"), volume, np.eye(4))
    with pytest.raises(InputError, match="c.nii: the same image as a.nii, which can't be NECT and CECT at once"):
        checks.note("cect_000", "target", nifti("c.nii"), volume, np.eye(4))
    assert checks.images["nect_000"] == checks.images["nect_001"]
    checks.sum_up({"nect_000": "nect_000", "nect_001": "nect_000"})
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("notice: 1 of 2 patients are persons that come twice, or the same image")
