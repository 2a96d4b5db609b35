from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.transforms import Compose, EnsureChannelFirstd, LoadImaged

from monai_nce.data import CTReader, LoadImageScand
from monai_nce.errors import InputError


def test_what_monais_loader_gives_in_the_order_of_the_file(tmp_path: Path) -> None:
    hu = np.random.default_rng(0).integers(-1000, 1000, (5, 6, 7)).astype(np.int16)
    affine = np.array([[-0.7, 0, 0, 12.5], [0, 0.8, 0, -3], [0, 0, 2.5, 100], [0, 0, 0, 1]])
    nib.save(nib.Nifti1Image(hu, affine), tmp_path / "a.nii.gz")
    item = {"image": str(tmp_path / "a.nii.gz"), "other": 1}
    channel = EnsureChannelFirstd("image")
    image = Compose([LoadImageScand("image"), channel])(item)["image"]
    theirs = Compose([LoadImaged("image", reader=CTReader), channel])(item)["image"]
    assert image.dtype == torch.float32 and torch.equal(image.as_tensor(), theirs.as_tensor())
    assert torch.equal(image.affine, theirs.affine) and torch.equal(image.pixdim, theirs.pixdim)
    assert image.shape == (1, 5, 6, 7) and image.stride()[1:] == (1, 5, 30)
    assert "a.nii.gz" not in str(image.meta)


def test_a_refusal_is_the_readers(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a\.nii: no such file"):
        LoadImageScand("image")({"image": str(tmp_path / "a.nii")})
