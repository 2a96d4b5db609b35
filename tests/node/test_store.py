from __future__ import annotations

import errno
import os
import tempfile
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monai_nce.errors import InputError
from monai_nce.node.store import ATTEMPTS, LONGEST_RETRY, Store, backoff
from tests.node.stored import put

ARRIVAL = st.tuples(*(st.sampled_from("ab") for _ in range(3)), st.sampled_from("xyz"))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "node")


def finish(store: Store) -> list[str]:
    """Enhance all that is due; the content of each, in order."""
    done = []
    while task := store.next_task(0):
        done.append("".join(sorted(file.read_text() for file in task.files)))
        folder = store.outgoing_folder(task, "")
        folder.mkdir()
        assert store.enhanced(task, folder, 1)
    return done


@settings(max_examples=15, deadline=None)
@given(st.lists(st.one_of(ARRIVAL, st.sampled_from(["restart"])), max_size=12))
def test_whatever_comes_in_whatever_order_each_series_is_done_with_its_last_instances(events: list) -> None:
    expected: dict[tuple[str, str], dict[str, str]] = {}
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder))
        for event in events:
            if event == "restart":
                store.close()
                store = Store(Path(folder))
                store.recover()
                continue
            study, series, instance, content = event
            known = expected.setdefault((study, series), {})
            outcome = put(store, *event)
            expected_outcome = {None: "stored", content: "duplicate"}.get(known.get(instance), "replaced")
            assert outcome == expected_outcome
            known[instance] = content
        assert sorted(finish(store)) == sorted("".join(sorted(one.values())) for one in expected.values())
        assert finish(store) == []
        assert store.waiting() == {"enhanced": 0, "sent": len(expected)}
        store.close()


def test_a_study_is_complete_when_nothing_has_come_for_a_while(store: Store) -> None:
    put(store, "1", "1", "1", "a")
    assert store.next_task(60) is None
    time.sleep(0.06)
    put(store, "1", "2", "1", "b")  # another series of the study
    assert store.next_task(0.05) is None
    time.sleep(0.06)
    assert put(store, "1", "1", "1", "a") == "duplicate"  # nothing new
    assert store.next_task(0.05)


def test_a_late_instance_has_its_series_done_once_more_and_no_other(store: Store) -> None:
    put(store, "1", "1", "1", "a")
    put(store, "1", "2", "1", "b")
    assert finish(store) == ["a", "b"]
    assert put(store, "1", "1", "2", "c") == "late"
    assert put(store, "1", "1", "3", "d") == "stored"
    assert finish(store) == ["acd"]
    assert store.waiting() == {"enhanced": 0, "sent": 3}  # a series of its own beside the first
    assert store.counters()["instances"] == {"stored": 3, "late": 1}


def test_what_was_enhanced_while_an_instance_came_is_dropped(store: Store) -> None:
    put(store, "1", "1", "1", "a")
    task = store.next_task(0)
    assert task
    put(store, "1", "1", "2", "b")
    folder = store.outgoing_folder(task, "")
    folder.mkdir()
    assert not store.enhanced(task, folder, 1) and not folder.exists()
    assert not store.refused(task, "unsuitable", "")
    assert finish(store) == ["ab"]


def test_the_same_series_is_written_to_the_same_folder_whenever_it_comes(store: Store, tmp_path: Path) -> None:
    for instance in "123":
        put(store, "1", "1", instance, instance)
    other = Store(tmp_path / "other")
    for instance in "312":
        put(other, "1", "1", instance, instance)
    one, two = store.next_task(0), other.next_task(0)
    assert one and two and one.content == two.content
    assert store.outgoing_folder(one, "w").name == other.outgoing_folder(two, "w").name
    assert store.outgoing_folder(one, "w").name != store.outgoing_folder(one, "v").name


def test_a_series_that_ends_the_process_is_given_up_until_it_is_sent_again(store: Store) -> None:
    put(store, "1", "1", "1", "a")
    task = store.next_task(0)
    assert task
    states = [store.put_off(task, "ended") for _ in range(ATTEMPTS)]
    assert states == ["waiting"] * (ATTEMPTS - 1) + ["failed"]
    assert store.next_task(0) is None
    assert put(store, "1", "1", "1", "a") == "duplicate"
    assert finish(store) == ["a"]


