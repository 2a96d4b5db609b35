"""Take scans as other libraries hold them in memory, and give results back as the same kind of image on the same grid.

Each library says in its own way where voxels lie: nibabel and MONAI by an affine to RAS millimetres, ITK and SimpleITK
by origin, spacing and direction in LPS, and their arrays have the axes in the opposite order. A NumPy array says
nothing of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import nibabel as nib
import numpy as np
import SimpleITK as sitk
import torch
from monai.data import MetaTensor
from monai.utils import MetaKeys, SpaceKeys
from nibabel.spatialimages import SpatialImage
from numpy.typing import ArrayLike

from monai_nce.data.itk.reader import ras_affine
from monai_nce.data.nifti.reader import UNREADABLE, check_header
from monai_nce.data.nifti.writer import as_int16_hu, nifti_image
from monai_nce.data.scans.affine import check_affine
from monai_nce.data.scans.reader import IMAGE
from monai_nce.data.scans.synthetic import refuse_synthetic
from monai_nce.errors import InputError

__all__ = ["KINDS_IN_MEMORY", "ScanInMemory", "take_scan"]

KINDS_IN_MEMORY = "a NumPy array with affine=, or an image of nibabel, SimpleITK, ITK or MONAI (MetaTensor)"
NOTES = "ITK_FileNotes"  # what ITK writes as a NIfTI header's descrip, and as a field of other headers
DESCRIP = "descrip"  # MONAI's key for a NIfTI header's
RAS = np.diag([-1.0, -1.0, 1.0, 1.0])  # from LPS
Back = Callable[[np.ndarray, str, str], Any]


@dataclass(frozen=True)
class ScanInMemory:
    """Hold a scan that a program gave.

    Attributes:
        volume: (H, W, D), with the affine from voxel indices to RAS millimetres.
        whole: whether whole numbers were given; results are int16 then, else float32.
        back: makes an image of the kind that was given, of values (H, W, D) and two texts.
    """

    volume: MetaTensor
    whole: bool
    back: Back

    def like(self, volume: np.ndarray, description: str = "", comment: str = "") -> Any:
        """Make an image of the kind that was given, on its grid, that says what it is as far as the kind can.

        Args:
            volume: (H, W, D) in HU.
            description: at most 79 characters of ASCII.
            comment: longer, for nibabel.
        """
        return self.back(as_int16_hu(volume) if self.whole else volume.astype(np.float32), description, comment)


def take_scan(image: Any, affine: ArrayLike | None = None) -> ScanInMemory:
    """Take a scan as NumPy, nibabel, SimpleITK, ITK or MONAI hold it; its values are not checked yet.

    Args:
        image: of three dimensions, real numbers. An image of nibabel may have further dimensions of length 1, a
            MetaTensor a channel in front.
        affine: 4×4 matrix from voxel indices to RAS millimetres, of a NumPy array, and of nothing else.

    Raises:
        InputError: for another kind, a volume of other dimensions or numbers, an array without affine, a geometry that
            cannot be in millimetres, or an image that says that it is synthetic already.
    """
    if isinstance(image, np.ndarray):
        return _array(image, affine)
    if affine is not None:
        raise InputError("affine: expected with a NumPy array alone: other images say themselves where voxels lie")
    if isinstance(image, MetaTensor):
        return _meta_tensor(image)
    if isinstance(image, SpatialImage):
        return _nibabel(image)
    if isinstance(image, sitk.Image):
        return _simple_itk(image)
    if type(image).__module__.partition(".")[0] == "itk" and hasattr(image, "GetLargestPossibleRegion"):
        return _itk(image)
    raise InputError(f"image: expected a path, {KINDS_IN_MEMORY}, but got {type(image).__name__}")


def _scan(
    values: np.ndarray, affine: np.ndarray, back: Back, texts: Iterable[Any] = (), whole: bool = False
) -> ScanInMemory:
    """Check shape and kind of numbers, texts and affine."""
    shape = values.shape
    if len(shape) < 3 or any(size != 1 for size in shape[3:]) or min(shape) < 1:
        raise InputError(f"image: expected one three-dimensional volume but got shape {shape}")
    if values.dtype.kind not in "iuf":
        raise InputError(f"image: expected real numbers but got data of type {values.dtype}")
    if any("SYNTHETIC" in str(text) for text in texts):
        refuse_synthetic(IMAGE, "its header says so")
    check_affine(IMAGE, affine)
    volume = np.array(values.reshape(shape[:3]), np.float32, order="F")
    tensor = MetaTensor(torch.from_numpy(volume), affine=torch.from_numpy(affine))
    return ScanInMemory(tensor, whole or values.dtype.kind in "iu", back)


def _array(array: np.ndarray, affine: ArrayLike | None) -> ScanInMemory:
    if affine is None:
        raise InputError(
            "affine: expected with a NumPy array, which does not say where its voxels lie: a 4×4 matrix from voxel "
            "indices to RAS millimetres"
        )
    try:
        matrix = np.array(affine, dtype=np.float64)
    except (TypeError, ValueError):
        matrix = np.empty(0)
    if matrix.shape != (4, 4) or not np.array_equal(matrix[3], [0, 0, 0, 1]):
        raise InputError("affine: expected a 4×4 matrix from voxel indices to RAS millimetres, with 0 0 0 1 below")
    if array.ndim != 3:
        raise InputError(f"image: expected an array of three dimensions but got shape {array.shape}")
    return _scan(array, matrix, lambda values, *_: values)


def _meta_tensor(image: MetaTensor) -> ScanInMemory:
    channel = image.ndim == 4 and image.shape[0] == 1
    if not (channel or image.ndim == 3):
        raise InputError(f"image: expected (H, W, D) or (1, H, W, D) but got shape {tuple(image.shape)}")
    plain = image.detach().cpu().as_tensor()
    plain = plain.float() if plain.dtype is torch.bfloat16 else plain  # NumPy has none, and float32 holds all of it
    values = (plain[0] if channel else plain).resolve_neg().numpy()
    affine = np.asarray(image.affine.cpu(), np.float64)
    if affine.shape != (4, 4):
        raise InputError(f"image: expected an affine of 4×4 but got {' × '.join(map(str, affine.shape))}")
    if image.meta.get(MetaKeys.SPACE) == SpaceKeys.LPS:
        affine = RAS @ affine

    def back(volume: np.ndarray, description: str, _: str) -> MetaTensor:
        tensor = torch.from_numpy(volume).to(image.device)
        made = MetaTensor(tensor[None] if channel else tensor).copy_meta_from(image)
        made.meta = {**made.meta, DESCRIP: description}
        return made

    return _scan(values, affine, back, [image.meta.get(key, "") for key in (DESCRIP, NOTES)])


def _nibabel(image: SpatialImage) -> ScanInMemory:
    if isinstance(image, nib.Nifti1Pair):
        check_header(IMAGE, image, image.header)
    if image.affine is None:
        raise InputError("image: has no orientation (its affine is None)")
    if image.get_data_dtype().kind not in "iuf":
        raise InputError(f"image: expected real numbers but got data of type {image.get_data_dtype()}")
    try:
        values = image.get_fdata(dtype=np.float32, caching="unchanged")
    except UNREADABLE as error:
        raise InputError("image: the file behind it is truncated or damaged") from error
    affine = np.array(image.affine, np.float64)
    kind = nib.Nifti2Image if isinstance(image, nib.Nifti2Pair) else nib.Nifti1Image

    def back(volume: np.ndarray, description: str, comment: str) -> nib.Nifti1Image:
        return kind.from_image(nifti_image(volume.reshape(image.shape), affine, description, comment))

    return _scan(values, affine, back, whole=image.get_data_dtype().kind in "iu")


def _simple_itk(image: sitk.Image) -> ScanInMemory:
    _check_itk(image.GetDimension(), image.GetNumberOfComponentsPerPixel())
    affine = ras_affine(image.GetDirection(), image.GetSpacing(), image.GetOrigin())

    def back(volume: np.ndarray, description: str, _: str) -> sitk.Image:
        made = sitk.GetImageFromArray(np.ascontiguousarray(volume.T))
        made.CopyInformation(image)
        made.SetMetaData(NOTES, description)
        return made

    texts = [image.GetMetaData(key) for key in image.GetMetaDataKeys()]
    return _scan(sitk.GetArrayFromImage(image).T, affine, back, texts)


def _itk(image: Any) -> ScanInMemory:
    import itk

    _check_itk(image.GetImageDimension(), image.GetNumberOfComponentsPerPixel())
    # of a region that was cut out, the first voxel's index is not 0
    origin = list(image.TransformIndexToPhysicalPoint(image.GetBufferedRegion().GetIndex()))
    affine = ras_affine(itk.array_from_matrix(image.GetDirection()), list(image.GetSpacing()), origin)

    def back(volume: np.ndarray, description: str, _: str) -> Any:
        made = itk.image_from_array(np.ascontiguousarray(volume.T))
        made.SetSpacing(image.GetSpacing())
        made.SetDirection(image.GetDirection())
        made.SetOrigin(origin)
        made[NOTES] = description
        return made

    return _scan(itk.array_from_image(image).T, affine, back, dict(image).values())


def _check_itk(dimensions: int, components: int) -> None:
    if (dimensions, components) != (3, 1):
        raise InputError(
            f"image: expected one three-dimensional volume but got {dimensions} dimensions, {components} values a voxel"
        )
