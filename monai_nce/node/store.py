"""Keep on disk what was received, what became of it, and what is still to be sent.

A folder holds a SQLite database and the files. The database holds no patient data: UIDs are hashed, and studies and
series have running numbers, by which logs and the page call them. What is not in the database does not exist: a file
takes its place before its row is committed, and one without a row is removed at the next start.
"""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
import shutil
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from monai_nce.data.files.atomic import make_folders
from monai_nce.data.files.lock import Timeout, lock_folder
from monai_nce.errors import InputError

__all__ = ["ATTEMPTS", "Outgoing", "Store", "Task", "backoff"]

DATABASE, INCOMING, OUTGOING, WORK = "node.db", "incoming", "outgoing", "work"
FORMAT = 1
PATIENCE = 30  # s to wait for another writer
ATTEMPTS = 3  # of a series that ends the process that enhances it
FIRST_RETRY, LONGEST_RETRY = 5.0, 900.0  # s
NO_SPACE = (errno.ENOSPC, errno.EDQUOT)

TABLES = """
CREATE TABLE about (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE study (number INTEGER PRIMARY KEY AUTOINCREMENT, hash TEXT NOT NULL UNIQUE, last REAL NOT NULL) STRICT;
CREATE TABLE series (
    number INTEGER PRIMARY KEY AUTOINCREMENT, study INTEGER NOT NULL REFERENCES study, hash TEXT NOT NULL UNIQUE,
    state TEXT NOT NULL CHECK (state IN ('waiting', 'enhanced', 'refused', 'failed')), reason TEXT NOT NULL,
    generation INTEGER NOT NULL, attempts INTEGER NOT NULL, next_try REAL NOT NULL, changed REAL NOT NULL
) STRICT;
CREATE TABLE instance (
    hash TEXT PRIMARY KEY, series INTEGER NOT NULL REFERENCES series, content TEXT NOT NULL, file TEXT NOT NULL
) STRICT;
CREATE INDEX instance_of_series ON instance (series);
CREATE TABLE outgoing (
    number INTEGER PRIMARY KEY AUTOINCREMENT, series INTEGER NOT NULL REFERENCES series, name TEXT NOT NULL UNIQUE,
    state TEXT NOT NULL CHECK (state IN ('waiting', 'sent')), reason TEXT NOT NULL,
    attempts INTEGER NOT NULL, next_try REAL NOT NULL, changed REAL NOT NULL
) STRICT;
CREATE TABLE counter (name TEXT NOT NULL, label TEXT NOT NULL, value REAL NOT NULL, PRIMARY KEY (name, label)) STRICT;
"""
RECENT = """
SELECT series.number, series.study, series.state, series.reason, series.changed, study.last,
    (SELECT count(*) FROM instance WHERE instance.series = series.number) AS instances,
    (SELECT count(*) FROM outgoing WHERE outgoing.series = series.number AND state = 'sent') AS sent,
    (SELECT count(*) FROM outgoing WHERE outgoing.series = series.number AND state = 'waiting') AS unsent,
    (SELECT max(reason) FROM outgoing WHERE outgoing.series = series.number AND state = 'waiting') AS send_reason
FROM series JOIN study ON study.number = series.study ORDER BY max(series.changed, study.last) DESC LIMIT ?
"""
# of a study that nothing has happened to since :before, and nothing is to happen to
FINISHED = """
SELECT number FROM study WHERE last < :before
    AND NOT EXISTS (SELECT 1 FROM series WHERE study = study.number AND (state = 'waiting' OR changed >= :before))
    AND NOT EXISTS (
        SELECT 1 FROM outgoing JOIN series ON series.number = outgoing.series
        WHERE series.study = study.number AND (outgoing.state = 'waiting' OR outgoing.changed >= :before)
    )
"""


