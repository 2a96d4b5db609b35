from __future__ import annotations

from pathlib import Path

import pytest

from monai_nce.cli.app import main


def test_the_folder_holds_a_bundle(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bundle"]) == 0
    assert (Path(capsys.readouterr().out.rstrip("\n")) / "configs" / "inference.json").is_file()
