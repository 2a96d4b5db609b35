"""``nce node``: receive studies by DICOM, enhance what is suitable, send the synthetic series on."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from typing import Annotated

import typer

from monai_nce.cli.enhance import Phase
from monai_nce.cli.options import Device
from monai_nce.errors import InputError
from monai_nce.weights_store import DEFAULT, find_weights

__all__ = ["node"]

PORT, PAGE_PORT = 11112, 8322


def node(
    forward: Annotated[
        str,
        typer.Option(
            metavar="AET@HOST:PORT|URL",
            help="Where synthetic series go: an AE title by C-STORE, or the root of a DICOMweb server by STOW-RS.",
        ),
    ],
    data: Annotated[
        Path,
        typer.Option(metavar="DIR", help="The node's own folder: what was received, and what is still to be sent."),
    ],
    aet: Annotated[str, typer.Option(metavar="AET", help="The node's own AE title.")] = "NCE",
    port: Annotated[
        int, typer.Option(min=0, max=65535, metavar="N", help="Port on which it receives; 0 takes a free one.")
    ] = PORT,
    host: Annotated[
        str, typer.Option(metavar="ADDRESS", help="Address of this machine on which it receives; others need --allow.")
    ] = "127.0.0.1",
    allow: Annotated[
        list[str] | None,
        typer.Option(
            metavar="AET[@ADDRESS]",
            help="Who may send, by AE title and, if named, from this address alone. Once for each; without it anyone "
            "on this machine.",
            show_default=False,
        ),
    ] = None,
    quiet_time: Annotated[
        float,
        typer.Option(min=0.1, metavar="SECONDS", help="A study is complete after so long without a new instance."),
    ] = 60,
    keep: Annotated[
        float, typer.Option(min=0, metavar="HOURS", help="Finished studies are removed from the folder after so long.")
    ] = 24,
    least_free: Annotated[
        float, typer.Option(min=0, metavar="GIB", help="Instances are refused when less of the disk is free.")
    ] = 1,
    weights: Annotated[
        str, typer.Option(metavar="NAME|PATH", help="Weights: a name (nce weights list) or a file.")
    ] = DEFAULT,
    phase: Annotated[
        Phase | None, typer.Option(help="Contrast phase to make, with weights that take one.", show_default=False)
    ] = None,
    device: Device = None,
    page_port: Annotated[
        int,
        typer.Option(min=0, max=65535, metavar="N", help="Port of the page and of /metrics, on this machine alone."),
    ] = PAGE_PORT,
    certificate: Annotated[
        Path | None, typer.Option(metavar="FILE.pem", help="Certificate: receive by TLS.", show_default=False)
    ] = None,
    key: Annotated[
        Path | None, typer.Option(metavar="FILE.pem", help="The certificate's key.", show_default=False)
    ] = None,
    ca: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.pem",
            help="Certificates by which senders and the receiver are known; senders then have to show one.",
            show_default=False,
        ),
    ] = None,
    forward_tls: Annotated[bool, typer.Option("--forward-tls", help="C-STORE by TLS.")] = False,
) -> None:
    """Receive studies by DICOM, enhance those of the abdomen without contrast medium, send the results on.

    A study that was accepted is on disk and survives a crash; results are sent until they arrive. Research use only.

    Example: nce node --aet NCE --port 11112 --forward PACS@127.0.0.1:4242 --data node
    """
    try:
        from monai_nce.node.run import Node
    except ModuleNotFoundError as error:
        raise InputError(f'{error.name} is not installed: pip install "monai-nce[node]"') from error
    import logging

    from monai_nce.node.settings import Caller, Forward, NodeSettings

    find_weights(weights)
    settings = NodeSettings(
        aet=aet,
        host=host,
        port=port,
        forward=Forward.of(forward),
        data=data,
        allow=tuple(map(Caller.of, allow or ())),
        quiet_seconds=quiet_time,
        keep_seconds=keep * 3600,
        least_free=int(least_free * 2**30),
        weights=weights,
        phase=phase and phase.value,
        device=device,
        certificate=certificate,
        key=key,
        ca=ca,
        forward_tls=forward_tls,
    )
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.WARNING)
    logging.getLogger("monai_nce.node").setLevel(logging.INFO)
    running = Node(settings, page_port)
    end = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: end.set())
    running.start()
    print(f"{aet}: receiving on {host}:{running.receiver.port}, page http://127.0.0.1:{running.page.port}/", flush=True)
    end.wait()
    running.stop()
