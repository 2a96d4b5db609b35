"""Hold what a node was started with, and refuse what cannot be."""

from __future__ import annotations

import re
import ssl
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from monai_nce.errors import InputError

__all__ = ["LOOPBACK", "Caller", "Forward", "NodeSettings", "is_ae_title"]

LOOPBACK = ("127.0.0.1", "localhost", "::1")
AE_TITLE = re.compile(r"[A-Za-z0-9_.-]{1,16}")  # narrower than DICOM's, without spaces: safe in a log and on a page


def is_ae_title(text: str) -> bool:
    """Return whether a text is an AE title of letters, digits, ``_``, ``.`` and ``-``, at most 16."""
    return AE_TITLE.fullmatch(text) is not None


@dataclass(frozen=True)
class Caller:
    """Hold who may send: an AE title, and the address it has to come from, or "" for any."""

    aet: str
    address: str = ""

    @classmethod
    def of(cls, text: str) -> Caller:
        """Take ``AET`` or ``AET@address``.

        Raises:
            InputError: for another text.
        """
        aet, at, address = text.partition("@")
        if not is_ae_title(aet) or (at and not address):
            raise InputError(f"--allow: expected AET or AET@address but got {text!r}")
        return cls(aet, address)


@dataclass(frozen=True)
class Forward:
    """Hold where derived series go: to an AE title by C-STORE, or to an address by STOW-RS."""

    aet: str = ""
    host: str = ""
    port: int = 0
    url: str = ""

    @classmethod
    def of(cls, text: str) -> Forward:
        """Take ``AET@host:port`` or the root of a DICOMweb server, such as ``https://pacs/dicom-web``.

        Raises:
            InputError: for another text.
        """
        if "://" in text:
            parts = urlsplit(text)
            if parts.scheme not in ("http", "https") or not parts.hostname:
                raise InputError("--forward: expected AET@host:port, or an address of http or https")
            if parts.username is not None or parts.password is not None:
                raise InputError("--forward: give name and password by NCE_NODE_AUTHORIZATION, not in the address")
            return cls(url=text.rstrip("/"), host=parts.hostname)
        aet, _, place = text.partition("@")
        host, _, port = place.rpartition(":")
        host = host.removeprefix("[").removesuffix("]")
        if not is_ae_title(aet) or not host or not port.isdecimal() or not 0 < int(port) < 2**16:
            raise InputError(f"--forward: expected AET@host:port or an address of http or https but got {text!r}")
        return cls(aet, host, int(port))


@dataclass(frozen=True)
class NodeSettings:
    """Hold what a node was started with.

    Attributes:
        aet: its own AE title.
        host: address on which it receives.
        port: port on which it receives.
        forward: where derived series go.
        data: its folder.
        allow: who may send; anyone if empty, which it may be on this machine alone.
        quiet_seconds: without a new instance, after which a study is complete.
        keep_seconds: after which a finished study is removed from the folder.
        least_free: bytes that stay free on the disk.
        weights: name or file of the weights.
        phase: contrast phase to make, of weights that take one.
        device: such as ``"cuda:1"``, or None.
        certificate: file of the node's certificate, for TLS.
        key: file of its key.
        ca: file of the certificates that others have to show.
        forward_tls: send by TLS.
    """

    aet: str
    host: str
    port: int
    forward: Forward
    data: Path
    allow: tuple[Caller, ...] = ()
    quiet_seconds: float = 60
    keep_seconds: float = 86_400
    least_free: int = 2**30
    weights: str = "default"
    phase: str | None = None
    device: str | None = None
    certificate: Path | None = None
    key: Path | None = None
    ca: Path | None = None
    forward_tls: bool = False

    def __post_init__(self) -> None:
        if not is_ae_title(self.aet):
            raise InputError(f"--aet: expected up to 16 letters, digits, _, . or - but got {self.aet!r}")
        if self.host not in LOOPBACK and not self.allow:
            raise InputError(f"--host {self.host}: name with --allow who may send, or anyone in the network could")
        if (self.certificate is None) != (self.key is None):
            raise InputError("expected --certificate and --key together")
        if self.ca and not (self.certificate or self.forward_tls or self.forward.url.startswith("https:")):
            raise InputError("--ca: is for TLS alone: give --certificate and --key, or --forward-tls")
        for file in filter(None, (self.certificate, self.key, self.ca)):
            if not file.is_file():
                raise InputError(f"{file}: no such file")
        self.server_tls()  # files that are none are refused before any work
        self.client_tls()

    def server_tls(self) -> ssl.SSLContext | None:
        """Return how to receive by TLS, or None; with ``ca``, from those alone that show a certificate of it."""
        if self.certificate is None:
            return None
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        if self.ca:
            context.verify_mode = ssl.CERT_REQUIRED
        return self._loaded(context)

    def client_tls(self) -> ssl.SSLContext | None:
        """Return how to send by TLS, or None."""
        return self._loaded(ssl.create_default_context(ssl.Purpose.SERVER_AUTH)) if self.forward_tls else None

    def _loaded(self, context: ssl.SSLContext) -> ssl.SSLContext:
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            if self.ca:
                context.load_verify_locations(self.ca)
            if self.certificate and self.key:
                context.load_cert_chain(self.certificate, self.key)
        except (OSError, ssl.SSLError) as error:
            given = ", ".join(str(file) for file in (self.certificate, self.key, self.ca) if file)
            raise InputError(f"{given}: expected certificates and a key in PEM format that belong together") from error
        return context
