"""Write half-widths beside the image that they are of, as NIfTI and as a DICOM series."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from os import PathLike
from typing import Any

from monai.config import KeysCollection
from monai.transforms import MapTransform

from monai_nce.data import Provenance, SaveDicomSeriesd, SaveImageNiftid
from monai_nce.data.files.atomic import writing
from monai_nce.data.nifti.writer import write_nifti_hu
from monai_nce.data.scans.earlier_result import check_not_of_another_scan, half_width_file
from monai_nce.uncertainty.calibration import Calibration

__all__ = ["SaveHalfWidthd"]


class SaveHalfWidthd(MapTransform):
    """Write half-widths in HU on the scan's grid, by a name that ends in ``_uncertainty``.

    Args:
        keys: MetaTensors ``(1, H, W, D)`` in HU.
        calibration: what they were calibrated with.
        wanted: for what they hold, as in :meth:`~monai_nce.uncertainty.Calibration.factor`.
        checkpoint, mode, window_level, window_width: as in :class:`~monai_nce.data.SaveDicomSeriesd`.
        target_name: of the domain of the image, such as CECT.
        dicom: write a series too.
        output_key: key of the path of the image's NIfTI file; where it is missing nothing is written.
        provenance_key: key of a :class:`~monai_nce.data.Provenance`; need not be there.

    Raises:
        InputError: when called and the disk is full or not writable, or what belongs to another scan is there by now.
    """

    def __init__(
        self,
        keys: KeysCollection,
        calibration: Calibration,
        wanted: str,
        checkpoint: str | PathLike[str],
        mode: str = "carry",
        window_level: float = 50.0,
        window_width: float = 300.0,
        target_name: str = "CECT",
        dicom: bool = False,
        output_key: str = "output",
        provenance_key: str = "provenance",
    ) -> None:
        super().__init__(keys)
        said = calibration.says(wanted)
        self.output_key = output_key
        self.provenance_key = provenance_key
        # int16 whole HU, with a header that says what it is
        self.nifti = SaveImageNiftid(
            keys, description=f"SYNTHETIC {target_name}, margin of error in HU, {calibration.coverage:.0%}"
        )
        self.comment = f"Half-width in HU of a margin of error. {said}"
        self.series = (
            SaveDicomSeriesd(keys, checkpoint, mode, window_level, window_width, margin=said) if dicom else None
        )

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        for key in self.key_iterator(d) if self.output_key in d else ():
            output, provenance = d[self.output_key], d.get(self.provenance_key, Provenance())
            if provenance.scan_hash:
                check_not_of_another_scan(output, provenance.scan_hash)
            path = half_width_file(output)
            descrip, comment = self.nifti.texts(provenance)
            with writing(path):
                write_nifti_hu(path, d[key][0], d[key].affine, descrip, f"{self.comment} {comment}")
        return d if self.series is None else self.series(d)
