"""Send derived series to a PACS, by C-STORE or STOW-RS. Sent again, an instance has the UIDs it had before."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path

from monai_nce.node.settings import NodeSettings

__all__ = ["AUTHORIZATION", "NotSent", "send_series"]

AUTHORIZATION = "NCE_NODE_AUTHORIZATION"  # environment variable: header that a DICOMweb server asks for
CONNECT_SECONDS, ANSWER_SECONDS = 10, 60
COERCED = (0xB000, 0xB006, 0xB007)  # statuses of C-STORE for stored with a warning, PS3.4 table B.2-1


class NotSent(Exception):
    """Report that a series is not, or not wholly, at its receiver.

    Args:
        kind: of a few, for a counter.
        reason: in one line without patient data.
    """

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind


def send_series(settings: NodeSettings, files: Sequence[Path]) -> None:
    """Send a derived series.

    Raises:
        NotSent: if the receiver has not confirmed every instance.
    """
    if settings.forward.url:
        _by_web(settings, files)
    else:
        _by_association(settings, files)


def _by_association(settings: NodeSettings, files: Sequence[Path]) -> None:
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, ImplicitVRLittleEndian
    from pynetdicom import AE

    forward, tls = settings.forward, settings.client_tls()
    entity = AE(settings.aet)
    entity.connection_timeout = CONNECT_SECONDS
    entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = ANSWER_SECONDS
    entity.add_requested_context(CTImageStorage, [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
    association = entity.associate(
        forward.host, forward.port, ae_title=forward.aet, tls_args=(tls, forward.host) if tls else None
    )
    if association.is_rejected:
        raise NotSent("association refused", "the receiver refused the association: does it know this AE title?")
    if not association.is_established:
        raise NotSent("no connection", "the receiver could not be reached")
    try:
        for number, file in enumerate(files, start=1):
            try:
                answer = association.send_c_store(file)
            except (RuntimeError, ValueError) as error:  # the association ended, or takes no CT
                raise NotSent("association ended", f"the receiver took no CT image after {number - 1}") from error
            if "Status" not in answer:
                raise NotSent("no answer", f"the receiver did not answer to instance {number} of {len(files)}")
            if answer.Status != 0 and answer.Status not in COERCED:
                raise NotSent(
                    "instance refused", f"the receiver answered instance {number} with status {answer.Status:04X}"
                )
    finally:
        association.release()


def _by_web(settings: NodeSettings, files: Sequence[Path]) -> None:
    from dicomweb_client.api import DICOMwebClient
    from dicomweb_client.session_utils import create_session
    from pydicom import dcmread
    from requests import RequestException

    logging.getLogger("dicomweb_client").setLevel(logging.CRITICAL)  # it tells UIDs
    session = create_session()
    session.verify = str(settings.ca) if settings.ca else True
    if settings.certificate:
        session.cert = (str(settings.certificate), str(settings.key))
    if given := os.environ.get(AUTHORIZATION):
        session.headers["Authorization"] = given
    client = DICOMwebClient(settings.forward.url, session=session, timeout=(CONNECT_SECONDS, ANSWER_SECONDS))
    client.set_http_retry_params(retry=False)
    try:
        answer = client.store_instances([dcmread(file) for file in files])
    except RequestException as error:
        status = getattr(error.response, "status_code", None)
        if status is None:
            raise NotSent("no connection", "the receiver could not be reached") from error
        raise NotSent("request refused", f"the receiver answered with HTTP status {status}") from error
    finally:
        session.close()
    stored = {item.ReferencedSOPInstanceUID for item in answer.get("ReferencedSOPSequence", [])}
    if len(stored) < len(files):
        raise NotSent("instance refused", f"the receiver stored {len(stored)} of {len(files)} instances")
