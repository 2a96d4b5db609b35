"""Write volumes as MetaImage and NRRD, by SimpleITK, for tests of what reads them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk


def save_itk(path: Path, volume: np.ndarray, affine: np.ndarray, compress: bool = False) -> Path:
    """Write a volume (H, W, D); the affine maps voxel indices to RAS millimetres."""
    image = sitk.GetImageFromArray(np.ascontiguousarray(volume.transpose(2, 1, 0)))
    lps = np.diag([-1.0, -1, 1, 1]) @ affine
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    image.SetSpacing(spacing.tolist())
    image.SetDirection((lps[:3, :3] / spacing).ravel().tolist())
    image.SetOrigin(lps[:3, 3].tolist())
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(image, str(path), compress)
    return path
