from __future__ import annotations

from importlib import import_module

import pytest


@pytest.mark.parametrize(
    ("former", "present", "name"),
    [("examine", "scans.examine", "examine"), ("volumes", "scans.found", "find_images")],
)
def test_names_of_version_0_1_0_are_the_present_ones(former: str, present: str, name: str) -> None:
    modules = [import_module(f"monai_nce.data.{path}") for path in (former, present)]
    assert getattr(modules[0], name) is getattr(modules[1], name)
