from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.organ_table import organ_markdown
from benchmarks.table import write_table
from benchmarks.table_page import page_tables, write_table_page
from tests.benchmarks.test_table import ABOUT, result


def measured(method: str, bias: float, seed: int = 0) -> dict[str, Any]:
    organ = {"patients": 3, "synthetic": 0.0, "low": bias - 4, "high": bias + 4, "bias": bias}
    organs = {
        "urine": {**organ, "before": 5.0, "real": 6.0},
        "liver": {**organ, "before": 50.0, "real": 100.0},
        "portal_vein": {**organ, "before": 40.0, "real": 170.0, "low": None, "high": None},
    }
    report = {
        "organs": organs,
        "all_organs": {"slope": 0.4 + seed / 5, "variance_ratio": None},
        "lesions": {},
        "nothing_rises": {"urine": {"rise": 3.0 + seed, "largest": 9.0, "ml": 0.0}},
    }
    one = result(method, (0.1, 0.2), seed=seed)
    return {**one, "metrics": {**one["metrics"], "organ_report": report}}


def test_means_over_seeds_in_the_tables_order() -> None:
    results = [measured("separate", -3.0), measured("joint", 2.0), measured("joint", 4.0, seed=1)]
    organs, still = page_tables(organ_markdown(results))
    assert organs.columns == ["method", "portal vein", "liver", "urine", "slope", "variance ratio"]
    assert organs.rows == [
        ["joint", "+3.0", "+3.0 [-1.0, 7.0]", "+3.0 [-1.0, 7.0]", "0.50", ""],
        ["separate", "-3.0", "-3.0 [-7.0, 1.0]", "-3.0 [-7.0, 1.0]", "0.40", ""],
    ]
    assert still.heading == "What rose where nothing may, in HU"
    assert still.rows == [["joint", "+3.5"], ["separate", "+3.0"]]
    assert organ_markdown([result("joint", (0.1, 0.2))]) == ""


def test_it_lies_in_the_tables_folder_and_on_its_page(tmp_path: Path) -> None:
    write_table(tmp_path, ABOUT, [result("joint", (0.1, 0.2))], mri=False)
    assert not (tmp_path / "organs.md").exists()
    write_table(tmp_path, ABOUT, [measured("joint", 2.0)], mri=False)
    assert "portal vein" in (tmp_path / "organs.md").read_text()
    assert "Organs, synthetic less real mean HU" in write_table_page(tmp_path, []).read_text()
