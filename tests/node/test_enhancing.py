from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pydicom
import pytest

from monai_nce.data.scans.found import FoundVolume
from monai_nce.errors import InputError
from monai_nce.node.enhancing import Crashed, Enhancing, Result, _place, enhance_series
from tests.data.conftest import hu, write_series
from tests.data.derived_series import derive
from tests.node.deadly import die_of_some

__all__ = ["hu", "write_series"]


def test_the_process_stays_and_one_that_ended_is_followed_by_another(tmp_path: Path) -> None:
    enhancing = Enhancing({}, die_of_some)
    first, second = (enhancing.run(tmp_path / "a", tmp_path, "") for _ in range(2))
    assert first.reason == second.reason != str(os.getpid())
    with pytest.raises(Crashed, match="the process that enhances ended"):
        enhancing.run(tmp_path / "deadly", tmp_path, "")
    third = enhancing.run(tmp_path / "a", tmp_path, "")
    assert third.outcome == "enhanced" and third.reason != first.reason
    enhancing.close()
    enhancing.close()


def test_uids_follow_from_the_seed_and_nothing_else_changes(
    write_series: Callable[..., Path], hu: Any, tmp_path: Path
) -> None:
    source = write_series(tmp_path / "source")
    headers = derive(source, hu, tmp_path / "made")
    for name, seed in (("a", "1"), ("b", "1"), ("c", "2")):
        _place(tmp_path / "made", tmp_path / name, seed)
    a, b, c = ([pydicom.dcmread(path) for path in sorted((tmp_path / name).iterdir())] for name in "abc")
    assert a == b
    assert len({one.SeriesInstanceUID for one in a}) == 1 and len({one.SOPInstanceUID for one in a}) == 5
    assert not {one.SOPInstanceUID for one in a} & {one.SOPInstanceUID for one in [*c, *headers]}
    for one, made in zip(a, headers, strict=True):
        assert one.file_meta.MediaStorageSOPInstanceUID == one.SOPInstanceUID
        one.SeriesInstanceUID, one.SOPInstanceUID = made.SeriesInstanceUID, made.SOPInstanceUID
        assert one == made


@pytest.mark.parametrize(
    ("raised", "outcome", "reason"),
    [
        (
            InputError("{series}: seems to show a head (refused because of --strict)"),
            "unsuitable",
            "seems to show a head",
        ),
        (InputError("{series}: two patients"), "unusable", "two patients"),
        (RuntimeError("Geheim^Anna"), "fault", "an unexpected RuntimeError while it was enhanced"),
        (OSError(errno.ENOSPC, "No space"), "disk", "the disk is full or not writable"),
    ],
)
def test_why_a_series_was_not_enhanced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, raised: Exception, outcome: str, reason: str
) -> None:
    import monai_nce.python_api

    series = tmp_path / "series"

    def fail(image: Path, **_: Any) -> FoundVolume:
        if not isinstance(raised, InputError):
            raise raised
        cause = InputError(str(raised).format(series=series))
        try:
            raise RuntimeError from cause
        except RuntimeError:
            raise cause from None  # as monai_nce.enhance does: each is the other's context

    monkeypatch.setattr(monai_nce.python_api, "enhance", fail)
    assert enhance_series(series, tmp_path / "out", "", {}) == Result(outcome, reason)
    assert not (tmp_path / "out").exists()
