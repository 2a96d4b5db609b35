from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.data import MetaTensor

from monai_nce.errors import InputError
from monai_nce.visualize import Case, Display, Report, ReportTable, write_report
from monai_nce.visualize.page import report as module
from monai_nce.visualize.page.embed import unpack
from tests.visualize.page.pages import LPS, data_of, scan_and_synthetic, volume_text, whole_numbers

FOLDER = Path(module.__file__).parent
HOSTILE = "</script><script>alert('x')</script><img src=x onerror=y> & \"z\" {{ 7 * 7 }}"


class Elements(HTMLParser):
    """Collect what a page's elements say to a browser."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.tags and self.tags[-1][0] not in ("script", "style"):
            self.words.append(data)


def test_the_volumes_are_those_of_the_files() -> None:
    scan, synthetic = scan_and_synthetic()
    html = Report("name", cases=[Case("ct", LPS, synthetic + 0.2, scan, scan + 1)]).html()
    volumes = data_of(html)["cases"][0]["volumes"]
    assert set(volumes) == {"scan", "change", "real"}
    images = {role: unpack(volume_text(html, name)) for role, name in volumes.items()}
    for image in images.values():
        np.testing.assert_allclose(image.affine, LPS, atol=1e-6)
    held = {role: np.asarray(image.dataobj) for role, image in images.items()}
    np.testing.assert_array_equal(held["scan"], scan)
    np.testing.assert_array_equal(held["scan"] + held["change"], synthetic)
    np.testing.assert_array_equal(held["real"], scan + 1)


@settings(max_examples=20)
@given(st.data())
def test_the_synthetic_image_is_right_again_whatever_the_difference(data: st.DataObject) -> None:
    scan = data.draw(whole_numbers())
    synthetic = np.random.default_rng(data.draw(st.integers(0, 99))).permutation(scan.ravel()).reshape(scan.shape)
    stored = Case("ct", LPS, -synthetic.astype(float), scan).stored
    np.testing.assert_array_equal(stored["scan"] + stored["change"], np.clip(-synthetic.astype(int), -32768, 32767))


def test_without_a_scan_the_synthetic_image_stands_alone() -> None:
    _, synthetic = scan_and_synthetic()
    html = Report("name", cases=[Case("ct", LPS, synthetic)]).html()
    np.testing.assert_array_equal(np.asarray(unpack(volume_text(html, "volume-0-synthetic")).dataobj), synthetic)
    assert 'data-role="scan"' not in html and 'data-role="difference"' not in html


@pytest.mark.parametrize("where", ["title", "warning", "case", "heading", "column", "row", "note", "caption", "domain"])
def test_text_stays_text(where: str) -> None:
    scan, synthetic = scan_and_synthetic()
    says = {where: HOSTILE}
    table = ReportTable(
        says.get("heading", "h"), (says.get("column", "c"), "d"), [(says.get("row", "r"), "1")], says.get("note", "n")
    )
    report = Report(
        says.get("title", "t"),
        Display(says.get("domain", "NECT")),
        [says.get("warning", "w")],
        [Case(says.get("case", "a"), LPS, synthetic, scan), Case("b", LPS, synthetic, scan)],
        {says.get("caption", "f"): b"\x89PNG"},
        [table],
    )
    plain = Elements(
        Report("t", Display(), ["w"], report.cases[1:] * 2, {"f": b""}, [ReportTable("h", ("c", "d"))]).html()
    )
    elements = Elements(report.html())
    kinds = {tag for tag, _ in elements.tags}
    assert kinds - {tag for tag, _ in plain.tags} <= {"th", "td"}
    assert len([tag for tag, _ in elements.tags if tag == "script"]) == 2 * 2 + 2  # volumes, data, the viewer
    assert not any(name.startswith("on") for _, attributes in elements.tags for name in attributes)
    words = " ".join(elements.words)
    if where == "case":
        assert data_of(report.html())["cases"][0]["name"] == HOSTILE
    assert HOSTILE in words


def test_the_policy_lets_nothing_out_and_no_other_script_in() -> None:
    scan, synthetic = scan_and_synthetic()
    html = Report("name", cases=[Case("ct", LPS, synthetic, scan)]).html()
    (policy,) = [
        attributes["content"] or ""
        for tag, attributes in Elements(html).tags
        if tag == "meta" and attributes.get("http-equiv") == "Content-Security-Policy"
    ]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules.keys() == {"default-src", "script-src", "style-src", "img-src", "base-uri", "form-action"}
    assert rules["default-src"] == rules["base-uri"] == rules["form-action"] == "'none'"
    assert rules["img-src"] == "data:"
    for kind, pattern in (("script", r"<script>(.*?)</script>"), ("style", r"<style>(.*?)</style>")):
        text = re.findall(pattern, html, re.DOTALL)[-1 if kind == "script" else 0]
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert rules[f"{kind}-src"] == f"'sha256-{digest}'"


def test_it_says_synthetic_in_every_picture_that_is() -> None:
    scan, synthetic = scan_and_synthetic()
    html = Report("name", cases=[Case("ct", LPS, synthetic, scan, scan)]).html()
    figures = dict(re.findall(r'<figure class="panel" data-role="(\w+)">(.*?)</figure>', html, re.DOTALL))
    marked = {role for role, content in figures.items() if "SYNTHETIC · research use only" in content}
    assert list(figures) == ["scan", "synthetic", "real", "difference"]
    assert marked == {"synthetic", "difference"}
    assert re.search(r"<title>.*SYNTHETIC, research use only</title>", html)
    assert '<p class="research">SYNTHETIC' in html


def test_a_page_of_tables_and_figures_alone() -> None:
    html = Report(
        "Table 1", tables=[ReportTable("t", ("method", "MSE"), [("identity", "0.1")])], figures={"f": b"ab"}
    ).html()
    assert "<figure" not in html and "identity" in html and "data:image/png;base64,YWI=" in html


def test_large_volumes_are_reduced_and_the_page_says_so(tmp_path: Path) -> None:
    scan, synthetic = scan_and_synthetic((130, 120, 6))
    report = Report("name", cases=[Case("ct", LPS, synthetic, scan)])
    write_report(tmp_path / "whole.html", report)
    held = (tmp_path / "whole.html").read_text()
    limit = sum(len(volume_text(held, f"volume-0-{role}")) for role in ("scan", "change")) // 2
    write_report(tmp_path / "reduced.html", report, limit)
    whole, reduced = (data_of(page)["cases"][0] for page in (held, (tmp_path / "reduced.html").read_text()))
    assert (whole["reduced"], whole["note"], reduced["reduced"]) == (1, "", 2)
    assert module.LIMIT + (FOLDER / "viewer.js").stat().st_size + 10**6 < 40e6  # of a page, however large the scan
    assert "2 × 2 pixels are averaged in each slice, from 130 × 120 × 6 to 65 × 60 × 6 voxels" in reduced["note"]
    assert (tmp_path / "reduced.html").stat().st_size < (tmp_path / "whole.html").stat().st_size - limit


def test_volumes_of_another_shape_or_place_are_refused() -> None:
    scan, synthetic = scan_and_synthetic()
    with pytest.raises(InputError, match=r"real: expected a volume of shape \(30, 24, 9\) but got \(30, 24, 8\)"):
        Case("ct", LPS, synthetic, scan, scan[..., :8])
    moved = LPS + [[0, 0, 0, 0.5], *[[0] * 4] * 3]
    here, there = (MetaTensor(torch.zeros(1, 3, 3, 3), affine=affine) for affine in (LPS, moved))
    with pytest.raises(InputError, match="scan: expected the grid of the synthetic image but .* up to 0.5 mm off"):
        Case.of("ct", synthetic=here, scan=there)


def test_a_place_that_cannot_be_written_to_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="page.html: cannot be written: "):
        write_report(tmp_path / "file" / "page.html", Report("t"))


def test_the_viewer_is_that_of_the_lock_file() -> None:
    lock = json.loads((FOLDER / "viewer" / "package-lock.json").read_text())
    text = (FOLDER / "viewer.js").read_text()
    head, licences = text.splitlines()[0], (FOLDER / "viewer.licenses.txt").read_text()
    inside = re.findall(r"(\S+) (\d[\d.]*) \(([\w.-]+)\)", head.partition("with ")[2])
    assert "@niivue/niivue" in [name for name, _, _ in inside]
    for name, version, licence in inside:
        assert lock["packages"][f"node_modules/{name}"]["version"] == version
        assert f"{name} {version} ({licence})\n" in licences
    assert not any("resolved" in package for package in lock["packages"].values())
    assert "</script" not in text.lower() and "<!--" not in text  # it is put between two tags