def test_a_full_disk_does_not_give_a_series_up(store: Store) -> None:
    put(store, "1", "1", "1", "a")
    task = store.next_task(0)
    assert task
    assert {store.put_off(task, "full", give_up=False) for _ in range(9)} == {"waiting"}


def test_waiting_grows_up_to_a_quarter_of_an_hour() -> None:
    waits = [backoff(attempt) for attempt in range(1, 2000)]
    assert waits[:3] == [5, 10, 20] and waits == sorted(waits) and waits[-1] == LONGEST_RETRY == 900


def test_a_restart_removes_what_is_in_no_row_and_keeps_the_rest(store: Store) -> None:
    put(store, "1", "1", "1", "a")
    for name in ("incoming", "outgoing", "work"):
        (store.folder / name / "left").write_text("by a kill")
    (store.folder / "work" / "folder").mkdir()
    store.close()
    again = Store(store.folder)
    again.recover()
    assert not list(store.folder.rglob("left"))
    assert not any((store.folder / "work").iterdir())
    assert again.next_task(60) is None  # whoever was sending has time to begin again
    assert finish(again) == ["a"]


@pytest.mark.parametrize("when", ["file", "folder"])
def test_a_full_disk_leaves_nothing_half_written(store: Store, when: str, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.fsync
    calls = []

    def full(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) == {"file": 1, "folder": 2}[when]:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        put(store, "1", "1", "1", "a")
    monkeypatch.undo()
    assert not list((store.folder / "incoming").iterdir()) and not list((store.folder / "work").iterdir())
    assert store.next_task(0) is None
    assert put(store, "1", "1", "1", "a") == "stored"


def test_a_full_disk_at_the_commit_is_an_os_error_too(store: Store) -> None:
    put(store, "1", "1", "1", "a")
    (pages,) = store._database.execute("PRAGMA page_count").fetchone()
    store._database.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(OSError, match="No space"):
        for number in range(1000):
            put(store, "1", "1", f"{number}", f"content {number}")
    rows = store._database.execute("SELECT count(*) FROM instance").fetchone()[0]
    assert len(list((store.folder / "incoming").iterdir())) == rows


def test_unsent_series_wait_and_are_remembered(store: Store) -> None:
    put(store, "1", "1", "1", "a")
    finish(store)
    one = store.next_outgoing()
    assert one and store.unsent(one, "no connection", "the receiver could not be reached") == 5
    assert store.next_outgoing() is None
    store.close()
    again = Store(store.folder)
    again.recover()
    assert again.next_outgoing() is None and again.waiting()["sent"] == 1 and one.folder.exists()
    again._database.execute("UPDATE outgoing SET next_try = 0")
    one = again.next_outgoing()
    assert one and one.attempts == 1
    again.sent(one)
    assert again.next_outgoing() is None and again.counters()["sends"] == {"no connection": 1, "sent": 1}


def test_finished_studies_are_removed_and_others_not(store: Store) -> None:
    put(store, "1", "1", "1", "a")
    put(store, "2", "1", "1", "b")
    finish(store)
    one = store.next_outgoing()
    assert one
    store.sent(one)
    put(store, "3", "1", "1", "c")
    assert store.forget(3600) == 0
    assert store.forget(-1) == 1  # the study that was sent, neither the unsent nor the waiting one
    assert not one.folder.exists() and len(list((store.folder / "incoming").iterdir())) == 2
    assert put(store, "1", "1", "1", "a") == "stored"


def test_a_folder_belongs_to_one_node(store: Store) -> None:
    with pytest.raises(InputError, match="another node has this folder open"):
        Store(store.folder)


def test_the_database_is_refused_in_one_line_if_it_is_none(tmp_path: Path) -> None:
    (tmp_path / "node.db").write_text("not a database, and longer than a header of SQLite's" * 9)
    with pytest.raises(InputError, match="not a readable node's database"):
        Store(tmp_path)


def test_neither_names_of_files_nor_the_database_hold_uids(store: Store) -> None:
    put(store, "1.2.840.4711", "1.2.840.4712", "1.2.840.4713", "a")
    finish(store)
    held = b"".join(path.read_bytes() for path in store.folder.glob("node.db*"))
    assert b"1.2.840.471" not in held
    assert not [path for path in store.folder.rglob("*") if "471" in path.name and "1.2" in path.name]
    assert store.folder.stat().st_mode & 0o777 == 0o700
