from __future__ import annotations

import csv
import hashlib
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.text import Text
from monai.data import DataLoader, Dataset, MetaTensor
from monai.engines import SupervisedEvaluator
from monai.metrics import RMSEMetric
from monai.transforms import Compose, EnsureChannelFirstd, LoadImaged
from PIL import Image
from torch import nn

from monai_nce.data import CTReader, DatasetWriter, evaluation_pairs, read_datalist
from monai_nce.errors import InputError
from monai_nce.handlers import EvaluationReport, evaluation_report
from monai_nce.metrics import ADDITIONAL_METRICS, METRICS, Metric
from monai_nce.transforms import WindowHUd
from monai_nce.visualize.page.embed import unpack
from monai_nce.visualize.panels import Page
from tests.visualize.page.pages import data_of, volume_text

AFFINE = np.diag([1.5, 1.5, 5.0, 1.0])
SHAPE = (24, 20, 4)
LABELS = {"aorta": 1, "liver": 2, "spleen": 3}  # no voxel is spleen


class Brighter(nn.Module):
    """A network whose error is known: half of the window's half width is 75 HU."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + 0.5


def make_dataset(folder: Path, aligned: bool = True, depths: tuple[int, ...] = (4, 2)) -> dict[str, dict[str, Any]]:
    """Test patients p0, p1, …, whose target is the source plus 100 HU in the aorta, elsewhere plus 30, 50, … HU."""
    random = np.random.default_rng(0)
    patients = {}
    with DatasetWriter(
        folder, name="fake", description="d", licence="CC0-1.0", provenance={"seed": 7, "labels": LABELS}
    ) as dataset:
        for number, depth in enumerate(depths):
            source = random.integers(-60, 40, size=(*SHAPE[:2], depth))
            organs = np.zeros(source.shape, dtype=np.uint8)
            organs[2:6, 3:9] = LABELS["aorta"]
            if number == 0:
                organs[10:20, 3:9] = LABELS["liver"]
            target = source + np.where(organs == LABELS["aorta"], 100, 30 + 20 * number)
            volumes: dict[str, Any] = {"source": source, "target": target, "labels": organs}
            if aligned:
                volumes["aligned_source"] = source
                volumes["source"] = source[::-1]  # must not be used
            dataset.add("test", f"p{number}", AFFINE, **volumes)
            patients[f"p{number}"] = {"source": source, "target": target, "organs": organs}
        dataset.add("training", "unused", AFFINE, source=source)
    return patients


def evaluate(folder: Path, network: nn.Module, pairs: list[dict[str, Any]] | None = None, **options: Any) -> Path:
    checkpoint = folder / "model.pt"
    torch.save(network.state_dict(), checkpoint)
    preprocessing = Compose(
        [
            LoadImaged(keys=["image", "label"], reader=CTReader()),
            LoadImaged(keys="organs", reader="NibabelReader", allow_missing_keys=True),
            EnsureChannelFirstd(keys=["image", "label", "organs"], allow_missing_keys=True),
            WindowHUd(keys=["image", "label"]),
        ]
    )
    if pairs is None:
        pairs = evaluation_pairs(read_datalist(folder / "data", "test"))
    report = EvaluationReport(folder / "out", folder / "data", checkpoint, **options)
    SupervisedEvaluator(
        device=torch.device("cpu"),
        val_data_loader=DataLoader(Dataset(pairs, preprocessing), batch_size=1),
        network=network,
        val_handlers=[report],
    ).run()
    return folder / "out"


def read_strict_json(path: Path) -> Any:
    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is not JSON")

    return json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)


def test_report_holds_what_the_volumes_say(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    patients = make_dataset(tmp_path / "data")
    out = evaluate(tmp_path, Brighter())
    assert sorted(path.name for path in out.iterdir()) == [
        *("bland_altman.png", "metrics.csv", "metrics.json", "organs.csv", "preview.png")
    ]
    report = read_strict_json(out / "metrics.json")
    assert set(report) == {"about", "identity", "separate", "organs_hu", "organ_report"}

    for method, change in (("identity", 0), ("separate", 75)):
        row = report[method]
        assert set(row) == set(METRICS)
        squares = {name: ((p["source"] + change - p["target"]) ** 2.0).mean() for name, p in patients.items()}
        mae = {name: np.abs(p["source"] + change - p["target"]).mean() for name, p in patients.items()}
        for metric, expected in (("mse_hu2", squares), ("mae_hu", mae)):
            found = row[metric]
            assert set(found) == {"mean", "patient_mean", "low", "high", "per_patient"}
            assert found["per_patient"] == pytest.approx(expected, rel=1e-4)
            assert found["mean"] == pytest.approx((4 * expected["p0"] + 2 * expected["p1"]) / 6, rel=1e-4)
            assert found["patient_mean"] == pytest.approx((expected["p0"] + expected["p1"]) / 2, rel=1e-4)
            assert found["low"] <= found["patient_mean"] <= found["high"]
        assert row["mse"]["mean"] == pytest.approx(row["mse_hu2"]["mean"] / 150**2, rel=1e-4)
        assert 0 <= row["ms_ssim"]["mean"] < 1 and 0 < row["psnr"]["mean"] < 100

    about = report["about"]
    assert about["patients"] == 2 and about["aligned"] is True and about["method"] == "separate"
    assert about["data"] == "fake" and about["data_made_from"] == {"seed": 7}
    assert about["checkpoint_sha256"] == hashlib.sha256((tmp_path / "model.pt").read_bytes()).hexdigest()
    assert about["ms_ssim"] == {"window": 7, "scales": 2}
    assert about["device"] == "cpu"
    printed = capsys.readouterr().out
    assert re.search(r"\]\S", printed) is None  # the columns do not run together
    assert "fake, 2 patients" in printed and "identity" in printed and "Research use only." in printed


def test_organs_are_means_over_patients_of_their_mean_hu(tmp_path: Path) -> None:
    patients = make_dataset(tmp_path / "data")
    organs = read_strict_json(evaluate(tmp_path, Brighter()) / "metrics.json")["organs_hu"]
    assert set(organs) == {"aorta", "liver"}
    of = {
        (name, organ): p["source"][p["organs"] == value].mean()
        for name, p in patients.items()
        for organ, value in LABELS.items()
        if (p["organs"] == value).any()
    }
    aorta = (of["p0", "aorta"] + of["p1", "aorta"]) / 2
    assert organs["aorta"] == pytest.approx({"nect": aorta, "synthetic": aorta + 75, "cect": aorta + 100}, abs=0.02)
    liver = of["p0", "liver"]
    assert organs["liver"] == pytest.approx({"nect": liver, "synthetic": liver + 75, "cect": liver + 30}, abs=0.02)


def test_the_page_has_the_first_patients_and_the_tables_of_all(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluation_report, "PREVIEW_ROWS", 1)
    patients = make_dataset(tmp_path / "data")
    out = evaluate(tmp_path, Brighter(), report=True)
    html = (out / "report.html").read_text(encoding="utf-8")
    assert [case["name"] for case in data_of(html)["cases"]] == ["patient 1"]
    held = [np.asarray(unpack(volume_text(html, f"volume-0-{role}")).dataobj) for role in ("scan", "change", "real")]
    source, target = patients["p0"]["source"], patients["p0"]["target"]
    for volume, expected in zip(held, (source, np.full_like(source, 75), target), strict=True):
        np.testing.assert_allclose(volume, np.clip(expected, -100, 200), atol=1)
    identity = re.search(r'<th scope="row">identity</th><td>(\S+)', html)
    assert identity and float(identity[1]) == pytest.approx(
        read_strict_json(out / "metrics.json")["identity"]["mse"]["mean"], abs=1e-4
    )
    for text in ("2 test patients", "Identity is the scan unchanged", "Organs, mean HU", "separate on fake"):
        assert text in html
    assert "metrics.csv, organs.csv, report.html and preview.png are in" in capsys.readouterr().out
    assert not re.search(r"\bp[01]\b", html.partition("<script")[0])


def test_table_agrees_with_the_json(tmp_path: Path) -> None:
    make_dataset(tmp_path / "data")
    out = evaluate(tmp_path, Brighter(), method="single")
    report = read_strict_json(out / "metrics.json")
    with open(out / "metrics.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [(row["method"], row["patient"]) for row in rows] == [
        (method, name)
        for method in ("identity", "single")
        for name in ("p0", "p1", "mean", "patient_mean", "low", "high")
    ]
    for row in rows:
        for metric in METRICS:
            values = report[row["method"]][metric]
            assert float(row[metric]) == {**values, **values["per_patient"]}[row["patient"]]


def test_metrics_that_survive_motion_by_name(tmp_path: Path) -> None:
    make_dataset(tmp_path / "data", depths=(4, 3))
    report = read_strict_json(
        evaluate(tmp_path, Brighter(), additional_metrics=list(ADDITIONAL_METRICS)) / "metrics.json"
    )
    assert set(report["separate"]) == {*METRICS, *ADDITIONAL_METRICS}
    assert report["identity"]["source_nmi"]["mean"] == pytest.approx(2)
    assert report["separate"]["z_flicker"]["mean"] == pytest.approx(1, abs=0.1)
    assert report["separate"]["tolerant_mae_hu"]["mean"] < report["separate"]["mae_hu"]["mean"]


def test_organs_over_patients_in_files_and_page(tmp_path: Path) -> None:
    """The network adds 75 HU everywhere; truth has 100 in the aorta, 30 in the liver of one patient."""
    patients = make_dataset(tmp_path / "data")
    out = evaluate(tmp_path, Brighter(), report=True)
    organs = read_strict_json(out / "metrics.json")["organ_report"]["organs"]
    assert organs["aorta"]["patients"] == 1 and organs["liver"]["patients"] == 1  # with two slices it is too small
    assert organs["liver"]["bias"] == pytest.approx(45, abs=0.01) and organs["liver"]["low"] is None
    rows = list(csv.reader((out / "organs.csv").open()))
    assert rows[0] == ["patient", "organ", "before", "synthetic", "real"]
    where = patients["p0"]["organs"] == LABELS["liver"]
    assert float(rows[2][4]) == pytest.approx(patients["p0"]["target"][where].mean(), abs=0.01)
    assert (out / "bland_altman.png").read_bytes().startswith(b"\x89PNG")
    page = (out / "report.html").read_text()
    assert "Organs, mean HU over patients" in page and "synthetic less real mean" in page


def test_preview_is_a_picture(tmp_path: Path) -> None:
    make_dataset(tmp_path / "data")
    with Image.open(evaluate(tmp_path, Brighter()) / "preview.png") as picture:
        assert picture.format == "PNG"
        assert 800 < picture.width < 2000 and 500 < picture.height < 2000
        assert np.asarray(picture.convert("L")).std() > 10


def test_one_unaligned_patient_without_labels(tmp_path: Path) -> None:
    make_dataset(tmp_path / "data", aligned=False, depths=(3,))
    pairs = evaluation_pairs(read_datalist(tmp_path / "data", "test"))
    del pairs[0]["organs"]
    out = evaluate(tmp_path, Brighter(), pairs)
    report = read_strict_json(out / "metrics.json")
    assert set(report) == {"about", "identity", "separate"}
    assert report["about"]["aligned"] is False
    assert report["separate"]["mse"]["low"] is None and report["separate"]["mse"]["high"] is None
    with open(out / "metrics.csv", newline="", encoding="utf-8") as file:
        assert [row["mse"] for row in csv.DictReader(file) if row["patient"] == "low"] == ["", ""]


def test_perfect_network(tmp_path: Path) -> None:
    make_dataset(tmp_path / "data")
    pairs = evaluation_pairs(read_datalist(tmp_path / "data", "test"), image="target", label="target")
    row = read_strict_json(evaluate(tmp_path, nn.Identity(), pairs) / "metrics.json")["separate"]
    assert row["mse"]["mean"] == 0 and row["psnr"]["mean"] == 100
    assert row["ms_ssim"]["mean"] == pytest.approx(1, abs=1e-6)


def test_an_empty_evaluation_is_refused_and_writes_nothing(tmp_path: Path) -> None:
    make_dataset(tmp_path / "data")
    with pytest.raises(InputError, match="nothing was evaluated"):
        evaluate(tmp_path, Brighter(), [])
    assert not (tmp_path / "out").exists()


def test_several_processes_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    make_dataset(tmp_path / "data")
    with pytest.raises(InputError, match="one process does it, but several were started; run it without torchrun"):
        evaluate(tmp_path, Brighter())
    assert not (tmp_path / "out").exists()


@pytest.mark.filterwarnings("ignore:The BCa confidence interval")
def test_what_is_not_a_number_is_not_written(tmp_path: Path) -> None:
    class Broken(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x * float("nan")

    make_dataset(tmp_path / "data")
    with pytest.raises(ValueError):
        evaluate(tmp_path, Broken())
    assert not (tmp_path / "out" / "metrics.json").exists()


def test_a_missing_data_set_is_named(tmp_path: Path) -> None:
    make_dataset(tmp_path / "data")
    pairs = evaluation_pairs(read_datalist(tmp_path / "data", "test"))
    (tmp_path / "data" / "datalist.json").unlink()
    with pytest.raises(InputError, match="holds no datalist.json"):
        evaluate(tmp_path, Brighter(), pairs)


def test_preview_shows_the_slice_that_changes_most_with_its_pixel_size(tmp_path: Path) -> None:
    report = EvaluationReport(tmp_path, tmp_path, tmp_path)
    image = MetaTensor(torch.zeros(1, 8, 6, 5), affine=np.diag([0.5, 2.0, 3.0, 1.0]))
    label = image.clone()
    label[0, 2:4, 1, 3] = 0.4
    row = report._preview_row("p0", image, image - 0.2, label)
    assert row.title == "p0, slice 4 of 5" and row.pixel_size == (0.5, 2.0)
    assert row.target is not None
    np.testing.assert_allclose(row.source, 50)
    np.testing.assert_allclose(row.made["synthetic CECT"], 20, rtol=1e-5)
    np.testing.assert_allclose([row.target[2, 1], row.target[0, 0]], [110, 50], rtol=1e-5)


def largest_error(pred: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    return (pred - target).abs().amax(dim=(1, 2, 3))


def test_a_metric_of_ones_own_appears_wherever_the_others_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    patients = make_dataset(tmp_path / "data")
    drawn: dict[str, Any] = {}
    draw = evaluation_report.draw_preview
    monkeypatch.setattr(evaluation_report, "draw_preview", lambda *a, **k: drawn.update(k) or draw(*a, **k))
    own = Metric("largest_hu", largest_error, "largest error HU", ".1f", hu_power=1)
    rmse = Metric("rmse", RMSEMetric(reduction="none"))  # MONAI's as they are
    out = evaluate(tmp_path, Brighter(), additional_metrics=[own, rmse])
    report = read_strict_json(out / "metrics.json")
    p = patients["p1"]
    assert report["separate"]["largest_hu"]["per_patient"]["p1"] == pytest.approx(
        np.abs(p["source"] + 75 - p["target"]).max(), rel=1e-4
    )
    assert report["identity"]["rmse"]["per_patient"]["p1"] == pytest.approx(
        report["identity"]["mse"]["per_patient"]["p1"] ** 0.5, rel=0.01
    )
    with open(out / "metrics.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["method", "patient", *METRICS, "largest_hu", "rmse"]
    head, *lines = capsys.readouterr().out.splitlines()[1:4]
    assert head.split("  ")[0] == "method" and head.rstrip().endswith("rmse") and "largest error HU" in head
    mean = report["separate"]["largest_hu"]["mean"]
    assert f"{mean:.1f} [" in lines[1]
    assert drawn["table"][0][-2:] == ["largest error HU", "rmse"]


def test_images_without_a_unit_are_not_said_to_be_in_hu(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pages: list[Page] = []
    draw = evaluation_report.draw_preview
    monkeypatch.setattr(evaluation_report, "draw_preview", lambda *a, **k: pages.append(draw(*a, **k)) or pages[0])
    make_dataset(tmp_path / "data")
    out = evaluate(tmp_path, Brighter(), source_name="T2", target_name="PD", unit="")
    report = read_strict_json(out / "metrics.json")
    assert set(report["separate"]) == set(METRICS) - {"mae_hu", "mse_hu2"}
    assert set(report) == {"about", "identity", "separate", "organs"}
    assert set(report["organs"]["aorta"]) == {"t2", "synthetic", "pd"}
    assert "HU" not in capsys.readouterr().out + (out / "metrics.csv").read_text().upper()
    (page,) = pages
    texts = [text.get_text() for text in page.figure.findobj(Text)]
    assert any("Window level 50, width 300. Data: fake." in text for text in texts)
    assert not [text for text in texts if "HU" in text]


def test_two_metrics_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected a name for each but got mse, .*, psnr"):
        EvaluationReport(tmp_path, tmp_path, tmp_path, additional_metrics=[Metric("psnr", largest_error)])


def test_a_metric_that_gives_one_value_for_all_slices_is_refused(tmp_path: Path) -> None:
    make_dataset(tmp_path / "data")
    wrong = Metric("mine", lambda pred, target: (pred - target).abs().mean())
    with pytest.raises(InputError, match="metric mine: expected a value for each of 4 slices but got 1"):
        evaluate(tmp_path, Brighter(), additional_metrics=[wrong])
