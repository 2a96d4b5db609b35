"""One scan as each library holds it in memory, with the geometry set by the library's own means."""

from __future__ import annotations

from typing import Any

import itk
import nibabel as nib
import numpy as np
import SimpleITK as sitk
import torch
from monai.data import MetaTensor

KINDS = ("numpy", "nibabel", "nibabel2", "simpleitk", "itk", "metatensor", "channel", "lps")


def oblique(spacing: tuple[float, float, float] = (2.1, 2.7, 4.3), angles: tuple[float, float] = (0.3, -0.15)) -> Any:
    """An affine of a turned and tilted grid, none of whose axes or sides are alike."""
    (c, s), (d, t) = ((np.cos(angle), np.sin(angle)) for angle in angles)
    turn = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]) @ np.array([[1, 0, 0], [0, d, -t], [0, t, d]])
    affine = np.eye(4)
    affine[:3, :3] = turn * spacing
    affine[:3, 3] = (-31.5, 47.25, -112.0)
    return affine


def as_kind(kind: str, hu: np.ndarray, affine: np.ndarray) -> tuple[Any, dict[str, Any]]:
    """Return the image, and what :func:`monai_nce.enhance` is to be given with it."""
    lps = np.diag([-1.0, -1, 1, 1]) @ affine
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    if kind == "numpy":
        return hu, {"affine": affine}
    if kind.startswith("nibabel"):
        return (nib.Nifti2Image if kind.endswith("2") else nib.Nifti1Image)(hu, affine), {}
    if kind in ("metatensor", "channel", "lps"):
        tensor = MetaTensor(torch.from_numpy(hu.copy()), affine=torch.as_tensor(lps if kind == "lps" else affine))
        tensor.meta["space"] = "LPS" if kind == "lps" else "RAS"
        return tensor[None] if kind == "channel" else tensor, {}
    array = np.ascontiguousarray(hu.transpose(2, 1, 0))
    if kind == "simpleitk":
        image = sitk.GetImageFromArray(array)
        image.SetDirection((lps[:3, :3] / spacing).ravel().tolist())
    else:
        image = itk.image_from_array(array)
        image.SetDirection(itk.matrix_from_array(lps[:3, :3] / spacing))
    image.SetSpacing(spacing.tolist())
    image.SetOrigin(lps[:3, 3].tolist())
    return image, {}


def voxel(kind: str, image: Any, index: tuple[int, int, int], affine: np.ndarray) -> tuple[float, np.ndarray]:
    """Value and place in RAS millimetres of a voxel, as the image's own library tells them."""
    i, j, k = index
    if kind in ("simpleitk", "itk"):
        point = np.array(image.TransformIndexToPhysicalPoint([i, j, k]))
        value = image.GetPixel([i, j, k]) if kind == "simpleitk" else image.GetPixel(itk.Index[3]([i, j, k]))
        return float(value), point * [-1, -1, 1]
    if kind == "numpy":
        return float(image[i, j, k]), (affine @ [i, j, k, 1])[:3]
    if kind.startswith("nibabel"):
        return float(image.dataobj[i, j, k]), nib.affines.apply_affine(image.affine, [i, j, k])
    place = np.asarray(image.affine @ torch.tensor([i, j, k, 1.0], dtype=torch.float64))[:3]
    value = float(image[0, i, j, k] if kind == "channel" else image[i, j, k])
    return value, place * ([-1, -1, 1] if kind == "lps" else 1)
