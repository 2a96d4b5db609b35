from __future__ import annotations

from pathlib import Path

from monai_nce.settings.schema import leaves
from monai_nce.settings.table import setting_rows, settings_page, settings_table

ROOT = Path(__file__).parents[2]


def test_the_documentation_s_page_is_that_of_the_schema_and_the_configurations() -> None:
    page = settings_page(ROOT / "bundles" / "nce" / "configs")
    assert (ROOT / "docs" / "settings.md").read_text(encoding="utf-8") == page
    assert all(f"`{key}`" in page or f"`--{key.removeprefix('data_prep#')}`" in page for key, _ in leaves())


def test_a_table_has_what_a_configuration_has() -> None:
    assert settings_table(
        setting_rows({"seed": 3, "suffix": "$'a'", "phase": None, "own": 1}, {"phase": None})
    ).splitlines()[2:] == [
        '| `suffix` |  | text that says "synthetic", without a slash | end of the results\' names |',
        "| `seed` | `3` | a whole number, 0 or more | seed of weights, data order and partners |",
    ]


def test_every_setting_says_what_it_means() -> None:
    assert [key for key, schema in leaves() if not schema.get("description")] == []
