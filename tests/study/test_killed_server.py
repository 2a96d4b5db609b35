"""A server that is killed at random moments while a reader grades: what it accepted is there afterwards."""

from __future__ import annotations

import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from monai_nce.study.database import Study, StudyImage, create_database
from monai_nce.study.plan import Reading

pytestmark = pytest.mark.slow
KILLS = 20
# Loads everything once; then each line on stdin kills the server, which is a child of it, and starts the next one. The
# port stays open between them, so that no other process takes it.
SERVERS = """
import os, signal, sys
from monai_nce.study.database import Study
from monai_nce.study.server import LOOPBACK, listen, serve
import uvicorn
taken = listen("127.0.0.1", 0)
print(taken.getsockname()[1], flush=True)
child = 0
for _ in sys.stdin:
    if child:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    child = os.fork()
    if not child:
        sys.stdin.close()
        serve(Study(sys.argv[1]), taken, LOOPBACK, None, None)
        os._exit(0)
    print(child, flush=True)
if child:
    os.kill(child, signal.SIGKILL)
"""


def test_no_accepted_grade_is_lost(tmp_path: Path) -> None:
    count = 1000
    image = StudyImage("p", "m", "a.nii.gz", "b.nii.gz", (4, 4, 4), [[1.0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]])
    (token,) = create_database(tmp_path / "study.db", {}, [image], [[Reading(0, False)] * count])
    servers = subprocess.Popen(
        [sys.executable, "-c", SERVERS, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert servers.stdin and servers.stdout
    accepted: dict[str, int] = {}
    sent: dict[str, int] = {}
    done = threading.Event()
    try:
        address = f"http://127.0.0.1:{servers.stdout.readline().strip()}"
        grader = threading.Thread(target=grade, args=(address, token, accepted, sent, done))
        rng = random.Random(0)
        for kill in range(KILLS + 1):
            servers.stdin.write("\n")
            servers.stdin.flush()
            servers.stdout.readline()
            if not kill:
                grader.start()
            before, start = len(accepted), time.monotonic()
            while len(accepted) == before and time.monotonic() - start < 20:  # it has come up
                time.sleep(0.001)
            assert len(accepted) > before
            time.sleep(rng.uniform(0, 0.06))
        done.set()
        grader.join(20)
        servers.stdin.close()
        assert servers.wait(20) in (0, -signal.SIGPIPE)
    finally:
        done.set()
        servers.kill()
        servers.wait()
    kept = {one["place"]: one["quality"] for one in Study(tmp_path).grades()}
    with sqlite3.connect(tmp_path / "study.db") as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        places = dict(database.execute("SELECT id, place FROM reading"))
    assert len(accepted) > KILLS
    assert {places[reading]: quality for reading, quality in accepted.items()}.items() <= kept.items()
    # nor is there anything that was not sent; a grade in flight may be there or not
    assert kept.items() <= {places[reading]: quality for reading, quality in sent.items()}.items()
    assert sorted(kept) == list(range(len(kept)))


def grade(address: str, token: str, accepted: dict[str, int], sent: dict[str, int], done: threading.Event) -> None:
    """Grade one image after the other as the page does, and ask again when the server is gone."""
    rng = random.Random(1)
    client = httpx.Client(base_url=address, timeout=5, trust_env=False)

    def ask(method: str, path: str, **more: Any) -> Any:
        while not done.is_set():
            try:
                answer = client.request(method, path, **more)
                assert answer.status_code in (200, 204), answer.text
                return answer.json() if answer.content else None
            except httpx.TransportError:
                time.sleep(0.002)
        return None

    ask("POST", "/api/session", json={"token": token})
    place = ask("GET", "/api/place")
    while place and place["now"] and not done.is_set():
        reading, quality = place["now"], rng.randint(1, 5)
        sent[reading] = quality
        place = ask("PUT", f"/api/images/{reading}/grade", json={"quality": quality, "artefact": 1})
        if place:
            accepted[reading] = quality
