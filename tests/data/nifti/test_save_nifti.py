from __future__ import annotations

from pathlib import Path
from typing import Any, BinaryIO

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from monai_nce.data import Provenance, SaveImageNiftid
from monai_nce.errors import InputError

AFFINE = np.array([[0.0, -0.8, 0.1, 12.5], [0.7, 0, 0, -30], [0, 0.05, 3, 7], [0, 0, 0, 1]])


def volume(*values: float) -> MetaTensor:
    hu = torch.arange(2 * 3 * 4, dtype=torch.float32).reshape(1, 2, 3, 4)
    hu.flatten()[: len(values)] = torch.tensor(values)
    return MetaTensor(hu, affine=AFFINE)


def test_volume_affine_and_what_the_file_says(tmp_path: Path) -> None:
    given = volume()
    path = tmp_path / "new" / "a_synthetic_cect.nii.gz"
    data = {"pred": given, "output": str(path), "other": 1}
    result = SaveImageNiftid("pred")(data)
    assert result == data and result["pred"] is given
    image = nib.load(path)
    assert image.get_data_dtype() == np.int16 and image.shape == (2, 3, 4)
    np.testing.assert_array_equal(np.asarray(image.dataobj), given[0].numpy())
    np.testing.assert_allclose(image.affine, AFFINE, atol=1e-6)
    assert bytes(image.header["descrip"].item()).startswith(b"SYNTHETIC")
    assert b"research only" in bytes(image.header["descrip"].item())
    assert image.header.get_xyzt_units()[0] == "mm"


def test_values_are_rounded_and_clipped(tmp_path: Path) -> None:
    SaveImageNiftid("pred", output_key="to", description="SYNTHETIC x")(
        {"pred": volume(-0.6, 0.4, 1.6, 40000.0, -50000.0), "to": tmp_path / "a.nii"}
    )
    image = nib.load(tmp_path / "a.nii")
    assert np.asarray(image.dataobj).flatten()[:5].tolist() == [-1, 0, 2, 32767, -32768]
    assert image.header["descrip"].item() == b"SYNTHETIC x; research only"


def test_nan_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="expected finite HU"):
        SaveImageNiftid("pred")({"pred": volume(float("nan")), "output": tmp_path / "a.nii.gz"})
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.nii.gz"
    SaveImageNiftid("pred")({"pred": volume(), "output": path})
    old = path.read_bytes()

    def half(image: Any, file: BinaryIO) -> None:
        file.write(old[:50])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(nib.Nifti1Image, "to_stream", half)
    with pytest.raises(InputError, match=r"a\.nii\.gz: cannot be written: No space left"):
        SaveImageNiftid("pred")({"pred": volume(5.0), "output": path})
    assert path.read_bytes() == old
    assert [file.name for file in tmp_path.iterdir()] == ["a.nii.gz"]


@pytest.mark.parametrize("shape", [(2, 3, 4), (2, 2, 3, 4), (1, 1, 2, 3, 4)])
def test_other_shapes_are_refused(tmp_path: Path, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"expected a volume of shape \(1, H, W, D\)"):
        SaveImageNiftid("pred")({"pred": MetaTensor(torch.zeros(shape)), "output": tmp_path / "a.nii.gz"})
    assert list(tmp_path.iterdir()) == []


def test_missing_keys(tmp_path: Path) -> None:
    with pytest.raises(KeyError):
        SaveImageNiftid("pred")({"output": tmp_path / "a.nii.gz"})
    assert SaveImageNiftid("pred", allow_missing_keys=True)({"image": 1}) == {"image": 1}


PHANTOM = {"name": "monai-nce phantom", "kind": "phantom", "patients": 15, "scans": 30}
VIRTUAL = {"name": "monai-nce virtual", "kind": "virtual", "patients": 120, "scans": 240}
REAL = {"name": "café", "kind": "real", "patients": 3, "scans": 3}
ASKED, CT, LONG = "SYNTHETIC CECT by monai-nce", "SYNTHETIC CECT from NECT by monai-nce", "SYNTHETIC " + "x" * 90


@pytest.mark.parametrize(
    ("description", "provenance", "said"),
    [
        (CT, None, f"{CT}; research only"),
        (CT, Provenance(None), f"{CT}; research only"),
        (CT, Provenance([{"name": "mine"}]), f"{CT}; research only"),
        (CT, Provenance([VIRTUAL, REAL]), f"{CT}, trained on virtual+real; research only"),
        (CT, Provenance([PHANTOM], "phantom"), f"{CT}, trained on phantoms; research only"),
        (CT, Provenance([PHANTOM]), f"{CT}, trained on PHANTOMS ALONE; research only"),
        (CT, Provenance([PHANTOM, VIRTUAL, REAL]), f"{CT}, trained on phantoms+virtual+real"),
        (LONG, Provenance([PHANTOM]), f"{LONG[:52]}, trained on PHANTOMS ALONE"),
        (LONG, None, LONG[:79]),
        (ASKED, Provenance([VIRTUAL], None, "portal", 1.3), f"{ASKED}, portal, level 1.3, trained on virtual"),
        (
            ASKED,
            Provenance([VIRTUAL, REAL], None, "arterial", 1.25),
            f"{ASKED}, arterial, level 1.25, trained on virtual+real",
        ),
        (ASKED, Provenance(None, None, None, 0.7), f"{ASKED}, level 0.7; research only"),
    ],
)
def test_the_header_says_what_the_weights_learnt_from(
    tmp_path: Path, description: str, provenance: Provenance | None, said: str
) -> None:
    data = {"pred": volume(), "output": tmp_path / "a.nii.gz"}
    data |= {} if provenance is None else {"provenance": provenance}
    SaveImageNiftid("pred", description=description)(data)
    image = nib.load(tmp_path / "a.nii.gz")
    assert image.header["descrip"].item().decode() == said and len(said) <= 79
    np.testing.assert_array_equal(np.asarray(image.dataobj), data["pred"][0].numpy())
    (comment,) = image.header.extensions
    text = comment.text.rstrip("\0")
    assert comment.get_code() == 6  # "comment" in nifti1.h
    provenance = provenance or Provenance()
    begin = " ".join(filter(None, (f"{description}.", provenance.request, "Weights trained on")))
    assert text.startswith(f"{begin} {provenance.trained_on}.")
    assert text.endswith("Research use only, not for diagnosis.")
    assert ("trained on phantoms alone" in text) == ("PHANTOMS ALONE" in said)
