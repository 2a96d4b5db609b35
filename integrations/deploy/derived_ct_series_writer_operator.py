"""Write a CT volume as a DICOM series derived from the acquired one, as an operator of MONAI Deploy for any model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from monai.deploy.core import Fragment, Operator, OperatorSpec

from monai_nce.data.dicom.header import Derivation
from monai_nce.data.dicom.writer import write_derived_series

__all__ = ["DerivedCTSeriesWriterOperator"]


class DerivedCTSeriesWriterOperator(Operator):
    """Write HU as CT Image Storage: one file for each acquired slice, with its geometry and the patient's elements.

    HU are rounded to whole numbers, signed 16 bits, slope 1, intercept 0. Series and instances have new UIDs; each
    refers to its acquired slice, and says that it is synthetic, by what, and for research only. The series is there
    whole or not at all. Nothing here is of one model: give a ``derivation`` with your own
    :class:`~monai_nce.data.dicom.header.Program`.

    Named input:
        image: HU ``(D, H, W)`` on the acquired grid; its metadata has the acquired ``files``, one for each slice in
            this order, and may have a ``derivation``.

    Args:
        output_folder: for the series.
        derivation: how the volume was made; by default that of the image's metadata.
    """

    def __init__(
        self,
        fragment: Fragment,
        *args: Any,
        output_folder: str | Path,
        derivation: Derivation | None = None,
        **kwargs: Any,
    ) -> None:
        self.output_folder = Path(output_folder)
        self.derivation = derivation
        super().__init__(fragment, *args, **kwargs)

    def setup(self, spec: OperatorSpec) -> None:
        spec.input("image")

    def compute(self, op_input: Any, op_output: Any, context: Any) -> None:
        image = op_input.receive("image")
        metadata = image.metadata()
        derivation = self.derivation or metadata.get("derivation")
        if derivation is None:
            raise ValueError(
                "derivation: expected in the image's metadata, or given to the operator, but there is none"
            )
        self.output_folder.parent.mkdir(parents=True, exist_ok=True)
        write_derived_series(self.output_folder, image.asnumpy().T, metadata["files"], derivation)
