"""Enhance the input volume of SlicerModalityConverter by ``monai_nce.enhance``; see docs/integrations/monailabel.md."""

from typing import Any

import slicer
import vtk
from ModalityConverterLib.ModelBase import BaseModel, register_model


@register_model("nce")
class NeuralContrastEnhancementModel(BaseModel):
    """Return the synthetic scan in HU, on the grid of the input volume."""

    def _loadModelFromPath(self, modelPath: str) -> str:
        return modelPath  # enhance reads it, and keeps the network

    def runInference(
        self, inputVolume: Any, outputVolume: Any, inputMask: Any = None, showAllFiles: bool = True
    ) -> None:
        """Fill the output volume.

        Raises:
            RuntimeError: in versions of the extension that hand over voxels without their spacing.
        """
        from monai_nce import enhance

        if not hasattr(inputVolume, "GetIJKToRASMatrix"):
            raise RuntimeError("monai-nce: expected a volume with its spacing, which this version does not hand over")
        ijk_to_ras = vtk.vtkMatrix4x4()
        inputVolume.GetIJKToRASMatrix(ijk_to_ras)
        hu = slicer.util.arrayFromVolume(inputVolume).transpose()  # from (k, j, i)
        affine = slicer.util.arrayFromVTKMatrix(ijk_to_ras)
        enhanced = enhance(hu, self.model, affine=affine, device=self.device)
        slicer.util.updateVolumeFromArray(outputVolume, enhanced.numpy().transpose())
        outputVolume.SetIJKToRASMatrix(ijk_to_ras)
        slicer.util.setSliceViewerLayers(background=outputVolume, foreground=inputVolume, foregroundOpacity=0)
