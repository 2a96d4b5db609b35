"""Receive studies by C-STORE; an instance is on disk before its sender is told so."""

from __future__ import annotations

import hashlib
import logging
import socket
import threading
from contextlib import suppress
from typing import Any

from pynetdicom import AE, ALL_TRANSFER_SYNTAXES, AllStoragePresentationContexts, evt
from pynetdicom.sop_class import Verification
from pynetdicom.transport import ThreadedAssociationServer

from monai_nce.data.dicom.files import scan_file
from monai_nce.errors import InputError
from monai_nce.node.settings import NodeSettings, is_ae_title
from monai_nce.node.store import NO_SPACE, Store

__all__ = ["Receiver"]

log = logging.getLogger(__name__)

# statuses of C-STORE, PS3.4 table B.2-1
SUCCESS, OUT_OF_RESOURCES, NOT_MATCHING, NOT_UNDERSTOOD = 0x0000, 0xA700, 0xA900, 0xC000
CT = (
    "1.2.840.10008.5.1.4.1.1.2",  # CT Image Storage
    "1.2.840.10008.5.1.4.1.1.2.1",  # Enhanced CT Image Storage
    "1.2.840.10008.5.1.4.1.1.2.2",  # Legacy Converted Enhanced CT Image Storage
)
MOST_ASSOCIATIONS = 20
HANDSHAKE_SECONDS, NETWORK_SECONDS = 10, 60
# A-ASSOCIATE-RJ, PS3.8 table 9-21: result, source, reason
NO_REASON, UNKNOWN_CALLER, UNKNOWN_CALLED = (1, 1, 1), (1, 1, 3), (1, 1, 7)


class _Server(ThreadedAssociationServer):
    """Give a TLS handshake a time limit, or one silent peer would keep all others waiting."""

    daemon_threads = True

    def get_request(self) -> tuple[socket.socket, Any]:
        assert self.socket is not None
        client, address = self.socket.accept()
        if self.ssl_context:
            try:
                client.settimeout(HANDSHAKE_SECONDS)
                client = self.ssl_context.wrap_socket(client, server_side=True)
            except OSError:
                client.close()
                log.warning("association refused: no TLS handshake, from %s", address[0])
                raise  # socketserver goes on with the next one
            client.settimeout(None)
        return client, address


class Receiver:
    """Answer C-STORE and C-ECHO.

    What is no CT image, and what says that it is synthetic, is accepted and not kept: senders route whole studies, and
    a PACS may send the results back.

    Args:
        settings: of the node.
        store: where instances go.

    Raises:
        InputError: if the port cannot be had.
    """

    def __init__(self, settings: NodeSettings, store: Store) -> None:
        self.settings, self.store = settings, store
        self._full = False
        entity = AE(settings.aet)
        entity.maximum_associations = MOST_ASSOCIATIONS
        entity.network_timeout = NETWORK_SECONDS
        for context in AllStoragePresentationContexts:
            entity.add_supported_context(context.abstract_syntax, ALL_TRANSFER_SYNTAXES)
        entity.add_supported_context(Verification)
        handlers: list[Any] = [
            (evt.EVT_REQUESTED, self._admit),
            (evt.EVT_REJECTED, self._too_many),
            (evt.EVT_C_STORE, self._store),
        ]
        try:
            self._server = entity.make_server(
                (settings.host, settings.port),
                evt_handlers=handlers,
                ssl_context=settings.server_tls(),
                server_class=_Server,
            )
        except (OSError, OverflowError, ValueError) as error:
            why = getattr(error, "strerror", None) or "no such address"
            where = f"{settings.host}:{settings.port}"
            raise InputError(f"{where}: cannot be listened on ({why}): choose another --port or --host") from error
        self._entity = entity
        self._thread = threading.Thread(target=self._server.serve_forever, name="receiver", daemon=True)

    @property
    def port(self) -> int:
        """Return the port, also where 0 asked for any."""
        assert self._server.socket is not None
        return int(self._server.socket.getsockname()[1])

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def stop(self) -> None:
        """End all associations; senders keep what they were not told is stored."""
        with suppress(ValueError):  # it takes itself off a list that only its own way of starting puts it on
            self._server.shutdown()
        self._entity.shutdown()

    def _admit(self, event: evt.Event) -> None:
        caller = event.assoc.requestor
        calling, called = caller.primitive.calling_ae_title.strip(), caller.primitive.called_ae_title.strip()
        why, answer = "", NO_REASON
        if called != self.settings.aet:
            why, answer = "called by another AE title", UNKNOWN_CALLED
        elif self.settings.allow:
            named = [one for one in self.settings.allow if one.aet == calling]
            if not named:
                why, answer = "caller not allowed", UNKNOWN_CALLER
            elif not any(one.address in ("", caller.address) for one in named):
                why, answer = "caller at another address", NO_REASON
        if why:
            self.store.count("refused_associations", why)
            shown = calling if is_ae_title(calling) else "an AE title with other characters"
            log.warning("association refused: %s: %s from %s", why, shown, caller.address)
            event.assoc.acse.send_reject(*answer)
            event.assoc.kill()

    def _too_many(self, event: evt.Event) -> None:
        self.store.count("refused_associations", "too many at once")
        log.warning("association refused: too many at once")

    def _store(self, event: evt.Event) -> int:
        try:
            outcome, status = self._take(event)
        except OSError as error:
            if error.errno not in NO_SPACE:
                self.store.count("instances", "not stored")
                log.error("an instance could not be stored: %s", error.strerror or "input/output error")
                return OUT_OF_RESOURCES
            outcome, status = "no space", OUT_OF_RESOURCES
        except Exception as error:  # its text may quote the header
            self.store.count("instances", "not stored")
            log.error("an instance could not be stored: an unexpected %s", type(error).__name__)
            return OUT_OF_RESOURCES
        if outcome == "no space":
            if not self._full:  # said once
                log.error("the disk is full: instances are refused with status A700 until there is room")
            self._full = True
            self.store.count("instances", outcome)
        elif self._full and status == SUCCESS:
            self._full = False
            log.info("the disk has room again")
        return status

    def _take(self, event: evt.Event) -> tuple[str, int]:
        request = event.request
        if request.AffectedSOPClassUID not in CT:
            return self._not_kept("no CT image", SUCCESS)
        if self.store.free_bytes() < self.settings.least_free:
            return "no space", OUT_OF_RESOURCES
        content = hashlib.sha256(event.encoded_dataset(include_meta=False)).hexdigest()
        with self.store.arriving(event.encoded_dataset()) as file:
            scanned = scan_file(file)
            if scanned is None or (header := scanned.header) is None or scanned.kind == "broken":
                return self._not_kept("unreadable", NOT_UNDERSTOOD)
            if header.get("SyntheticData") == "YES":
                return self._not_kept("synthetic", SUCCESS)
            study, series = (str(header.get(f"{level}InstanceUID") or "") for level in ("Study", "Series"))
            if not study or not request.AffectedSOPInstanceUID:
                return self._not_kept("without UIDs", NOT_MATCHING)
            return self.store.keep(file, study, series, str(request.AffectedSOPInstanceUID), content), SUCCESS

    def _not_kept(self, why: str, status: int) -> tuple[str, int]:
        self.store.count("instances", why)
        return why, status
