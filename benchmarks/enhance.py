"""Enhance volumes by the bundle's inference, from NIfTI file to NIfTI file, as its users do."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from benchmarks.cell import initialize
from monai_nce.data import write_nifti_hu

__all__ = ["enhance"]


def enhance(volumes: Mapping[str, tuple[np.ndarray, np.ndarray]], folder: Path, **flags: Any) -> dict[str, np.ndarray]:
    """Write volumes, run ``inference.json`` over them, and read what it wrote.

    Args:
        volumes: HU of shape (H, W, D) and the 4×4 affine in RAS mm, by the name of the file.
        folder: for the files, which stay there: ``input`` and ``synthetic``.
        flags: keys of the configuration, such as ``checkpoint``.

    Returns:
        Synthetic HU on each volume's grid.

    Raises:
        InputError: as the command line, as a cause where MONAI wraps it.
    """
    for name, (hu, affine) in volumes.items():
        write_nifti_hu(folder / "input" / f"{name}.nii.gz", hu, affine)
    workflow = initialize(
        ["inference"], input=str(folder / "input"), output_dir=str(folder / "synthetic"), suffix="synthetic", **flags
    )
    workflow.run()
    workflow.finalize()
    outputs = {name: folder / "synthetic" / f"{name}_synthetic.nii.gz" for name in volumes}
    return {name: nib.Nifti1Image.from_filename(path).get_fdata(dtype=np.float32) for name, path in outputs.items()}
