"""Make a page to look at of ``table1.md`` and the figures beside it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from monai_nce.visualize import Report, ReportTable, write_report
from monai_nce.visualize.page import version_table

__all__ = ["page_tables", "write_table_page"]

MARKS = {
    r"\*\*(.+?)\*\*": r"\1 (best)",
    r"<u>(.+?)</u>": r"\1 (second)",
    "`": "",
    "Bold: best, underlined: second,": "Marked: best and second",
}


def write_table_page(out_dir: Path, figures: Sequence[Path]) -> Path:
    """Write ``report.html`` beside the table, with figures by their names; return it."""
    tables = page_tables((out_dir / "table1.md").read_text(encoding="utf-8"))
    if (out_dir / "organs.md").exists():
        tables += page_tables((out_dir / "organs.md").read_text(encoding="utf-8"))
    pictures = {figure.stem.replace("_", ": ", 1).replace("_", " "): figure.read_bytes() for figure in figures}
    report = Report("Table 1", tables=[*tables, version_table()], figures=pictures)
    write_report(out_dir / "report.html", report)
    return out_dir / "report.html"


def page_tables(markdown: str) -> list[ReportTable]:
    """Take the tables out of Markdown: each with the line that ends in a colon before it, and the text behind it."""
    for mark, plain in MARKS.items():
        markdown = re.sub(mark, plain, markdown)
    heading, *blocks = markdown.strip().split("\n\n")
    tables: list[ReportTable] = []
    heading = heading.removeprefix("# ")
    for block in blocks:
        if block.startswith("|"):
            head, _, *rows = ([cell.strip() for cell in line.strip("|").split("|")] for line in block.splitlines())
            tables.append(ReportTable(heading, head, rows))
        elif block.endswith(":"):
            heading = block.removesuffix(":")
        else:
            last = tables.pop()
            tables.append(ReportTable(last.heading, last.columns, last.rows, f"{last.note}\n{block}".strip()))
    return tables
