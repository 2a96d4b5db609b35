"""Read a volume from a file or folder, or refuse it with the reason.

CT is in Hounsfield units: values are finite, can be HU, and anything below air (padding such as -3024) becomes -1024.
MR has no unit, so it is scaled as :mod:`monai_nce.transforms.mri_intensity` says.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.data import ImageReader, MetaTensor
from monai.utils import MetaKeys, SpaceKeys, ensure_tuple

from monai_nce.data.dicom.files import is_dicom
from monai_nce.data.dicom.reader import DicomSource, check_dicom, one_series, read_dicom
from monai_nce.data.scans.affine import check_affine
from monai_nce.data.scans.file_tree import ReaderWarning
from monai_nce.data.scans.foreign import first_advice
from monai_nce.data.scans.formats import check_file, is_volume_name, kind_of, read_file
from monai_nce.data.scans.found import FoundVolume, find_images
from monai_nce.data.scans.hounsfield import why_not_hounsfield
from monai_nce.errors import InputError
from monai_nce.modality import CT, MR, modality_of
from monai_nce.transforms.mri_intensity import FULL_SCALE, full_scale

__all__ = [
    "AIR_HU",
    "CT",
    "IMAGE",
    "IN_MEMORY",
    "MR",
    "CTReader",
    "check_mri",
    "check_volume",
    "find_volumes",
    "modality_of",
    "one_volume",
    "read_ct",
    "read_mri",
    "read_tensor",
]

AIR_HU = -1024.0
IN_MEMORY = "memory"  # kind of a volume that a program gave
IMAGE = Path("image")  # its name in messages
NOTHING = "neither NIfTI, MetaImage, NRRD nor DICOM"
BELOW_ZERO = 0.1  # of full scale: what interpolation undershoots in an MR image, but for
RARELY = 0.005  # of its voxels, at sharp edges


def read_ct(source: DicomSource) -> tuple[np.ndarray, np.ndarray]:
    """Read a CT volume.

    Args:
        source: a NIfTI, MetaImage or NRRD file; a folder with one CT series in DICOM, at any depth; the files of a
            series; or one of :func:`~monai_nce.data.scans.found.find_images`.

    Returns:
        The volume in HU, float32 of shape (H, W, D), nothing below -1024; and the 4×4 affine from voxel indices to
        RAS millimetres, float64.

    Raises:
        InputError: if the volume cannot be read without guessing, or its values cannot be HU: NaN or infinities, one
            value everywhere, or as :func:`~monai_nce.data.scans.hounsfield.why_not_hounsfield` says.
    """
    file = _file_path(source)
    volume, affine = read_file(file) if file else read_dicom(source)
    return _as_ct(file or _name(source), volume), affine


def read_mri(source: DicomSource) -> tuple[np.ndarray, np.ndarray]:
    """Read an MR volume from a NIfTI, MetaImage or NRRD file.

    Args:
        source: the file; or one of :func:`~monai_nce.data.scans.found.find_images`.

    Returns:
        The volume, float32 of shape (H, W, D), scaled so that 1000 is its 99.5th percentile; and the 4×4 affine from
        voxel indices to RAS millimetres, float64.

    Raises:
        InputError: if it is DICOM, cannot be read without guessing, or its values are none, as :func:`check_mri` says.
    """
    path = _file_path(source)
    if path is None:
        raise InputError(f"{_name(source)}: MR is not read from DICOM; convert the series to NIfTI first")
    volume, affine = read_file(path)
    return _as_mri(path, volume), affine


def _as_ct(name: Path, volume: np.ndarray) -> np.ndarray:
    """Check that values, float32, can be HU, and raise what is below air, in place."""
    low, high = _range(name, volume)
    if reason := why_not_hounsfield(volume):
        raise InputError(f"{name}: values from {low:g} to {high:g} cannot be Hounsfield units: {reason}")
    return np.maximum(volume, np.float32(AIR_HU), out=volume)


def _as_mri(name: Path, volume: np.ndarray) -> np.ndarray:
    """Check that values, float32, can be MR intensities, and scale them, in place."""
    volume *= np.float32(FULL_SCALE / check_mri(name, volume))
    return volume


def check_mri(name: Path, volume: np.ndarray) -> float:
    """Check that values can be MR intensities; return the 99.5th percentile, which becomes 1000.

    Raises:
        InputError: if there are NaN or infinities, one value everywhere, or many far below 0, as HU are.
    """
    low, high = _range(name, volume)
    try:
        top = full_scale(volume)
    except InputError as error:
        raise InputError(f"{name}: {error}") from error
    if low < -BELOW_ZERO * top and (volume < -BELOW_ZERO * top).mean() > RARELY:
        raise InputError(f"{name}: expected MR intensities, from 0 up, but got values from {low:g} to {high:g}")
    return top


def read_tensor(source: DicomSource | MetaTensor, modality: str = CT) -> MetaTensor:
    """Read a volume as MONAI's loader gives it, ``(H, W, D)``, but with the voxels in the order of the file.

    Args:
        source: as for :func:`read_ct`; or a volume ``(H, W, D)`` in memory, which is checked alike and not changed.
        modality: ``"CT"`` or ``"MR"``.

    Raises:
        InputError: for another modality; and as :func:`read_ct` or :func:`read_mri`.
    """
    if modality not in (CT, MR):
        raise InputError(f"expected modality to be CT or MR but got {modality!r}")
    if isinstance(source, MetaTensor):
        # laid out as files are, so that what is computed of either is the same
        volume = np.array(source.detach().cpu().as_tensor().numpy(), np.float32, order="F")
        affine = np.asarray(source.affine, np.float64)
        check_affine(IMAGE, affine)
        volume = (_as_ct if modality == CT else _as_mri)(IMAGE, volume)
    else:
        volume, affine = (read_ct if modality == CT else read_mri)(source)
    return MetaTensor.ensure_torch_and_prune_meta(torch.from_numpy(volume), _meta(volume, affine))


def _range(name: Path, volume: np.ndarray) -> tuple[float, float]:
    low, high = float(volume.min()), float(volume.max())  # NaN if any value is
    if not (np.isfinite(low) and np.isfinite(high)):
        raise InputError(f"{name}: holds NaN or infinite values")
    if low == high:
        raise InputError(f"{name}: every voxel is {low:g}: not an image")
    return low, high


def check_volume(source: DicomSource) -> tuple[tuple[int, ...], np.ndarray]:
    """Check by its headers that a volume can be read, before any work starts.

    Args:
        source: as for :func:`read_ct`.

    Returns:
        Its shape, three numbers, and the 4×4 affine.

    Raises:
        InputError: if a header shows that :func:`read_ct` would refuse it.
    """
    if file := _file_path(source):
        return check_file(file)
    series = check_dicom(source)
    return series.shape, series.affine


def find_volumes(path: str | PathLike[str], modality: str = CT) -> list[FoundVolume]:
    """List the CT or MR volumes that ``path`` stands for, as input of a program.

    Args:
        path: a NIfTI, MetaImage or NRRD file, DICOM files, or a folder that holds either, at any depth.
        modality: ``"CT"``; or ``"MR"``, which is not read from DICOM.

    Returns:
        What :func:`~monai_nce.data.scans.found.find_images` lists, less the DICOM series of other modalities, and
        MetaImage and NRRD files beside DICOM series, which are left out with a warning; at least one.

    Raises:
        InputError: if nothing is there, NIfTI and DICOM are mixed so that it is not clear which is meant, or MR is
            DICOM.
    """
    found = find_images(path)
    kinds = {volume.kind for volume in found}
    if {"nifti", "dicom"} <= kinds:
        raise InputError(f"{path}: holds NIfTI files and DICOM series; name those that are meant")
    if "dicom" in kinds and len(kinds) > 1:  # what people draw or derive lies beside the series that it was made from
        series = [volume for volume in found if volume.kind == "dicom"]
        text = f"{path}: {len(found) - len(series)} MetaImage or NRRD files beside DICOM series; left out"
        warnings.warn(text, ReaderWarning, stacklevel=2)
        found = series
    fit = [volume for volume in found if volume.kind != "dicom" or volume.modality == modality or volume.damaged]
    if not fit:
        modalities = ", ".join(sorted({volume.modality or "None" for volume in found}))
        expected = f"{path}: expected {modality} but "
        raise InputError(expected + (f"found {modalities}" if found else f"holds {NOTHING}{first_advice(Path(path))}"))
    if modality == MR and fit[0].kind == "dicom":
        raise InputError(f"{path}: MR is not read from DICOM; convert the series to NIfTI first")
    if len(fit) < len(found):
        text = f"{path}: {len(found) - len(fit)} of {len(found)} DICOM series are not {modality}; left out"
        warnings.warn(text, ReaderWarning, stacklevel=2)
    return fit


def one_volume(source: DicomSource | MetaTensor) -> FoundVolume:
    """Find the volume that is meant, with its tags; it is not checked.

    Args:
        source: as for :func:`read_tensor`.

    Raises:
        InputError: if it is not clear which one is meant.
    """
    if isinstance(source, MetaTensor):
        return FoundVolume(IN_MEMORY, IMAGE, (IMAGE,))
    file = _file_path(source)
    return FoundVolume(kind_of(file), file, (file,)) if file else one_series(source)


def _file_path(source: DicomSource) -> Path | None:
    """Return the NIfTI, MetaImage or NRRD file that ``source`` is, or None if it is DICOM."""
    if isinstance(source, FoundVolume):
        return source.path if source.kind != "dicom" else None
    if isinstance(source, (str, PathLike)):
        path = Path(source)
        return path if is_volume_name(path) and not path.is_dir() else None
    if any(is_volume_name(Path(path)) for path in source):
        if len(source) > 1:
            raise InputError(f"expected one volume but got {len(source)} paths")
        return Path(source[0])
    return None


def _name(source: DicomSource) -> Path:
    if isinstance(source, FoundVolume):
        return source.path
    return Path(source) if isinstance(source, (str, PathLike)) else Path(source[0]).parent


def _meta(volume: np.ndarray, affine: np.ndarray) -> dict[str, Any]:
    return {
        MetaKeys.AFFINE: affine,
        MetaKeys.ORIGINAL_AFFINE: affine.copy(),
        MetaKeys.SPATIAL_SHAPE: np.array(volume.shape),
        MetaKeys.ORIGINAL_CHANNEL_DIM: float("nan"),  # MONAI's sign for none
        MetaKeys.SPACE: SpaceKeys.RAS,
    }


class CTReader(ImageReader):
    """Reader for MONAI's ``LoadImage`` that never guesses: ``LoadImaged(keys="image", reader=CTReader())``.

    ``LoadImage`` swallows what a reader's ``read`` raises and tries its other readers on the refused file. So ``read``
    only notes the path, and the work is done in ``get_data``, whose :class:`~monai_nce.errors.InputError` comes
    through: as itself from ``LoadImage``, as the ``__cause__`` of the ``RuntimeError`` from ``Compose`` or a dataset.

    The metadata holds geometry alone, none of the headers' patient data.
    """

    def verify_suffix(self, filename: Sequence[str | PathLike[str]] | str | PathLike[str]) -> bool:
        """Return whether the names are those of files by themselves, folders, or files that are DICOM by content."""
        names = [Path(name) for name in ensure_tuple(filename)]
        return all(is_volume_name(name) or name.is_dir() or (name.is_file() and is_dicom(name)) for name in names)

    def read(self, data: Sequence[str | PathLike[str]] | str | PathLike[str], **kwargs: Any) -> tuple[Path, ...]:
        """Note the paths; ``kwargs`` are ignored."""
        return tuple(Path(name) for name in ensure_tuple(data))

    def get_data(self, img: tuple[Path, ...]) -> tuple[np.ndarray, dict[str, Any]]:
        """Read the volume that :meth:`read` noted: :func:`read_ct`'s, and MONAI's metadata for it.

        Raises:
            InputError: as :func:`read_ct`.
        """
        volume, affine = read_ct(img[0] if len(img) == 1 else img)
        return volume, _meta(volume, affine)
