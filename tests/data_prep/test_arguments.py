from __future__ import annotations

from pathlib import Path

import pytest

from data_prep.__main__ import main
from data_prep.arguments import spell


@pytest.mark.parametrize("old", ["--out-dir", "--out_dir", "--output-dir", "--output_dir"])
def test_every_spelling_of_the_output_folder(old: str, tmp_path: Path) -> None:
    small = ["phantom", "--patients", "2", "--size", "32", "--slices", "1"]
    assert main([*small, old, str(tmp_path / "a")]) == main([*small, f"{old}={tmp_path / 'b-c_d'}"]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b-c_d"]


def test_values_and_short_options_stay_as_they_are() -> None:
    given = ["ixi-like", "--workers=2", "-o", "a-b.nii", "--series", "a-b", "--min-slices", "-1", "--", "-x"]
    wanted = ["ixi-like", "--num_workers=2", "-o", "a-b.nii", "--series", "a-b", "--min_slices", "-1", "--", "-x"]
    assert spell(given) == wanted


def test_the_help_knows_one_spelling(capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("ct", "ixi", "ixi-like", "phantom", "register"):
        with pytest.raises(SystemExit):
            main([command, "--help"])
        shown = capsys.readouterr().out
        assert "--output_dir DIR" in shown and "--out-dir" not in shown and "--workers" not in shown
