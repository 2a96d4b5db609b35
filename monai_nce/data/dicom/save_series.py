"""Save a volume as a derived DICOM series, as the last transform of an inference, and check early that it can be."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from monai.config import KeysCollection
from monai.transforms import MapTransform

from monai_nce.data.dataset.provenance import Provenance
from monai_nce.data.dicom.files import quiet_pydicom
from monai_nce.data.dicom.geometry import DicomSeries
from monai_nce.data.dicom.header import Derivation
from monai_nce.data.dicom.reader import check_dicom
from monai_nce.data.dicom.writer import check_series_folder, write_derived_series
from monai_nce.data.files.atomic import writing
from monai_nce.data.files.sha256 import file_sha256
from monai_nce.data.scans.earlier_result import check_not_of_another_scan, half_width_file, series_folder
from monai_nce.data.scans.formats import is_volume_name
from monai_nce.data.scans.found import FoundVolume
from monai_nce.errors import InputError

__all__ = ["OUTPUT_FORMATS", "SaveDicomSeriesd", "acquired_series", "check_output_format"]

OUTPUT_FORMATS = ("nifti", "dicom", "both")
GEOMETRY_TOLERANCE_MM = 1e-2


def check_output_format(items: Sequence[Mapping[str, Any]], output_format: str) -> None:
    """Refuse, before any work, what could not be written in the end.

    Args:
        items: as :func:`monai_nce.data.scans.inference_items` gives them.
        output_format: "nifti", "dicom" or "both".

    Raises:
        InputError: for another format; and where DICOM is wanted, for an input that is no DICOM series of one file per
            slice, since there is no patient, study or slice to refer to, and for a result's folder that holds other
            files.
    """
    if output_format not in OUTPUT_FORMATS:
        raise InputError(f"expected output_format to be one of {OUTPUT_FORMATS} but got {output_format!r}")
    if output_format == "nifti":
        return
    for item in items:
        image = item["image"]
        path = image.path if isinstance(image, FoundVolume) else Path(image) if isinstance(image, str) else None
        if path is not None and is_volume_name(path) and not path.is_dir():
            raise InputError(f"{path}: output_format {output_format} needs a DICOM series but this is none")
        check_series_folder(series_folder(item["output"]))
        check_series_folder(series_folder(half_width_file(item["output"])))
        series = acquired_series(image)
        if len(set(series.files)) != series.shape[2]:
            text = "needs one file per slice but this is a multi-frame image"
            raise InputError(f"{series.files[0]}: output_format {output_format} {text}")


class SaveDicomSeriesd(MapTransform):
    """Write volumes ``(1, columns, rows, slices)`` in HU as series derived from the ones they were computed from.

    The volumes must lie on the acquired series' own grid again, in the order in which it was read.

    Args:
        keys: MetaTensors in HU.
        checkpoint: file of the network's weights, whose hash goes into the headers.
        mode: "carry" or "clamp": what was done beyond the window, see :class:`monai_nce.transforms.CarryHU`.
        window_level: centre of the network's window in HU.
        window_width: its width in HU.
        source_key: key of the acquired series' path, or of the list of its files.
        output_key: key of the NIfTI file's path; the series' folder has its name without the suffix. Where it is
            missing nothing is written.
        provenance_key: key of a :class:`~monai_nce.data.dataset.provenance.Provenance`; need not be there.
        allow_missing_keys: leave out keys that the data lacks.
        margin: of margins of error in place of an image, as in :class:`~monai_nce.data.dicom.header.Derivation`; the
            folder's name says so then.

    Raises:
        InputError: when called and the disk is full or not writable, or another scan's series is there by now.
    """

    def __init__(
        self,
        keys: KeysCollection,
        checkpoint: str | PathLike[str],
        mode: str,
        window_level: float,
        window_width: float,
        source_key: str = "source",
        output_key: str = "output",
        provenance_key: str = "provenance",
        allow_missing_keys: bool = False,
        margin: str | None = None,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.checkpoint = Path(checkpoint)
        self.mode = mode
        self.window = (window_level, window_width)
        self.source_key = source_key
        self.output_key = output_key
        self.provenance_key = provenance_key
        self.margin = margin

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        for key in self.key_iterator(d) if self.output_key in d else ():
            volume = d[key]
            series = acquired_series(d[self.source_key])
            if tuple(volume.shape) != (1, *series.shape) or not np.allclose(
                volume.affine, series.affine, rtol=0, atol=GEOMETRY_TOLERANCE_MM
            ):
                raise ValueError(
                    f"expected a volume on the grid of the acquired series, {(1, *series.shape)}, but got"
                    f" {tuple(volume.shape)} or another affine"
                )
            output = d[self.output_key]
            folder = series_folder(output if self.margin is None else half_width_file(output))
            provenance = d.get(self.provenance_key, Provenance())
            if provenance.scan_hash:
                check_not_of_another_scan(d[self.output_key], provenance.scan_hash)
            with writing(folder):
                write_derived_series(folder, volume[0], series.files, self.derivation(provenance))
        return d

    def derivation(self, provenance: Provenance) -> Derivation:
        """Return what the headers say of how a volume was made."""
        return Derivation(file_sha256(self.checkpoint), self.mode, *self.window, provenance, self.margin)


def acquired_series(source: FoundVolume | str | Sequence[str]) -> DicomSeries:
    """Return the series that a path, a list of files or a found volume names, its files in the order of the slices."""
    if not isinstance(source, (FoundVolume, str)):
        files = tuple(Path(path) for path in source)
        source = FoundVolume("dicom", files[0].parent, files)
    with quiet_pydicom(source.path if isinstance(source, FoundVolume) else Path(source)):  # its reader has warned
        return check_dicom(source)
