"""Write a page beside each synthetic volume, as the last transform of an inference."""

from __future__ import annotations

import platform
from collections.abc import Hashable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import monai
import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform

import monai_nce
from monai_nce.data import Provenance
from monai_nce.data.files.sha256 import file_sha256
from monai_nce.data.scans.earlier_result import check_not_of_another_scan, page_file, series_folder
from monai_nce.visualize.page.report import Case, Report, ReportTable, write_report
from monai_nce.visualize.panels import Display
from monai_nce.visualize.preview import provenance_warnings

__all__ = ["SaveReportd", "provenance_table", "version_table"]


class SaveReportd(MapTransform):
    """Write an HTML page of a synthetic volume, the scan it was made from, and how that was done.

    The page is called as the result is, and holds no patient data: neither paths nor what a DICOM header says.

    Args:
        keys: the synthetic volume ``(1, H, W, D)``, a MetaTensor in ``unit``.
        source_key: the scan, likewise.
        output_key: where the path of the volume's file stands.
        source_name, target_name, window_level, window_width, unit: as in :class:`~monai_nce.visualize.Display`.
        checkpoint: file of the weights.
        settings: what else decided about the result, by name; None is left out.
        provenance_key: key of a :class:`~monai_nce.data.Provenance`; need not be there.
        doubts_key: key of what is doubted of the scan, a line each; need not be there.
        keep_patient_data: name the scan's path, or its first file, which may be a patient's name.
        path_key: of that path, or of the list of its files.
        margin_key: of how far each voxel of the volume may be off, likewise; None where that is not known.
        organ_margins: by how much the mean of each organ may be.
        margin_note: for which patients that holds.

    Raises:
        InputError: when called and the disk is full or not writable, or another scan's page is there by now.
    """

    def __init__(
        self,
        keys: KeysCollection,
        source_key: str,
        checkpoint: str | PathLike[str],
        output_key: str = "output",
        source_name: str = "NECT",
        target_name: str = "CECT",
        window_level: float = 50.0,
        window_width: float = 300.0,
        unit: str = "HU",
        settings: Mapping[str, Any] | None = None,
        provenance_key: str = "provenance",
        doubts_key: str = "doubts",
        keep_patient_data: bool = False,
        path_key: str = "source",
        margin_key: str | None = None,
        organ_margins: Mapping[str, float] | None = None,
        margin_note: str = "",
    ) -> None:
        super().__init__(keys)
        self.source_key = source_key
        self.checkpoint = Path(checkpoint)
        self.output_key = output_key
        self.display = Display(source_name, target_name, window_level, window_width, unit)
        self.settings = settings or {}
        self.provenance_key = provenance_key
        self.doubts_key = doubts_key
        self.keep_patient_data = keep_patient_data
        self.path_key = path_key
        self.margin_key = margin_key
        self.organ_margins = organ_margins
        self.margin_note = margin_note

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        for key in self.key_iterator(d) if self.output_key in d else ():
            output, provenance = d[self.output_key], d.get(self.provenance_key, Provenance())
            name = series_folder(output).name
            files = d.get(self.path_key, "")
            scan = {"scan": files if isinstance(files, str) else files[0]} if self.keep_patient_data else {}
            margin = {} if self.margin_key is None else {"confidence": d[self.margin_key]}
            report = Report(
                name,
                self.display,
                provenance_warnings(provenance, str(d.get(self.doubts_key, ""))),
                [Case.of(name, synthetic=d[key], scan=d[self.source_key], **margin)],
                tables=[
                    *self._margins(),
                    provenance_table(provenance, self.checkpoint, {**scan, **self.settings}),
                    version_table(),
                ],
                mark=provenance.scan_mark,
            )
            if provenance.scan_hash:
                check_not_of_another_scan(output, provenance.scan_hash)
            write_report(page_file(output), report)
        return d

    def _margins(self) -> list[ReportTable]:
        if not self.organ_margins:
            return []
        rows = [[name.replace("_", " "), f"± {value:.0f}"] for name, value in self.organ_margins.items()]
        return [
            ReportTable(
                "Mean of an organ, margin of error", ["organ", self.display.unit or "margin"], rows, self.margin_note
            )
        ]


def provenance_table(
    provenance: Provenance, checkpoint: str | PathLike[str], settings: Mapping[str, Any] | None = None
) -> ReportTable:
    """Say which weights were used, what they learnt from, and with which settings."""
    rows = [
        ("weights", Path(checkpoint).name),
        ("SHA-256", file_sha256(Path(checkpoint))),
        ("learnt from", provenance.trained_on),
        ("asked for", provenance.asked),
        *((name.replace("_", " "), value) for name, value in (settings or {}).items()),
    ]
    said = [
        (name, f"{value:g}" if isinstance(value, float) else str(value)) for name, value in rows if value is not None
    ]
    return ReportTable("What was done", rows=[row for row in said if row[1]])


def version_table(more: Sequence[tuple[str, str]] = ()) -> ReportTable:
    """List the versions of what computed."""
    found = [("monai-nce", monai_nce.__version__), ("MONAI", monai.__version__), ("PyTorch", torch.__version__)]
    return ReportTable("Versions", rows=[*found, ("Python", platform.python_version()), *more])
