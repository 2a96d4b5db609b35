"""Enhance the non-contrast CT of a DICOM study: the application that MONAI Deploy runs or packs.

    python app.py -i DICOM_FOLDER -o OUTPUT_FOLDER

The derived series is written into ``OUTPUT_FOLDER/synthetic_cect``. Research use only.
"""

from __future__ import annotations

import os
from pathlib import Path

from derived_ct_series_writer_operator import DerivedCTSeriesWriterOperator
from enhance_operator import EnhanceOperator
from monai.deploy.conditions import CountCondition
from monai.deploy.core import Application
from monai.deploy.operators.dicom_data_loader_operator import DICOMDataLoaderOperator
from monai.deploy.operators.dicom_series_selector_operator import DICOMSeriesSelectorOperator

__all__ = ["NeuralContrastEnhancementApp"]

# the largest series of primary CT images; which scans can be enhanced the bundle judges by the images
RULES = '{"selections": [{"name": "CT", "conditions": {"Modality": "(?i)CT", "ImageType": ["!LOCALIZER"]}}]}'


class NeuralContrastEnhancementApp(Application):
    """Load, select, enhance, write. ``NCE_WEIGHTS`` names other weights, ``NCE_STRICT=0`` lets doubted scans pass."""

    def compose(self) -> None:
        context = Application.init_app_context(self.argv)
        load = DICOMDataLoaderOperator(
            self, CountCondition(self, 1), input_folder=Path(context.input_path), name="load"
        )
        select = DICOMSeriesSelectorOperator(
            self, rules=RULES, all_matched=True, sort_by_sop_instance_count=True, name="select"
        )
        enhance = EnhanceOperator(
            self,
            weights=os.environ.get("NCE_WEIGHTS", "default"),
            strict=os.environ.get("NCE_STRICT", "1") != "0",
            name="enhance",
        )
        folder = Path(context.output_path) / "synthetic_cect"
        write = DerivedCTSeriesWriterOperator(self, output_folder=folder, name="write")
        self.add_flow(load, select, {("dicom_study_list", "dicom_study_list")})
        self.add_flow(select, enhance, {("study_selected_series_list", "study_selected_series_list")})
        self.add_flow(enhance, write, {("image", "image")})


if __name__ == "__main__":
    NeuralContrastEnhancementApp().run()
