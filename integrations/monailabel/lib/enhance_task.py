"""Enhance an image for MONAI Label, by ``monai_nce.enhance``."""

import os
import tempfile
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from monailabel.interfaces.tasks.infer_v2 import InferTask, InferType

from monai_nce import enhance
from monai_nce.errors import InputError

NUMBERS = {"level": float, "stride": int}
SETTINGS = ("phase", "mode", "strict", "backend", "precision", "device", *NUMBERS)  # of enhance, in a request


class EnhanceTask(InferTask):
    """Return the synthetic scan as NIfTI: float32 HU, not rounded, on the grid and with the affine of the image.

    Its type is ``others``: the result is an image, no segmentation.

    Args:
        weights: a network's file. The model is listed while it is there.
    """

    def __init__(self, weights: Path) -> None:
        super().__init__(
            type=InferType.OTHERS,
            labels=None,
            dimension=3,
            description="Synthetic contrast-enhanced CT of a non-contrast CT, in HU; research use only",
            config={"mode": ["carry", "clamp"], "strict": False},
        )
        self.weights = weights

    def is_valid(self) -> bool:
        return self.weights.is_file()

    def __call__(self, request: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        """Enhance ``request["image"]``; other keys are settings of ``enhance``.

        Raises:
            InputError: for a scan or a setting that cannot be.
        """
        settings = {key: request[key] for key in SETTINGS if request.get(key) not in (None, "")}
        for key, number in NUMBERS.items():
            try:
                settings |= {key: number(settings[key])} if key in settings else {}
            except (TypeError, ValueError):
                raise InputError(f"{key}: expected a number but got {settings[key]}") from None
        enhanced = enhance(request["image"], self.weights, **settings)
        header = enhanced.nibabel().header  # says that it is synthetic, and which weights made it
        header.set_data_dtype(np.float32)
        handle, file = tempfile.mkstemp(suffix=".nii.gz")
        os.close(handle)
        nib.save(nib.Nifti1Image(enhanced.numpy(), enhanced.affine, header), file)
        about = {"unit": "HU", "warnings": enhanced.warnings, "weights_sha256": enhanced.weights["sha256"]}
        return file, about
