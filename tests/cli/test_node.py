from __future__ import annotations

from pathlib import Path

import pytest

from monai_nce.cli.app import main


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--forward", "PACS"], "--forward: expected AET@host:port"),
        (["--forward", "P@h:1", "--allow", "A@"], "--allow: expected AET or AET@address"),
        (["--forward", "P@h:1", "--host", "0.0.0.0"], "name with --allow who may send"),
        (["--forward", "P@h:1", "--weights", "unheard-of"], "unheard-of"),
    ],
)
def test_wrong_input_is_said_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], said: str
) -> None:
    assert main(["node", "--data", str(tmp_path / "node"), *options]) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1
    assert not (tmp_path / "node").exists()
