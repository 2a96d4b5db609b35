from __future__ import annotations

import pytest

from monai_nce.cli.app import main


@pytest.fixture(autouse=True)
def columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


def test_a_key_is_told_with_its_default(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "stride"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[:2] == ["Inference", "  stride = 1"]
    assert said[2].startswith("      slices from one stack to the next")


def test_a_part_of_a_key_finds_all_that_have_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "--", "--stage1::generator"]) == 0
    said = capsys.readouterr().out
    assert "  stage1#generator_optimizer#lr = 0.0001\n" in said and "stage2" not in said


def test_without_a_key_all_are_told_within_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config"]) == 0
    said = capsys.readouterr().out
    for part in ("Training", "What overlays add", "Evaluation", "Inference"):
        assert f"{part}\n" in said
    assert max(map(len, said.splitlines())) <= 80


def test_a_key_that_there_is_not_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "ouput_dir"]) == 2
    assert capsys.readouterr().err == "error: no setting is called ouput_dir; did you mean output_dir?\n"
