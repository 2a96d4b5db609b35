"""What is kept of a study, and who may see it."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path
from typing import Any

import pytest

from monai_nce.errors import InputError
from monai_nce.study import database
from monai_nce.study.database import NotAllowed, Place, Study, StudyImage, create_database
from monai_nce.study.plan import Reading

AFFINE = [[-2.0, 0, 0, 10], [0, 0, 3, 20], [0, 1, 0, 30], [0, 0, 0, 1.0]]
IMAGES = [StudyImage("p1", method, f"{method}.nii.gz", "scan.nii.gz", (5, 6, 7), AFFINE) for method in ("a", "b")]
ORDERS = [[Reading(1, False), Reading(0, False), Reading(1, True)], [Reading(0, False), Reading(1, False)]]
GRADE: dict[str, Any] = {
    **{"quality": 2, "artefact": 4, "looks_real": None, "comment": "rim", "marks": [(1, 2, 3)], "seconds": 9.5}
}


def open_study(folder: Path, **about: Any) -> tuple[Study, list[str]]:
    tokens = create_database(folder / "study.db", about, IMAGES, ORDERS)
    return Study(folder), tokens


def test_a_grade_is_kept_with_where_the_marks_lie(tmp_path: Path) -> None:
    study, _ = open_study(tmp_path)
    first = study.place(1)
    assert (first.done, first.total, first.before) == (0, 3, None)
    assert first.now is not None
    assert (study.image(1, first.now).method, study.grade_of(1, first.now)) == ("b", None)
    second = study.keep_grade(1, first.now, GRADE)
    assert (second.done, second.before) == (1, first.now)
    (kept,) = Study(tmp_path).grades()
    # x = 10 - 2 * 1, y = 20 + 3 * 3, z = 30 + 2
    assert kept["marks"] == [{"voxel": [1, 2, 3], "mm": [8, 29, 32]}]
    assert {key: kept[key] for key in ("reader", "place", "case", "method", "repeat", "quality", "comment")} == {
        **{"reader": 1, "place": 0, "case": "p1", "method": "b", "repeat": False, "quality": 2, "comment": "rim"}
    }
    assert abs(kept["at"] - time.time()) < 60


def test_the_last_image_is_corrected_and_no_other(tmp_path: Path) -> None:
    study, _ = open_study(tmp_path)
    ids = []
    for _ in range(3):
        now = study.place(1).now
        assert now is not None
        ids.append(now)
        study.keep_grade(1, now, GRADE)
    assert study.place(1) == Place(3, 3, None, ids[2])
    study.keep_grade(1, ids[2], {**GRADE, "quality": 5})
    assert [one["quality"] for one in study.grades()] == [2, 2, 5]
    assert [one["repeat"] for one in study.grades()] == [False, False, True]
    for reader, reading in ((1, ids[0]), (1, ids[1]), (2, ids[2]), (1, study.place(2).now), (1, "0" * 32), (3, ids[2])):
        for ask in (study.image, study.grade_of, lambda one, id_: study.keep_grade(one, id_, GRADE)):
            with pytest.raises(NotAllowed):
                ask(reader, reading)  # type: ignore[arg-type, operator]
    with sqlite3.connect(tmp_path / "study.db") as opened:  # nothing is overwritten
        assert opened.execute("SELECT count(*) FROM grade").fetchone() == (4,)


@pytest.mark.parametrize("mark", [(5, 0, 0), (0, 6, 0), (0, 0, 7), (-1, 0, 0), (0, 0)])
def test_a_mark_beside_the_image_is_refused(tmp_path: Path, mark: tuple[int, ...]) -> None:
    study, _ = open_study(tmp_path)
    now = study.place(1).now
    assert now is not None
    with pytest.raises(InputError, match=r"^marks: expected voxels of an image of \(5, 6, 7\)"):
        study.keep_grade(1, now, {**GRADE, "marks": [mark]})
    assert study.place(1).done == 0 and not study.grades()


@pytest.mark.parametrize(("asked", "answer"), [(True, None), (False, True)])
def test_the_question_about_real_images_is_answered_where_it_is_asked(
    tmp_path: Path, asked: bool, answer: bool | None
) -> None:
    study, _ = open_study(tmp_path, ask_real=asked)
    now = study.place(1).now
    assert now is not None
    with pytest.raises(InputError, match="^looks_real: "):
        study.keep_grade(1, now, {**GRADE, "looks_real": answer})


def test_secrets_are_not_kept(tmp_path: Path) -> None:
    study, tokens = open_study(tmp_path)
    session = study.sign_in(tokens[1])
    assert session is not None and study.reader_of(session) == 2
    stored = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    assert not [secret for secret in (*tokens, session) if secret.encode() in stored]
    assert [study.sign_in(wrong) for wrong in ("", tokens[0][:-1], "\ud800")] == [None, None, None]
    study.sign_out(session)
    assert study.reader_of(session) is None


def test_a_session_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study, tokens = open_study(tmp_path)
    session, other = study.sign_in(tokens[0]), study.sign_in(tokens[1])
    assert session and other
    new = study.new_token(1)
    assert (study.reader_of(session), study.reader_of(other), study.sign_in(tokens[0])) == (None, 2, None)
    assert study.sign_in(new)
    later = time.time() + database.SESSION_SECONDS + 1
    monkeypatch.setattr(database.time, "time", lambda: later)
    assert study.reader_of(other) is None
    with pytest.raises(InputError, match="has no reader 3"):
        study.new_token(3)


def test_a_commit_is_on_disk(tmp_path: Path) -> None:
    study, _ = open_study(tmp_path)
    with study._open() as opened:
        assert opened.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
        assert opened.execute("PRAGMA synchronous").fetchone()[0] == 2  # FULL


@pytest.mark.parametrize("content", [None, b"", b"no database at all" * 100])
def test_what_is_no_study_is_refused(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "study.db").write_bytes(content)
    with pytest.raises(InputError, match="reader study"):
        Study(tmp_path)


def test_another_format_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected format 1 but got 99"):
        open_study(tmp_path, format=99)
