from __future__ import annotations

import re
from pathlib import Path

import pytest

from benchmarks.table_page import page_tables, write_table_page

RESULTS = Path(__file__).parents[2] / "docs" / "results"


def test_tables_have_their_headings_cells_and_notes() -> None:
    markdown = """# Table 1

| method | MSE |
| --- | --- |
| identity | 0.2 |
| joint | **0.1 [0, 1]** |
| single | <u>0.15</u> |

Data: ours.

Bold: best, underlined: second, of two. Command: `python -m x`.

Of others:

| method | MSE |
| --- | --- |
| joint | 0.3 |
"""
    ours, others = page_tables(markdown)
    assert (ours.heading, ours.columns) == ("Table 1", ["method", "MSE"])
    assert ours.rows == [["identity", "0.2"], ["joint", "0.1 [0, 1] (best)"], ["single", "0.15 (second)"]]
    assert ours.note == "Data: ours.\nMarked: best and second of two. Command: python -m x."
    assert (others.heading, others.rows, others.note) == ("Of others", [["joint", "0.3"]], "")


@pytest.mark.parametrize("name", ["table1_phantom", "table1_ixi_like"])
def test_the_page_of_a_measured_table(name: str, tmp_path: Path) -> None:
    (tmp_path / "table1.md").write_bytes((RESULTS / name / "table1.md").read_bytes())
    figures = sorted((RESULTS / name).glob("fig*.png"))
    html = write_table_page(tmp_path, figures).read_text(encoding="utf-8")
    assert html.partition("<script>")[0].count("data:image/png;base64,") == len(figures) > 0
    assert [*re.findall(r"<h2>(fig\d: .*?)</h2>", html)] == [
        figure.stem.replace("_", ": ", 1).replace("_", " ") for figure in figures
    ]
    assert '<th scope="row">identity</th>' in html and "(best)" in html and "**" not in html.partition("<script")[0]
