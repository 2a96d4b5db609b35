"""Keep a study's plan and grades in one SQLite file, where a grade that was accepted survives a kill or a power cut."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import secrets
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from monai_nce.errors import InputError
from monai_nce.study.plan import Reading

__all__ = ["DATABASE", "NotAllowed", "Place", "Study", "StudyImage", "create_database"]

DATABASE = "study.db"  # in the study's folder
FORMAT = 1
SESSION_SECONDS = 12 * 3600
PATIENCE = 30  # s to wait for another writer

TABLES = """
CREATE TABLE study (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE reader (number INTEGER PRIMARY KEY, token_hash BLOB NOT NULL) STRICT;
CREATE TABLE session (
    hash BLOB PRIMARY KEY, reader INTEGER NOT NULL REFERENCES reader, began REAL NOT NULL
) STRICT;
CREATE TABLE image (
    number INTEGER PRIMARY KEY, "case" TEXT NOT NULL, method TEXT NOT NULL, file TEXT NOT NULL, scan TEXT NOT NULL,
    shape TEXT NOT NULL, affine TEXT NOT NULL, UNIQUE ("case", method)
) STRICT;
CREATE TABLE reading (
    id TEXT PRIMARY KEY, reader INTEGER NOT NULL REFERENCES reader, place INTEGER NOT NULL,
    image INTEGER NOT NULL REFERENCES image, repeat INTEGER NOT NULL, UNIQUE (reader, place)
) STRICT;
-- never changed, only added to: of several for one reading the last counts
CREATE TABLE grade (
    number INTEGER PRIMARY KEY AUTOINCREMENT, reading TEXT NOT NULL REFERENCES reading,
    quality INTEGER NOT NULL CHECK (quality BETWEEN 1 AND 5),
    artefact INTEGER NOT NULL CHECK (artefact BETWEEN 1 AND 5),
    looks_real INTEGER CHECK (looks_real IN (0, 1)), comment TEXT NOT NULL, marks TEXT NOT NULL,
    seconds REAL NOT NULL, at REAL NOT NULL
) STRICT;
CREATE INDEX grade_of_reading ON grade (reading, number);
"""
LAST = """
SELECT grade.* FROM grade JOIN (SELECT reading, max(number) AS number FROM grade GROUP BY reading) USING (number)
"""


class NotAllowed(Exception):
    """Report that a reader may not see or grade an image: it is not theirs, or not its turn."""


@dataclass(frozen=True)
class StudyImage:
    """Hold an image of a study: whose, by which method, and the blinded files of it and of its scan."""

    case: str
    method: str
    file: str
    scan: str
    shape: tuple[int, ...]
    affine: Sequence[Sequence[float]]


@dataclass(frozen=True)
class Place:
    """Hold where a reader stands: how many images are graded, the one to grade now, the one graded last."""

    done: int
    total: int
    now: str | None
    before: str | None


def create_database(
    path: str | PathLike[str],
    about: Mapping[str, Any],
    images: Sequence[StudyImage],
    readings: Sequence[Sequence[Reading]],
) -> list[str]:
    """Write a study's plan.

    Args:
        path: of the new file.
        about: what the study is, as JSON can hold it.
        images: in any order.
        readings: of each reader, in the reader's order; images by their index.

    Returns:
        A secret for each reader, of which the file holds a hash alone.
    """
    tokens = [secrets.token_urlsafe(24) for _ in readings]
    with contextlib.closing(sqlite3.connect(path)) as database, database:
        database.execute("PRAGMA journal_mode = WAL")  # kept in the file
        database.executescript(TABLES)
        kept = {"format": FORMAT, "id": secrets.token_hex(4), **about}
        database.executemany("INSERT INTO study VALUES (?, ?)", [(key, json.dumps(kept[key])) for key in kept])
        database.executemany(
            "INSERT INTO image VALUES (?, ?, ?, ?, ?, ?, ?)",
            [
                (number, one.case, one.method, one.file, one.scan, json.dumps(one.shape), json.dumps(one.affine))
                for number, one in enumerate(images)
            ],
        )
        for reader, (token, order) in enumerate(zip(tokens, readings, strict=True), start=1):
            database.execute("INSERT INTO reader VALUES (?, ?)", (reader, _hash(token)))
            rows = [
                (secrets.token_hex(16), reader, place, one.image, int(one.repeat)) for place, one in enumerate(order)
            ]
            # in the order of the ids, so that not even the order of rows says anything
            database.executemany("INSERT INTO reading VALUES (?, ?, ?, ?, ?)", sorted(rows))
    return tokens


class Study:
    """Read and write a study on disk; any number of processes may have it open.

    Args:
        folder: of the study.

    Raises:
        InputError: if it holds no study, or one of another format.
    """

    def __init__(self, folder: str | PathLike[str]) -> None:
        self.folder = Path(folder)
        self.file = self.folder / DATABASE
        if not self.file.is_file():
            raise InputError(f"{folder}: expected the folder of a reader study, as `nce study new` makes it")
        try:
            with self._open() as database:
                rows = database.execute("SELECT key, value FROM study").fetchall()
            self.about = {row["key"]: json.loads(row["value"]) for row in rows}
        except (sqlite3.DatabaseError, ValueError) as error:
            raise InputError(f"{self.file}: not a readable reader study ({error})") from error
        if self.about.get("format") != FORMAT:
            raise InputError(f"{self.file}: expected format {FORMAT} but got {self.about.get('format')}")

    @contextlib.contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        """Yield a connection in which a commit returns when it is on disk."""
        uri = f"{self.file.resolve().as_uri()}?mode=rw"
        with contextlib.closing(sqlite3.connect(uri, uri=True, timeout=PATIENCE, isolation_level=None)) as database:
            database.row_factory = sqlite3.Row
            database.execute("PRAGMA synchronous = FULL")
            database.execute("PRAGMA foreign_keys = ON")
            yield database

    @contextlib.contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._open() as database:
            database.execute("BEGIN IMMEDIATE")
            try:
                yield database
                database.execute("COMMIT")
            except BaseException:
                if database.in_transaction:
                    database.execute("ROLLBACK")
                raise

    @property
    def readers(self) -> list[int]:
        with self._open() as database:
            return [row[0] for row in database.execute("SELECT number FROM reader ORDER BY number")]

    def new_token(self, reader: int) -> str:
        """Give a reader another secret; the old one and open sessions end.

        Raises:
            InputError: if there is no such reader.
        """
        token = secrets.token_urlsafe(24)
        with self._writing() as database:
            changed = database.execute("UPDATE reader SET token_hash = ? WHERE number = ?", (_hash(token), reader))
            if not changed.rowcount:
                raise InputError(f"{self.folder}: has no reader {reader}")
            database.execute("DELETE FROM session WHERE reader = ?", (reader,))
        return token

    def sign_in(self, token: str) -> str | None:
        """Return a new session's secret for the reader whose token it is, or None."""
        given = _hash(token)
        with self._writing() as database:
            found = None
            for row in database.execute("SELECT number, token_hash FROM reader").fetchall():
                if hmac.compare_digest(row["token_hash"], given):  # all are compared, found or not
                    found = row["number"]
            if found is None:
                return None
            session = secrets.token_urlsafe(24)
            database.execute("DELETE FROM session WHERE began < ?", (time.time() - SESSION_SECONDS,))
            database.execute("INSERT INTO session VALUES (?, ?, ?)", (_hash(session), found, time.time()))
        return session

    def sign_out(self, session: str) -> None:
        """End a session."""
        with self._writing() as database:
            database.execute("DELETE FROM session WHERE hash = ?", (_hash(session),))

    def reader_of(self, session: str) -> int | None:
        """Return the reader of a session that has not ended, or None."""
        with self._open() as database:
            row = database.execute(
                "SELECT reader FROM session WHERE hash = ? AND began >= ?",
                (_hash(session), time.time() - SESSION_SECONDS),
            ).fetchone()
        return row and row["reader"]

    def place(self, reader: int) -> Place:
        """Return where a reader stands."""
        with self._open() as database:
            return _place(database, reader)

    def image(self, reader: int, reading: str) -> StudyImage:
        """Return the image to grade now, or the one that was graded last.

        Raises:
            NotAllowed: for any other id.
        """
        with self._open() as database:
            _check_turn(database, reader, reading)
            row = database.execute(
                "SELECT image.* FROM reading JOIN image ON image.number = reading.image WHERE id = ?", (reading,)
            ).fetchone()
        return _image(row)

    def grade_of(self, reader: int, reading: str) -> dict[str, Any] | None:
        """Return what a reader said of the image that was graded last, to be corrected; None of one not graded yet.

        Raises:
            NotAllowed: for any other id.
        """
        with self._open() as database:
            _check_turn(database, reader, reading)
            row = database.execute(
                "SELECT * FROM grade WHERE reading = ? ORDER BY number DESC LIMIT 1", (reading,)
            ).fetchone()
        return None if row is None else _grade(row)

    def keep_grade(self, reader: int, reading: str, grade: Mapping[str, Any]) -> Place:
        """Write a grade to disk, or a corrected one for the last image; then return where the reader stands.

        Args:
            reader: number of the reader.
            reading: id of the image in the reader's order.
            grade: ``quality`` and ``artefact`` from 1 to 5; ``looks_real``, a bool or None; ``comment``, a text;
                ``marks``, voxels as lists of three indices; ``seconds`` that the reader looked.

        Raises:
            NotAllowed: if it is not the image to grade now, nor the one that was graded last.
            InputError: if a mark lies outside of the image, or the question about a real image is (not) asked.
        """
        with self._writing() as database:
            _check_turn(database, reader, reading)
            row = database.execute(
                "SELECT image.* FROM reading JOIN image ON image.number = reading.image WHERE id = ?", (reading,)
            ).fetchone()
            image = _image(row)
            for mark in grade["marks"]:
                if len(mark) != 3 or not all(0 <= at < size for at, size in zip(mark, image.shape, strict=True)):
                    raise InputError(f"marks: expected voxels of an image of {image.shape} but got {mark}")
            if (grade["looks_real"] is not None) != bool(self.about.get("ask_real")):
                raise InputError("looks_real: expected an answer exactly where the study asks the question")
            marks = [{"voxel": list(mark), "mm": _in_mm(image.affine, mark)} for mark in grade["marks"]]
            looks_real = None if grade["looks_real"] is None else int(grade["looks_real"])
            database.execute(
                "INSERT INTO grade (reading, quality, artefact, looks_real, comment, marks, seconds, at)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    *(reading, grade["quality"], grade["artefact"], looks_real, grade["comment"]),
                    *(json.dumps(marks), float(grade["seconds"]), time.time()),
                ),
            )
            return _place(database, reader)

    def grades(self) -> list[dict[str, Any]]:
        """List what every reader said, a dictionary per graded image, by reader and order; corrected ones once."""
        with self._open() as database:
            rows = database.execute(
                f'SELECT reader, place, "case", method, repeat, last.* FROM ({LAST}) AS last'
                " JOIN reading ON reading.id = last.reading JOIN image ON image.number = reading.image"
                " ORDER BY reader, place"
            ).fetchall()
        return [
            {
                **{key: row[key] for key in ("reader", "place", "case", "method")},
                "repeat": bool(row["repeat"]),
                **_grade(row),
                "at": row["at"],
            }
            for row in rows
        ]

    def planned(self) -> dict[int, int]:
        """Return how many images each reader has to grade."""
        with self._open() as database:
            rows = database.execute("SELECT reader, count(*) FROM reading GROUP BY reader ORDER BY reader")
            return dict(tuple(row) for row in rows)

    def images(self) -> Iterable[StudyImage]:
        """List all images."""
        with self._open() as database:
            return [_image(row) for row in database.execute("SELECT * FROM image ORDER BY number")]


