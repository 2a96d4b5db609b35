"""Turn a non-contrast CT series into a synthetic contrast-enhanced volume, as an operator of MONAI Deploy."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from monai.deploy.core import Fragment, Image, Operator, OperatorSpec

from monai_nce import enhance

__all__ = ["EnhanceOperator", "series_files"]


class EnhanceOperator(Operator):
    """Run the bundle's own inference on the files of the first selected series.

    HU, geometry and what is refused are the bundle's. MONAI Deploy's ``DICOMSeriesToVolumeOperator`` is left out on
    purpose, since it knows neither gantry tilt nor missing slices; so is its bundle operator, which rounds to uint8.

    Named input:
        study_selected_series_list: of ``DICOMSeriesSelectorOperator``.

    Named output:
        image: float32 HU ``(D, H, W)``. Its metadata has the ``files`` of the slices in that order; the ``affine`` from
            indices (W, H, D) to RAS millimetres; and the ``derivation``, for ``DerivedCTSeriesWriterOperator``.

    Args:
        weights: a file, or a name such as ``"default"`` for those that ship.
        strict: refuse a scan that is unlike those that the weights were made for.
        settings: further ones of :func:`monai_nce.enhance`, such as ``mode`` or ``phase``.
    """

    def __init__(
        self,
        fragment: Fragment,
        *args: Any,
        weights: str = "default",
        strict: bool = True,
        settings: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        self.weights = weights
        self.strict = strict
        self.settings = dict(settings or {})
        super().__init__(fragment, *args, **kwargs)

    def setup(self, spec: OperatorSpec) -> None:
        spec.input("study_selected_series_list")
        spec.output("image")

    def compute(self, op_input: Any, op_output: Any, context: Any) -> None:
        files = series_files(op_input.receive("study_selected_series_list"))
        with tempfile.TemporaryDirectory() as folder:  # other series may lie beside this one
            copies = {Path(folder, f"{index:05d}.dcm"): file for index, file in enumerate(files)}
            for copy, file in copies.items():
                shutil.copyfile(file, copy)
            made = enhance(folder, self.weights, strict=self.strict, **self.settings)
            ordered = [copies[file] for file in made.series_files]
        metadata = {"files": ordered, "affine": made.affine, "derivation": made.derivation}
        op_output.emit(Image(made.numpy().T, metadata), "image")


def series_files(selected: Any) -> list[Path]:
    """Return the files of the first series in a list of ``StudySelectedSeries``."""
    series = [one.series for study in selected or () for one in study.selected_series]
    if not series:
        raise ValueError("expected a CT series but the selection's rules match none of the input's")
    return [Path(sop.get_native_sop_instance().filename) for sop in series[0].get_sop_instances()]