@dataclass(frozen=True)
class Task:
    """Hold a series to enhance.

    Attributes:
        study: running number of its study.
        series: its own.
        generation: how often its instances have changed.
        files: of its instances.
        content: hash of all that they hold.
    """

    study: int
    series: int
    generation: int
    files: tuple[Path, ...]
    content: str


@dataclass(frozen=True)
class Outgoing:
    """Hold a derived series to send: its running number, those of study and source series, folder, failed attempts."""

    number: int
    study: int
    series: int
    folder: Path
    attempts: int


class Store:
    """Read and write the folder of a node, from any thread of one process.

    Args:
        folder: made if missing, for its owner alone.

    Raises:
        InputError: if another node has it open, it cannot be written to, or it holds another format.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._turn = threading.RLock()
        try:
            make_folders(folder)
            folder.chmod(0o700)
            self._lock = lock_folder(folder)
            for name in (INCOMING, OUTGOING, WORK):
                (folder / name).mkdir(exist_ok=True)
        except Timeout as error:
            raise InputError(f"{folder}: another node has this folder open: give each its own --data") from error
        except OSError as error:
            raise InputError(f"{folder}: cannot be written to ({error.strerror}): choose another --data") from error
        try:
            self._database = sqlite3.connect(
                folder / DATABASE, timeout=PATIENCE, isolation_level=None, check_same_thread=False
            )
            self._database.row_factory = sqlite3.Row
            self._database.execute("PRAGMA journal_mode = WAL")
            self._database.execute("PRAGMA synchronous = FULL")  # a commit returns when it is on disk
            self._database.execute("PRAGMA foreign_keys = ON")
            with self._writing() as database:
                if not database.execute("SELECT 1 FROM sqlite_master WHERE name = 'about'").fetchone():
                    for statement in TABLES.split(";"):
                        database.execute(statement)
                    database.execute("INSERT INTO about VALUES ('format', ?)", (str(FORMAT),))
            (kept,) = self._database.execute("SELECT value FROM about WHERE key = 'format'").fetchone()
        except (sqlite3.DatabaseError, TypeError, OSError) as error:
            self._lock.release()
            raise InputError(f"{folder / DATABASE}: not a readable node's database ({error})") from error
        if kept != str(FORMAT):
            self._lock.release()
            raise InputError(f"{folder / DATABASE}: expected format {FORMAT} but got {kept}")

    def close(self) -> None:
        """Let another process open it."""
        with self._turn:
            self._database.close()
            self._lock.release()

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """Yield the database in a transaction, which is on disk afterwards, or undone; a full disk is an OSError."""
        with self._turn:
            try:
                self._database.execute("BEGIN IMMEDIATE")
                yield self._database
                self._database.execute("COMMIT")
            except BaseException as error:
                if self._database.in_transaction:
                    self._database.execute("ROLLBACK")
                if isinstance(error, sqlite3.OperationalError) and "full" in str(error):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from error
                raise

    def _rows(self, query: str, *values: Any) -> list[sqlite3.Row]:
        with self._turn:
            return self._database.execute(query, values).fetchall()

    def recover(self) -> None:
        """Take up what an earlier process left: remove files that are in no row, and give unfinished studies time.

        Whoever was sending a study when the node ended needs a moment to begin again.
        """
        for left in (self.folder / WORK).iterdir():
            shutil.rmtree(left) if left.is_dir() else left.unlink()
        for name, query in ((INCOMING, "SELECT file FROM instance"), (OUTGOING, "SELECT name FROM outgoing")):
            known = {row[0] for row in self._rows(query)}
            for left in (self.folder / name).iterdir():
                if left.name not in known:
                    shutil.rmtree(left) if left.is_dir() else left.unlink()
        with self._writing() as database:
            database.execute(
                "UPDATE study SET last = ? WHERE number IN (SELECT study FROM series WHERE state = 'waiting')",
                (time.time(),),
            )

    def free_bytes(self) -> int:
        """Return the room that is left on the disk."""
        return shutil.disk_usage(self.folder).free

    @contextmanager
    def arriving(self, content: bytes) -> Iterator[Path]:
        """Yield a file, safely on disk, that is removed again unless :meth:`keep` gave it a place."""
        path = self.folder / WORK / f"{secrets.token_hex(8)}.dcm"
        try:
            with open(path, "xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            yield path
        finally:
            path.unlink(missing_ok=True)

    def keep(self, arrived: Path, study_uid: str, series_uid: str, instance_uid: str, content: str) -> str:
        """Keep an instance that has arrived; it is on disk when this returns.

        Args:
            arrived: file of :meth:`arriving`.
            study_uid: StudyInstanceUID.
            series_uid: SeriesInstanceUID; may be empty.
            instance_uid: SOPInstanceUID.
            content: hash of the file's data set.

        Returns:
            ``"stored"``; ``"late"`` where its series was done already, which is done again then; ``"replaced"`` where
            it came with other content before, likewise; ``"duplicate"`` where it is here already.
        """
        study, series, instance = (
            _hash(*uids) for uids in ((study_uid,), (study_uid, series_uid), (study_uid, series_uid, instance_uid))
        )
        place = self.folder / INCOMING / f"{instance[:32]}-{content[:32]}.dcm"
        now, old = time.time(), None
        with self._writing() as database:
            known = database.execute("SELECT * FROM instance WHERE hash = ?", (instance,)).fetchone()
            if known and known["content"] == content:
                # sending again is how a person asks to try again
                database.execute(
                    "UPDATE series SET state = 'waiting', reason = '', attempts = 0, next_try = 0"
                    " WHERE number = ? AND state = 'failed'",
                    (known["series"],),
                )
                _count(database, "instances", "duplicate")
                return "duplicate"
            try:
                os.replace(arrived, place)
                _sync_folder(place.parent)
                if not database.execute("UPDATE study SET last = ? WHERE hash = ?", (now, study)).rowcount:
                    database.execute("INSERT INTO study (hash, last) VALUES (?, ?)", (study, now))
                row = database.execute("SELECT number, state FROM series WHERE hash = ?", (series,)).fetchone()
                if row is None:
                    cursor = database.execute(
                        "INSERT INTO series (study, hash, state, reason, generation, attempts, next_try, changed)"
                        " SELECT number, ?, 'waiting', '', 0, 0, 0, ? FROM study WHERE hash = ?",
                        (series, now, study),
                    )
                    number, late = cursor.lastrowid, False
                else:
                    number, late = row["number"], row["state"] != "waiting"
                    database.execute(
                        "UPDATE series SET state = 'waiting', reason = '', generation = generation + 1, attempts = 0,"
                        " next_try = 0, changed = ? WHERE number = ?",
                        (now, number),
                    )
                if known:
                    old = self.folder / INCOMING / known["file"]
                    database.execute(
                        "UPDATE instance SET content = ?, file = ? WHERE hash = ?", (content, place.name, instance)
                    )
                else:
                    database.execute(
                        "INSERT INTO instance VALUES (?, ?, ?, ?)", (instance, number, content, place.name)
                    )
                outcome = "replaced" if known else "late" if late else "stored"
                _count(database, "instances", outcome)
            except BaseException:
                place.unlink(missing_ok=True)
                raise
        if old is not None and old != place:
            old.unlink(missing_ok=True)
        return outcome

    def count(self, name: str, label: str, by: float = 1) -> None:
        """Add to a counter of the page; on a full disk it is left as it is."""
        with suppress(OSError), self._writing() as database:
            _count(database, name, label, by)

    def next_task(self, quiet_seconds: float) -> Task | None:
        """Return a series of a study to which nothing has come for so long, the oldest first."""
        now = time.time()
        rows = self._rows(
            "SELECT series.*, study.last FROM series JOIN study ON study.number = series.study"
            " WHERE state = 'waiting' AND next_try <= ? AND (last <= ? OR last > ?) ORDER BY last, number LIMIT 1",
            *(now, now - quiet_seconds, now + quiet_seconds),  # later than now: the clock was set back
        )
        if not rows:
            return None
        (row,) = rows
        instances = self._rows("SELECT content, file FROM instance WHERE series = ? ORDER BY content", row["number"])
        return Task(
            row["study"],
            row["number"],
            row["generation"],
            tuple(self.folder / INCOMING / one["file"] for one in instances),
            _hash(*(one["content"] for one in instances)),
        )

    @contextmanager
    def workplace(self, task: Task) -> Iterator[Path]:
        """Yield a folder with ``series``, the task's files and no others, that is removed afterwards."""
        folder = self.folder / WORK / f"{task.series}-{secrets.token_hex(4)}"
        try:
            (folder / "series").mkdir(parents=True)
            for index, file in enumerate(task.files, start=1):
                os.link(file, folder / "series" / f"{index:04d}.dcm")
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def outgoing_folder(self, task: Task, settings: str) -> Path:
        """Return where the derived series of a task belongs, the same for the same content and settings."""
        return self.folder / OUTGOING / f"{task.series}-{_hash(task.content, settings)[:16]}"

    def enhanced(self, task: Task, folder: Path, seconds: float) -> bool:
        """Note that a task's derived series lies in its folder and is to be sent.

        Returns:
            Whether the series is still the one that was enhanced; if not it will be enhanced again, and nothing is
            noted.
        """
        with self._writing() as database:
            if not _settle(database, task, "enhanced", ""):
                if not database.execute("SELECT 1 FROM outgoing WHERE name = ?", (folder.name,)).fetchone():
                    shutil.rmtree(folder, ignore_errors=True)
                return False
            database.execute(
                "INSERT INTO outgoing (series, name, state, reason, attempts, next_try, changed)"
                " VALUES (?, ?, 'waiting', '', 0, 0, ?) ON CONFLICT (name) DO NOTHING",
                (task.series, folder.name, time.time()),
            )
            _count(database, "series", "enhanced")
            _count(database, "enhancing_seconds", "", seconds)
        return True

    def refused(self, task: Task, kind: str, reason: str) -> bool:
        """Note that a series is not enhanced, and why; return whether it is still the same."""
        with self._writing() as database:
            if settled := _settle(database, task, "refused", reason):
                _count(database, "series", f"refused: {kind}")
        return settled

    def put_off(self, task: Task, reason: str, give_up: bool = True) -> str:
        """Note that a series could not be enhanced now.

        Returns:
            Its state: ``"waiting"``, or after some attempts ``"failed"``, if it may be given up.
        """
        with self._writing() as database:
            row = database.execute("SELECT * FROM series WHERE number = ?", (task.series,)).fetchone()
            if row is None or row["generation"] != task.generation:
                return "waiting"
            attempts = row["attempts"] + 1
            state = "failed" if give_up and attempts >= ATTEMPTS else "waiting"
            database.execute(
                "UPDATE series SET state = ?, reason = ?, attempts = ?, next_try = ?, changed = ? WHERE number = ?",
                (state, reason, attempts, time.time() + backoff(attempts), time.time(), task.series),
            )
            if state == "failed":
                _count(database, "series", "failed")
        return state

    def next_outgoing(self) -> Outgoing | None:
        """Return a derived series that is to be sent now."""
        rows = self._rows(
            "SELECT outgoing.*, series.study FROM outgoing JOIN series ON series.number = outgoing.series"
            " WHERE outgoing.state = 'waiting' AND (outgoing.next_try <= ? OR outgoing.next_try > ?)"
            " ORDER BY outgoing.next_try, outgoing.number LIMIT 1",
            *(time.time(), time.time() + 2 * LONGEST_RETRY),
        )
        if not rows:
            return None
        (row,) = rows
        folder = self.folder / OUTGOING / row["name"]
        return Outgoing(row["number"], row["study"], row["series"], folder, row["attempts"])

    def sent(self, one: Outgoing) -> None:
        """Note that the receiver has a derived series."""
        with self._writing() as database:
            database.execute(
                "UPDATE outgoing SET state = 'sent', reason = '', changed = ? WHERE number = ?",
                (time.time(), one.number),
            )
            _count(database, "sends", "sent")

    def unsent(self, one: Outgoing, kind: str, reason: str) -> float:
        """Note that a derived series could not be sent; return the seconds after which it is tried again."""
        wait = backoff(one.attempts + 1)
        with self._writing() as database:
            database.execute(
                "UPDATE outgoing SET reason = ?, attempts = attempts + 1, next_try = ?, changed = ? WHERE number = ?",
                (reason, time.time() + wait, time.time(), one.number),
            )
            _count(database, "sends", kind)
        return wait

    def forget(self, seconds: float) -> int:
        """Remove studies that were finished so long ago; return how many."""
        before = time.time() - seconds
        with self._writing() as database:
            studies = [row[0] for row in database.execute(FINISHED, {"before": before}).fetchall()]
            left: list[Path] = []
            for study in studies:
                series = [row[0] for row in database.execute("SELECT number FROM series WHERE study = ?", (study,))]
                for number in series:
                    for table, column, name in (("instance", "file", INCOMING), ("outgoing", "name", OUTGOING)):
                        rows = database.execute(f"SELECT {column} FROM {table} WHERE series = ?", (number,))
                        left += [self.folder / name / row[0] for row in rows.fetchall()]
                        database.execute(f"DELETE FROM {table} WHERE series = ?", (number,))
                database.execute("DELETE FROM series WHERE study = ?", (study,))
                database.execute("DELETE FROM study WHERE number = ?", (study,))
        for path in left:  # after the commit: what is left over by a kill is removed at the next start
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        return len(studies)

    def counters(self) -> dict[str, dict[str, float]]:
        """Return all counts since the folder was made, by name and label."""
        counted: dict[str, dict[str, float]] = {}
        for row in self._rows("SELECT * FROM counter ORDER BY name, label"):
            counted.setdefault(row["name"], {})[row["label"]] = row["value"]
        return counted

    def waiting(self) -> dict[str, int]:
        """Return how many series wait to be ``"enhanced"`` and to be ``"sent"``."""
        ((enhance, send),) = self._rows(
            "SELECT (SELECT count(*) FROM series WHERE state = 'waiting'),"
            " (SELECT count(*) FROM outgoing WHERE state = 'waiting')"
        )
        return {"enhanced": enhance, "sent": send}

    def recent(self, most: int) -> list[dict[str, Any]]:
        """List the last series to which something happened, newest first."""
        return [dict(row) for row in self._rows(RECENT, most)]


def backoff(attempts: int) -> float:
    """Return the seconds to wait after so many failed attempts: twice as long each time, up to a quarter of an hour."""
    return min(FIRST_RETRY * 2 ** min(attempts - 1, 30), LONGEST_RETRY)


def _settle(database: sqlite3.Connection, task: Task, state: str, reason: str) -> bool:
    changed = database.execute(
        "UPDATE series SET state = ?, reason = ?, attempts = 0, changed = ?"
        " WHERE number = ? AND generation = ? AND state = 'waiting'",
        (state, reason, time.time(), task.series, task.generation),
    )
    return bool(changed.rowcount)


def _count(database: sqlite3.Connection, name: str, label: str, by: float = 1) -> None:
    database.execute(
        "INSERT INTO counter VALUES (?, ?, ?) ON CONFLICT (name, label) DO UPDATE SET value = value + excluded.value",
        (name, label, by),
    )


def _hash(*texts: str) -> str:
    return hashlib.sha256("\0".join(texts).encode("utf-8", "surrogatepass")).hexdigest()


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
