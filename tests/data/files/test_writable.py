from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from monai_nce.data.files.atomic import atomic_path
from monai_nce.data.files.writable import check_name, check_writable
from monai_nce.errors import InputError


def test_a_folder_that_is_there_or_can_be_made_is_left_as_it_is(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "a" / "b"):
        check_writable(folder)
    assert list(tmp_path.iterdir()) == []


def test_a_relative_one_is_below_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    check_writable("runs/x")
    with pytest.raises(InputError, match="cannot be written"):
        check_writable("r" * 300)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("file", "file: expected a folder for the results but it is a file"),
        ("file/x", "file/x: cannot be written: Not a directory"),
        ("x" * 256 + "/y", "x: cannot be written: expected a name of 255 bytes at most but got 256; shorten it"),
        ("/proc/x", "/proc/x: cannot be written: "),
        ("/dev/null/x", "/dev/null/x: cannot be written: "),
    ],
)
def test_what_cannot_be_written_to_is_refused(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError) as error:
        check_writable(tmp_path / name)
    assert message in str(error.value) and "\n" not in str(error.value)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(230, 260), st.sampled_from(["a", "é", "雪"]))
def test_a_name_is_refused_exactly_where_writing_it_would_fail(tmp_path: Path, size: int, sign: str) -> None:
    path = tmp_path / (sign * (size // len(sign.encode())))
    try:
        with atomic_path(path) as temporary:
            temporary.touch()
    except OSError:
        with pytest.raises(InputError, match="expected a name of 237 bytes at most but got"):
            check_name(path)
    else:
        check_name(path)