def _hash(secret: str) -> bytes:
    """Hash a secret of 192 random bits, for which one round is enough."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()


def _place(database: sqlite3.Connection, reader: int) -> Place:
    rows = database.execute(
        "SELECT id, EXISTS (SELECT 1 FROM grade WHERE grade.reading = reading.id) AS graded FROM reading"
        " WHERE reader = ? ORDER BY place",
        (reader,),
    ).fetchall()
    done = sum(row["graded"] for row in rows)  # the first ones, as each is graded in its turn
    now = rows[done]["id"] if done < len(rows) else None
    return Place(done, len(rows), now, rows[done - 1]["id"] if done else None)


def _check_turn(database: sqlite3.Connection, reader: int, reading: str) -> None:
    place = _place(database, reader)
    if reading not in (place.now, place.before):
        raise NotAllowed(reading)


def _image(row: sqlite3.Row) -> StudyImage:
    shape, affine = json.loads(row["shape"]), json.loads(row["affine"])
    return StudyImage(row["case"], row["method"], row["file"], row["scan"], tuple(shape), affine)


def _grade(row: sqlite3.Row) -> dict[str, Any]:
    looks_real = None if row["looks_real"] is None else bool(row["looks_real"])
    grade = {key: row[key] for key in ("quality", "artefact", "comment", "seconds")}
    return {**grade, "looks_real": looks_real, "marks": json.loads(row["marks"])}


def _in_mm(affine: Sequence[Sequence[float]], voxel: Sequence[int]) -> list[float]:
    """Return where a voxel lies: RAS millimetres, to a hundredth."""
    place = [sum(a * b for a, b in zip(row, [*voxel, 1], strict=True)) for row in affine[:3]]
    return [round(value, 2) for value in place]
