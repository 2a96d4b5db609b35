"""Let an Orthanc route a study to a node of its own, and wait until the synthetic series is back.

    python tests/node/autoroute.py SERIES WORK

A program, so that the test can start it in a network namespace. WORK gets the servers' files, ``node.log``,
``series.json`` (all series of the study by QIDO-RS), ``received/`` (the synthetic one by WADO-RS), ``metrics.txt`` and
``page.html``.
"""

from __future__ import annotations

import email
import json
import re
import subprocess
import sys
import time
from pathlib import Path

import pydicom

sys.path.insert(0, str(Path(__file__).parents[2]))
from tests.pacs.roundtrip import free_ports, get, orthanc, raise_loopback, send

# The study is stable again when the synthetic series is there: it is sent again, with it.
ROUTE = """
function OnStableStudy(study, tags, metadata)
    RestApiPost("/modalities/nce/store", '{"Resources": ["' .. study .. '"], "Synchronous": false}')
end
"""
NODE = "import sys; from monai_nce.cli.app import main; sys.exit(main())"
PATIENCE = 100  # s


def found(web: str, study: str) -> list[dict[str, dict[str, list[str]]]]:
    fields = "includefield=SeriesDescription&includefield=NumberOfSeriesRelatedInstances"
    return list(json.loads(get(f"{web}/studies/{study}/series?{fields}")[0]))


def main(series: Path, work: Path) -> None:
    raise_loopback()
    files = sorted(series.iterdir())
    study = str(pydicom.dcmread(files[0]).StudyInstanceUID)
    (port,) = free_ports(1)
    work.mkdir(parents=True)
    (work / "route.lua").write_text(ROUTE)
    node = {"AET": "NCE", "Host": "127.0.0.1", "Port": port, "AllowStore": True}
    settings = {"LuaScripts": [str(work / "route.lua")], "StableAge": 2}
    with orthanc(work, settings, {"nce": node}) as (address, dicom_port):
        web = f"{address}/dicom-web"
        forward = f"{web}" if "--stow" in sys.argv else f"ORTHANC@127.0.0.1:{dicom_port}"
        options = ["--port", str(port), "--forward", forward, "--data", str(work / "node"), "--page-port", "0"]
        options += ["--quiet-time", "1", "--allow", "ORTHANC@127.0.0.1", "--least-free", "0"]
        with open(work / "node.log", "wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-c", NODE, "node", *options], stdout=subprocess.PIPE, stderr=log, text=True
            )
        try:
            assert process.stdout
            page = re.search(r"http://\S+", process.stdout.readline())
            assert page, (work / "node.log").read_text()
            send(files, dicom_port)
            end = time.monotonic() + PATIENCE
            while time.monotonic() < end:
                done = get(f"{page[0]}metrics", "*/*")[0].decode()
                # the study came a second time, with the synthetic series
                if f'outcome="synthetic"}} {len(files)}.0' in done:
                    break
                time.sleep(0.5)
            time.sleep(3)
            (work / "metrics.txt").write_bytes(get(f"{page[0]}metrics", "*/*")[0])
            (work / "page.html").write_bytes(get(page[0], "*/*")[0])
            listed = found(web, study)
            (work / "series.json").write_text(json.dumps(listed))
            made = next(one for one in listed if "SYNTHETIC" in str(one.get("0008103E")))
            uid = made["0020000E"]["Value"][0]
            body, kind = get(
                f"{web}/studies/{study}/series/{uid}", 'multipart/related; type="application/dicom"; transfer-syntax=*'
            )
            message = email.message_from_bytes(b"Content-Type: " + kind.encode() + b"\r\n\r\n" + body)
            (work / "received").mkdir()
            for index, part in enumerate(part for part in message.walk() if not part.is_multipart()):
                (work / "received" / f"{index:04d}.dcm").write_bytes(part.get_payload(decode=True))
        finally:
            process.terminate()
            process.wait(timeout=30)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
