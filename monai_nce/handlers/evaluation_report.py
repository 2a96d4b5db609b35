"""Write an evaluation's metrics.json, metrics.csv, organs.csv, pictures and page, and print its table."""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine, Events
from monai.data import MetaTensor
from nibabel.affines import voxel_sizes

from monai_nce.data import SPLITS, Provenance, atomic_path, dataset_kind, read_datalist_file, write_json
from monai_nce.distributed import world_size
from monai_nce.errors import InputError
from monai_nce.metrics import ImageMetrics, Metric, ms_ssim_setting, summarize
from monai_nce.metrics.organ_report import OrganReport, report_tables
from monai_nce.terminal import tell_result
from monai_nce.visualize import Case, Display, FigureRow, Report, ReportTable, axial_slices, draw_preview, write_report
from monai_nce.visualize.bland_altman import draw_bland_altman
from monai_nce.visualize.page import provenance_table, version_table
from monai_nce.visualize.preview import provenance_warnings

__all__ = ["EvaluationReport"]

PREVIEW_ROWS = 3
PLOTTED_ORGANS = 12  # those that rise most
IDENTITY = "identity"
NOTE = "Research use only."
ALONE = "evaluation: one process does it, but several were started; run it without torchrun"
FLOOR = "Identity is the scan unchanged, the floor. In brackets"
NOTHING = "nothing was evaluated: the test set has no patient with both domains"


