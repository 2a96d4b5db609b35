from __future__ import annotations

import logging
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pydicom
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, MRImageStorage
from pynetdicom import AE

from monai_nce.errors import InputError
from monai_nce.node.receiver import Receiver
from monai_nce.node.settings import Caller
from monai_nce.node.store import Store
from tests.data.conftest import hu, write_series
from tests.node.stored import settings

__all__ = ["hu", "write_series"]


@contextmanager
def receiving(folder: Path, **changes: object) -> Iterator[tuple[Store, int]]:
    store = Store(folder / "node")
    receiver = Receiver(settings(folder, **changes), store)
    receiver.start()
    try:
        yield store, receiver.port
    finally:
        receiver.stop()
        store.close()


def send(
    port: int, datasets: list[pydicom.Dataset], aet: str = "SENDER", called: str = "NCE", **more: Any
) -> list[int]:
    """Statuses of C-STORE; none where the association was refused."""
    entity = AE(aet)
    for sop_class in (CTImageStorage, MRImageStorage):
        entity.add_requested_context(sop_class, ExplicitVRLittleEndian)
    association = entity.associate("127.0.0.1", port, ae_title=called, **more)
    if not association.is_established:
        return []
    statuses = [association.send_c_store(dataset).Status for dataset in datasets]
    association.release()
    return statuses


@pytest.fixture
def slices(write_series: Callable[..., Path], tmp_path: Path) -> list[pydicom.Dataset]:
    return [pydicom.dcmread(path) for path in sorted(write_series(tmp_path / "source").iterdir())]


def test_what_comes_is_on_disk_as_it_came(slices: list[pydicom.Dataset], tmp_path: Path) -> None:
    other = pydicom.dcmread(slices[0].filename)
    other.SOPClassUID = other.file_meta.MediaStorageSOPClassUID = MRImageStorage
    synthetic = pydicom.dcmread(slices[0].filename)
    synthetic.SyntheticData = "YES"
    changed = pydicom.dcmread(slices[1].filename)
    changed.PatientName = "corrected"
    lost = pydicom.dcmread(slices[2].filename)
    del lost.StudyInstanceUID
    with receiving(tmp_path) as (store, port):
        assert send(port, [*slices, slices[0], other, synthetic, changed]) == [0] * 9
        assert send(port, [lost]) == [0xA900]
        counted = {"duplicate": 1, "no CT image": 1, "replaced": 1, "stored": 5, "synthetic": 1, "without UIDs": 1}
        assert store.counters()["instances"] == counted
        task = store.next_task(0)
        assert task and len(task.files) == 5 == len(list((store.folder / "incoming").iterdir()))
        kept = {one.SOPInstanceUID: one for one in map(pydicom.dcmread, task.files)}
        assert kept == {one.SOPInstanceUID: one for one in [slices[0], changed, *slices[2:]]}


def test_a_broken_instance_is_refused_and_not_kept(slices: list[pydicom.Dataset], tmp_path: Path) -> None:
    del slices[0].Rows
    with receiving(tmp_path) as (store, port):
        assert send(port, slices[:2]) == [0xC000, 0]
        assert store.counters()["instances"] == {"stored": 1, "unreadable": 1}


def test_who_may_send(slices: list[pydicom.Dataset], tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    allow = (Caller("CT1"), Caller("CT2", "127.0.0.1"), Caller("CT3", "10.0.0.1"))
    with receiving(tmp_path, allow=allow) as (store, port):
        assert send(port, slices[:1], "CT1") == [0]
        assert send(port, slices[:1], "CT2") == [0]
        for aet, called in (("CT3", "NCE"), ("OTHER", "NCE"), ("ANNA GEHEIM", "NCE"), ("CT1", "OTHER")):
            assert send(port, slices[:1], aet, called) == []
        reasons = {"called by another AE title": 1, "caller at another address": 1, "caller not allowed": 2}
        assert store.counters()["refused_associations"] == reasons
        assert store.counters()["instances"] == {"duplicate": 1, "stored": 1}
    assert "caller not allowed: OTHER from 127.0.0.1" in caplog.text and "GEHEIM" not in caplog.text


def test_a_full_disk_is_answered_and_said_once(
    slices: list[pydicom.Dataset], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    with receiving(tmp_path) as (store, port):
        send(port, slices[:1])
        free = store.free_bytes
        store.free_bytes = lambda: -1  # type: ignore[method-assign]
        assert send(port, slices[:3]) == [0xA700] * 3
        store.free_bytes = free  # type: ignore[method-assign]
        assert send(port, slices) == [0] * 5
        assert store.counters()["instances"] == {"duplicate": 1, "no space": 3, "stored": 5}
    said = [one.getMessage() for one in caplog.records if "disk" in one.getMessage()]
    assert said == [
        "the disk is full: instances are refused with status A700 until there is room",
        "the disk has room again",
    ]


@examples(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    patient=st.text("ABCXYZ^ 0123456789", min_size=6, max_size=20).map(lambda text: f"S3CR3T{text.strip()}"),
    spoil=st.sampled_from(["", "Rows", "StudyInstanceUID", "ImagePositionPatient"]),
)
def test_no_patient_data_in_the_log(
    slices: list[pydicom.Dataset],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    patient: str,
    spoil: str,
) -> None:
    caplog.set_level(logging.DEBUG)
    slice_ = pydicom.dcmread(slices[0].filename)
    slice_.PatientName = slice_.PatientID = slice_.SeriesDescription = patient
    if spoil:
        delattr(slice_, spoil)
    with receiving(tmp_path) as (_, port):
        send(port, [slice_])
    own = "\n".join(one.getMessage() for one in caplog.records if one.name.startswith("monai_nce"))
    assert "S3CR3T" not in own + "".join(capfd.readouterr())


def test_tls_and_a_client_without_a_certificate(slices: list[pydicom.Dataset], tmp_path: Path) -> None:
    certificate, key = make_certificate(tmp_path)
    files = {"certificate": certificate, "key": key, "ca": certificate}
    own = ssl.create_default_context(cafile=str(certificate))
    own.load_cert_chain(certificate, key)
    stranger = ssl.create_default_context(cafile=str(certificate))
    with receiving(tmp_path, **files) as (store, port):
        assert send(port, slices[:1], tls_args=(own, "localhost")) == [0]
        assert send(port, slices[:1], tls_args=(stranger, "localhost")) == []
        assert send(port, slices[:1]) == []
        assert store.counters()["instances"] == {"stored": 1}


def test_a_port_that_is_taken_is_said_in_one_line(tmp_path: Path) -> None:
    with receiving(tmp_path) as (store, port), pytest.raises(InputError, match=f"127.0.0.1:{port}: cannot be listened"):
        Receiver(settings(tmp_path, port=port), store)


def make_certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate of localhost by itself."""
    x509 = pytest.importorskip("cryptography.x509")
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now()
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=2))
        .not_valid_after(now + timedelta(days=2))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    pem = serialization.PrivateFormat.PKCS8
    (folder / "key.pem").write_bytes(key.private_bytes(serialization.Encoding.PEM, pem, serialization.NoEncryption()))
    return folder / "cert.pem", folder / "key.pem"
