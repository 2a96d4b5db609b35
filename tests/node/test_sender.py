from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.uid import CTImageStorage, ImplicitVRLittleEndian
from pynetdicom import AE, evt

from benchmarks.preparation import write_series
from monai_nce.node.sender import AUTHORIZATION, NotSent, send_series
from tests.node.stored import settings
from tests.pacs.roundtrip import free_ports


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    return sorted(write_series(tmp_path / "series", np.zeros((4, 3, 3), np.int16), (1, 1, 1)).iterdir())


@contextmanager
def pacs(statuses: list[int], called: str = "PACS") -> Iterator[tuple[int, list[pydicom.Dataset]]]:
    """A receiver that takes implicit VR alone and answers with these statuses, then with success."""
    received: list[pydicom.Dataset] = []

    def take(event: evt.Event) -> int:
        received.append(event.dataset)
        return statuses.pop(0) if statuses else 0

    entity = AE(called)
    entity.require_called_aet = True
    entity.add_supported_context(CTImageStorage, ImplicitVRLittleEndian)
    server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, take)])
    assert server and server.socket
    try:
        yield server.socket.getsockname()[1], received
    finally:
        server.shutdown()


def test_every_instance_arrives(files: list[Path], tmp_path: Path) -> None:
    with pacs([0, 0xB000]) as (port, received):
        send_series(settings(tmp_path, f"PACS@127.0.0.1:{port}"), files)
    assert [one.SOPInstanceUID for one in received] == [pydicom.dcmread(file).SOPInstanceUID for file in files]


@pytest.mark.parametrize("status", [0xA700, 0xA900, 0xC000, 0x0124])
def test_one_refused_instance_is_a_series_that_was_not_sent(files: list[Path], tmp_path: Path, status: int) -> None:
    with pacs([0, status]) as (port, received), pytest.raises(NotSent, match=f"instance 2 with status {status:04X}"):
        send_series(settings(tmp_path, f"PACS@127.0.0.1:{port}"), files)
    assert len(received) == 2


def test_a_receiver_that_is_down_or_does_not_know_the_node(files: list[Path], tmp_path: Path) -> None:
    (port,) = free_ports(1)
    for forward in (f"PACS@127.0.0.1:{port}", f"http://127.0.0.1:{port}/dicom-web"):
        with pytest.raises(NotSent, match="could not be reached") as refused:
            send_series(settings(tmp_path, forward), files)
        assert refused.value.kind == "no connection"
    with pacs([], called="OTHER") as (port, _), pytest.raises(NotSent, match="refused the association"):
        send_series(settings(tmp_path, f"PACS@127.0.0.1:{port}"), files)


def test_a_web_server_has_to_confirm_every_instance(
    files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored, status, asked = 3, 200, []

    class Server(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            asked.append((self.path, self.headers["Authorization"], body.count(b"DICM")))
            item = {"00081155": {"vr": "UI", "Value": []}}
            answer: Any = {
                "00081199": {
                    "vr": "SQ",
                    "Value": [{**item, "00081155": {"vr": "UI", "Value": [f"1.{n}"]}} for n in range(stored)],
                }
            }
            text = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/dicom+json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_: Any) -> None:
            pass

    monkeypatch.setenv(AUTHORIZATION, "Bearer x")
    server = HTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    given = settings(tmp_path, f"http://127.0.0.1:{server.server_port}/dicom-web/")
    send_series(given, files)
    assert asked == [("/dicom-web/studies", "Bearer x", 3)]
    stored = 2
    with pytest.raises(NotSent, match="stored 2 of 3"):
        send_series(given, files)
    status = 409
    with pytest.raises(NotSent, match="HTTP status 409"):
        send_series(given, files)
    server.shutdown()
    server.server_close()