class EvaluationReport:
    """Compare what a network made, and its unchanged input, with the real images (paper Table 1; decisions 25 to 28).

    Expects per item of the engine's output ``image``, ``pred`` and ``label``, volumes ``(1, H, W, D)`` in [-1, 1], and
    per item of the batch ``patient`` and ``aligned``; optionally ``organs``, a label map ``(1, H, W, D)``.

    ``metrics.json`` holds per method (``identity``, the floor, and ``method``) and metric what
    :func:`monai_nce.metrics.summarize` gives, and under ``about`` the facts that a figure needs beside it; where there
    are label maps, ``organs_hu`` (without a unit ``organs``) holds mean values within the window; and in HU
    ``organ_report`` what :class:`~monai_nce.metrics.organ_report.OrganReport` says of them over patients, with
    ``organs.csv`` and a Bland–Altman plot, ``bland_altman.png``, beside it.

    Args:
        output_dir: folder for the files.
        dataset_dir: data set that is evaluated; its description goes beside the figures, and the names of its labels
            (``provenance.labels``) to the mean HU per organ.
        checkpoint: file that the weights came from; its hash goes beside the figures.
        method: name of the row.
        source_name, target_name: of the domains.
        window_level, window_width: what [-1, 1] stands for, in ``unit``, which is empty for MR images.
        additional_metrics: beside the standard ones, or their names in :data:`~monai_nce.metrics.ADDITIONAL_METRICS`;
            they appear in the files, on the screen and in the picture.
        training_data: data sets that the weights learnt from, as :func:`monai_nce.data.training_data` lists them; None
            where they do not say.
        told: what the network was told of each patient beside the image, in words.
        report: write ``report.html`` too, a page of the first three patients, which are numbered there.

    Raises:
        InputError: when one of several processes makes it, or nothing is evaluated.
    """

    def __init__(
        self,
        output_dir: str | PathLike[str],
        dataset_dir: str | PathLike[str],
        checkpoint: str | PathLike[str],
        method: str = "separate",
        source_name: str = "NECT",
        target_name: str = "CECT",
        window_level: float = 50.0,
        window_width: float = 300.0,
        unit: str = "HU",
        additional_metrics: Sequence[Metric | str] = (),
        training_data: Sequence[Mapping[str, Any]] | None = None,
        told: str = "",
        report: bool = False,
    ) -> None:
        if world_size() > 1:  # each would evaluate, and write, everything
            raise InputError(ALONE)
        self.output_dir = Path(output_dir)
        self.dataset_dir = dataset_dir
        self.checkpoint = Path(checkpoint)
        self.method = method
        self.display = Display(source_name, target_name, window_level, window_width, unit)
        self.compare = ImageMetrics(window_width, unit, additional_metrics)
        self.training_data = training_data
        self.told = told
        self.report = report

    def attach(self, engine: Engine) -> None:
        if engine.state.epoch_length == 0:
            raise InputError(NOTHING)  # here, since MONAI's engines skip such a run with a warning
        engine.add_event_handler(Events.STARTED, self._start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._collect)
        engine.add_event_handler(Events.COMPLETED, self._write)

    def _start(self, engine: Engine) -> None:
        self._dataset = read_datalist_file(self.dataset_dir)
        self.display = replace(self.display, kind=dataset_kind(self._dataset) or self.display.kind)
        provenance = self._dataset.get("provenance")
        self._provenance: dict[str, Any] = provenance if isinstance(provenance, dict) else {}
        self._values: dict[str, dict[str, dict[str, list[float]]]] = {
            method: {name: {} for name in self.compare.metrics} for method in (IDENTITY, self.method)
        }
        self._organs: dict[str, list[np.ndarray]] = {}
        self._organ_report = OrganReport(self._provenance.get("labels", {}))
        items = [item for split in SPLITS for item in self._dataset.get(split, [])]
        self._phases = {str(item["patient"]): str(item.get("phase", "")) for item in items}
        self._rows: list[FigureRow] = []
        self._cases: list[Case] = []
        self._shape: tuple[int, int] = (0, 0)
        self._aligned = True

    def _collect(self, engine: Engine) -> None:
        for item, output in zip(engine.state.batch, engine.state.output, strict=True):
            patient = str(item["patient"])
            self._aligned = self._aligned and bool(item["aligned"])
            image, pred, label = (output[key] for key in ("image", "pred", "label"))
            spacing = voxel_sizes(label.affine.cpu().numpy()).tolist() if isinstance(label, MetaTensor) else None
            for method, synthetic in ((IDENTITY, image), (self.method, pred)):
                for name, values in self.compare(synthetic, label, image, spacing).items():
                    self._values[method][name][patient] = values.tolist()
            self._shape = (label.shape[1], label.shape[2])
            if "organs" in item:
                self._collect_organs(patient, item["organs"], image, pred, label)
            if len(self._rows) < PREVIEW_ROWS:
                self._rows.append(self._preview_row(patient, image, pred, label))
                if self.report:
                    self._cases.append(self._case(image, pred, label))

    def _hu(self, intensity: Any) -> np.ndarray:
        plain = torch.as_tensor(intensity).as_subclass(torch.Tensor).detach().float().clamp(-1, 1).cpu().numpy()
        return plain[0] * (self.display.window_width / 2) + self.display.window_level

    def _collect_organs(self, patient: str, organs: Any, image: Any, pred: Any, label: Any) -> None:
        where = np.asarray(organs.cpu() if isinstance(organs, torch.Tensor) else organs)[0]
        volumes = [self._hu(volume) for volume in (image, pred, label)]
        for name, value in self._provenance.get("labels", {}).items():
            inside = where == value
            if inside.any():
                means = [volume[inside].mean(dtype=float) for volume in volumes]
                self._organs.setdefault(name, []).append(np.array(means))
        if self.display.unit == "HU":
            affine = label.affine.cpu().numpy() if isinstance(label, MetaTensor) else np.eye(4)
            ml = abs(float(np.linalg.det(affine[:3, :3]))) / 1000
            before, synthetic, real = volumes
            self._organ_report.add(patient, where, before, synthetic, real, ml, self._phases.get(patient, ""))

    def _preview_row(self, patient: str, image: Any, pred: Any, label: Any) -> FigureRow:
        affine = label.affine if isinstance(label, MetaTensor) else torch.eye(4)
        (source, pixel), (synthetic, _), (target, _) = (
            axial_slices(MetaTensor(torch.from_numpy(self._hu(volume))[None], affine=affine))
            for volume in (image, pred, label)
        )
        # the slice where most changes shows most
        position = int(np.abs(target - source).mean(axis=(0, 1)).argmax())
        return FigureRow(
            f"{patient}, slice {position + 1} of {target.shape[2]}",
            source[..., position],
            target[..., position],
            {f"synthetic {self.display.target_name}": synthetic[..., position]},
            pixel_size=pixel,
        )

    def _case(self, image: Any, pred: Any, label: Any) -> Case:
        affine = label.affine.cpu().numpy() if isinstance(label, MetaTensor) else np.eye(4)
        source, synthetic, target = map(self._hu, (image, pred, label))
        return Case(f"patient {len(self._cases) + 1}", affine, synthetic, source, target)

    def _write_page(
        self,
        report: Mapping[str, Any],
        table: Sequence[Sequence[str]],
        provenance: Provenance,
        agreement: bytes | None,
    ) -> None:
        """Write a page of the first patients, with the tables of all."""
        about, display = report["about"], self.display
        head, *rows = table
        tables = [ReportTable(f"{about['patients']} test patients", head, rows, f"{FLOOR} {about['interval']}.")]
        if organs := report.get("organs"):  # in no unit
            keys = list(next(iter(organs.values())))
            lines = [[organ, *(f"{means[key]:.1f}" for key in keys)] for organ, means in organs.items()]
            tables.append(ReportTable("Organs, mean", ["organ", *keys], lines))
        figures = {}
        if "organ_report" in report:
            tables += [ReportTable(*parts) for parts in report_tables(report["organ_report"])]
            if agreement:
                figures["Organs: synthetic less real mean, over their mean, a point for each patient"] = agreement
        what = {
            "method": self.method,
            "data": about["data"],
            "pairs": "aligned" if about["aligned"] else "not aligned: motion counts as error",
            "told": self.told,
            "values": f"{display.note} What lies beyond is cut off, as for the metrics.",
        }
        tables += [provenance_table(provenance, self.checkpoint, what), version_table()]
        title = f"{self.method} on {about['data']}"
        page = Report(title, display, provenance_warnings(provenance), self._cases, figures, tables)
        write_report(self.output_dir / "report.html", page)

    def _agreement(self, summary: Mapping[str, Any]) -> bytes | None:
        """Draw the Bland–Altman plot of the organs that rise most; None if no organ is large enough."""
        organs = summary["organs"]
        most = sorted(organs, key=lambda name: organs[name]["before"] - organs[name]["real"])[:PLOTTED_ORGANS]
        pairs = self._organ_report.pairs()
        limits = {name: [organs[name][key] for key in ("bias", "low", "high")] for name in most}
        title = f"{self.method} on {self._dataset.get('name')}. {NOTE}"
        return draw_bland_altman({name: pairs[name] for name in most}, limits, "HU", title) if most else None

    def _write(self, engine: Engine) -> None:
        if not self._rows:
            raise InputError(NOTHING)
        summary = {
            method: {name: summarize(per_patient) for name, per_patient in values.items()}
            for method, values in self._values.items()
        }
        about = {
            "method": self.method,
            "data": self._dataset.get("name"),
            "data_made_from": {key: value for key, value in self._provenance.items() if key != "labels"},
            "aligned": self._aligned,
            "patients": len(summary[IDENTITY]["mse"]["per_patient"]),
            "checkpoint": self.checkpoint.name,
            "checkpoint_sha256": hashlib.sha256(self.checkpoint.read_bytes()).hexdigest(),
            "trained_on": self.training_data,
            **({"told": self.told} if self.told else {}),
            "ms_ssim": ms_ssim_setting(*self._shape),
            "interval": "95 % percentile bootstrap over patients, 9999 resamples, seed 0",
            "torch": torch.__version__,
            "device": str(engine.state.device),
            "note": NOTE,
        }
        report: dict[str, Any] = {"about": about, **summary}
        if self._organs:
            keys = (self.display.source_name.lower(), "synthetic", self.display.target_name.lower())
            report["organs_hu" if self.display.unit == "HU" else "organs"] = {
                name: dict(zip(keys, np.mean(rows, axis=0).round(2).tolist(), strict=True))
                for name, rows in self._organs.items()
            }
            if self.display.unit == "HU":
                report["organ_report"] = self._organ_report.summary()
        table = self._table(summary)
        provenance = Provenance(self.training_data, dataset_kind(self._dataset))
        with atomic_path(self.output_dir / "metrics.csv") as partial:
            partial.write_text(_as_csv(summary), encoding="utf-8")
        agreement = None
        if "organ_report" in report:
            with atomic_path(self.output_dir / "organs.csv") as partial:
                partial.write_text(_lines(self._organ_report.rows()), encoding="utf-8")
            if agreement := self._agreement(report["organ_report"]):
                with atomic_path(self.output_dir / "bland_altman.png") as partial:
                    partial.write_bytes(agreement)
        display = replace(self.display, data_name=str(about["data"]))
        draw_preview(self._rows, display, table=table, provenance=provenance).save(self.output_dir / "preview.png")
        if self.report:
            self._write_page(report, table, provenance, agreement)
        # last: where it is new, the others are
        write_json(self.output_dir / "metrics.json", report)
        learnt = f"{self.checkpoint}, trained on {provenance.trained_on}"
        lines = [f"{about['data']}, {about['patients']} patients, {learnt}. {NOTE}"]
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        lines += ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in table]
        lines += [f"WARNING: {provenance.warning}"] if provenance.warning else []
        files = ["metrics.csv", *["organs.csv"] * ("organ_report" in report), *["report.html"] * self.report]
        lines += [f"metrics.json, {', '.join(files)} and preview.png are in {self.output_dir}"]
        means = {method: {name: one["mean"] for name, one in values.items()} for method, values in summary.items()}
        warning = provenance.warning or None
        tell_result(
            "\n".join(lines), output_dir=self.output_dir, patients=about["patients"], means=means, warning=warning
        )

    def _table(self, summary: Mapping[str, Mapping[str, Any]]) -> list[list[str]]:
        """Lay out the shown metrics of each method, with their intervals, under a head."""
        shown = [metric for metric in self.compare.metrics.values() if metric.shown]
        lines = [["method", *map(str, shown)]]
        for method, values in summary.items():
            cells = []
            for metric in shown:
                mean, low, high = (values[metric.name][part] for part in ("mean", "low", "high"))
                interval = "" if low is None else f" [{low:{metric.format}}, {high:{metric.format}}]"
                cells.append(f"{mean:{metric.format}}{interval}")
            lines.append([method, *cells])
        return lines


def _lines(rows: Sequence[Sequence[object]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def _as_csv(summary: Mapping[str, Mapping[str, Any]]) -> str:
    rows: list[list[object]] = [["method", "patient", *next(iter(summary.values()))]]
    for method, metrics in summary.items():
        for patient in metrics["mse"]["per_patient"]:
            rows.append([method, patient, *(metric["per_patient"][patient] for metric in metrics.values())])
        for statistic in ("mean", "patient_mean", "low", "high"):
            rows.append([method, statistic, *(metric[statistic] for metric in metrics.values())])
    return _lines(rows)
