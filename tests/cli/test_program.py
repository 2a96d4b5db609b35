from __future__ import annotations

import logging
import runpy
import warnings
from collections.abc import Iterator

import pytest

from monai_nce.cli import program
from monai_nce.errors import InputError
from monai_nce.terminal import GO_ON


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    with warnings.catch_warnings():
        yield
    logging.disable(logging.NOTSET)


def ending_with(error: BaseException | None, monkeypatch: pytest.MonkeyPatch) -> int:
    def run_module(name: str, **more: object) -> None:
        assert (name, more) == ("monai.bundle", {"run_name": "__main__", "alter_sys": True})
        if error is not None:
            raise error

    monkeypatch.setattr(runpy, "run_module", run_module)
    return program.main()


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (None, 0, ""),
        (InputError("a: no such file"), 2, "error: a: no such file\n"),
        (KeyboardInterrupt(), 130, "interrupted; go on with: nce train --resume -o out\n"),
    ],
)
def test_statuses(
    error: BaseException | None,
    status: int,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv(GO_ON, "nce train --resume -o out")
    assert ending_with(error, monkeypatch) == status
    assert capsys.readouterr() == ("", said)


def test_what_nobody_expected_shows_where_it_came_from(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ZeroDivisionError):
        ending_with(ZeroDivisionError(), monkeypatch)


@pytest.mark.parametrize(
    ("of_the_bundle", "of_nce"),
    [
        (
            "--resume True goes on with it, --overwrite True trains anew",
            "--resume goes on with it, --overwrite trains anew",
        ),
        ("choose another --output_dir", "choose another -o"),
        ("name other weights with --checkpoint", "name other weights with --weights"),
        ("and --only is nect (refused because of --strict)", "and --only is nect (refused because of --strict)"),
        ("seed: expected True", "seed: expected True"),
    ],
)
def test_flags_are_spelt_as_those_of_nce(of_the_bundle: str, of_nce: str) -> None:
    assert program.spelt(of_the_bundle) == of_nce
