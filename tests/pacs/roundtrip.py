"""Send a DICOM series to an Orthanc of its own and read it back: C-STORE, QIDO-RS, WADO-RS.

    python tests/pacs/roundtrip.py SERIES WORK

A program rather than a function, so that the test can start it in a network namespace, where nothing but itself can
reach the server. WORK gets the server's files, ``series.json`` and ``studies.json`` (what QIDO-RS found),
``preview.png`` (the server's own rendering) and ``received/`` (what WADO-RS gave).
"""

from __future__ import annotations

import contextlib
import email
import fcntl
import json
import os
import shutil
import socket
import struct
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pydicom
from pynetdicom import AE

PLUGINS = ("/usr/share/orthanc/plugins", "/usr/local/share/orthanc/plugins")
START_SECONDS = 60


def dicomweb_plugin() -> Path | None:
    found = [path for folder in PLUGINS for path in sorted(Path(folder).glob("libOrthancDicomWeb.so*"))]
    return found[0] if found else None


def orthanc_program() -> str | None:
    """Debian puts it where only root's PATH leads."""
    return shutil.which("Orthanc", path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"]))


def raise_loopback() -> None:
    """Switch the loopback interface on, which is down in a new network namespace. Needs no right where it is up."""
    get_flags, set_flags, up = 0x8913, 0x8914, 1
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        request = struct.pack("16sh14x", b"lo", 0)
        flags = struct.unpack("16sh14x", fcntl.ioctl(control, get_flags, request))[1]
        if not flags & up:
            fcntl.ioctl(control, set_flags, struct.pack("16sh14x", b"lo", flags | up))


def free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for opened in sockets:
            opened.bind(("127.0.0.1", 0))
        return [opened.getsockname()[1] for opened in sockets]


def get(url: str, accept: str = "application/dicom+json") -> tuple[bytes, str]:
    request = urllib.request.Request(url, headers={"Accept": accept})
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=30) as answer:
        return answer.read(), answer.headers["Content-Type"]


@contextlib.contextmanager
def orthanc(
    work: Path, settings: Mapping[str, Any] | None = None, modalities: Mapping[str, Any] | None = None
) -> Iterator[tuple[str, int]]:
    """Start a server that keeps its files in ``work`` and answers this machine alone; its address and DICOM port.

    ``settings`` are its own, beside the usual ones, ``modalities`` more that it knows.
    """
    http_port, dicom_port = free_ports(2)
    (work / "storage").mkdir(parents=True)
    configuration = {
        **{"Name": "test", "StorageDirectory": str(work / "storage"), "IndexDirectory": str(work / "storage")},
        **{"Plugins": [str(dicomweb_plugin())], "DicomWeb": {"Enable": True, "Root": "/dicom-web/"}},
        **{"HttpPort": http_port, "DicomPort": dicom_port, "DicomAet": "ORTHANC"},
        **{"RemoteAccessAllowed": False, "AuthenticationEnabled": False, "DicomServerEnabled": True},
        **{"DicomAlwaysAllowStore": False, "DicomCheckModalityHost": True},
        "DicomModalities": {
            "test": {"AET": "SENDER", "Host": "127.0.0.1", "Port": 104, "AllowStore": True},
            **(modalities or {}),
        },
        **(settings or {}),
    }
    (work / "orthanc.json").write_text(json.dumps(configuration))
    address = f"http://127.0.0.1:{http_port}"
    with open(work / "orthanc.log", "wb") as log:
        command = [str(orthanc_program()), str(work / "orthanc.json")]
        server = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        try:
            for _ in range(START_SECONDS * 10):
                with contextlib.suppress(urllib.error.URLError, ConnectionError):
                    get(f"{address}/system", "application/json")
                    break
                if server.poll() is not None:
                    raise RuntimeError(f"Orthanc ended with status {server.returncode}")
                time.sleep(0.1)
            yield address, dicom_port
        finally:
            server.terminate()
            server.wait(timeout=30)


def send(files: Sequence[Path], port: int) -> None:
    """C-STORE."""
    sender = AE("SENDER")
    sender.add_requested_context(pydicom.uid.CTImageStorage, pydicom.uid.ExplicitVRLittleEndian)
    association = sender.associate("127.0.0.1", port, ae_title="ORTHANC")
    if not association.is_established:
        raise RuntimeError("the server refused the association")
    for path in files:
        status = association.send_c_store(pydicom.dcmread(path))
        if status.Status != 0:
            raise RuntimeError(f"C-STORE of {path.name} answered with status {status.Status:#06x}")
    association.release()


def main(series: Path, work: Path) -> None:
    raise_loopback()
    files = sorted(series.iterdir())
    first = pydicom.dcmread(files[0])
    with orthanc(work) as (address, port):
        send(files, port)
        web = f"{address}/dicom-web"
        by_patient = urlencode({"PatientID": first.PatientID})
        (work / "studies.json").write_bytes(get(f"{web}/studies?{by_patient}")[0])
        query = {"SeriesInstanceUID": first.SeriesInstanceUID, "includefield": "SeriesDescription"}
        (work / "series.json").write_bytes(get(f"{web}/series?{urlencode(query)}")[0])
        body, kind = get(
            f"{web}/studies/{first.StudyInstanceUID}/series/{first.SeriesInstanceUID}",
            'multipart/related; type="application/dicom"; transfer-syntax=*',
        )
        message = email.message_from_bytes(b"Content-Type: " + kind.encode() + b"\r\n\r\n" + body)
        (work / "received").mkdir()
        for index, part in enumerate(message.walk()):
            if not part.is_multipart():
                (work / "received" / f"{index}.dcm").write_bytes(part.get_payload(decode=True))
        instance = json.loads(get(f"{address}/instances", "application/json")[0])[0]
        (work / "preview.png").write_bytes(get(f"{address}/instances/{instance}/preview", "image/png")[0])


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
