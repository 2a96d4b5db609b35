from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monai_nce.errors import InputError
from monai_nce.node.settings import Caller, Forward
from tests.node.stored import settings


def test_where_to_send() -> None:
    assert Forward.of("PACS@10.0.0.1:4242") == Forward("PACS", "10.0.0.1", 4242)
    assert Forward.of("PACS@[::1]:104") == Forward("PACS", "::1", 104)
    assert Forward.of("https://pacs:8043/dicom-web/").url == "https://pacs:8043/dicom-web"


@given(st.text(max_size=30))
def test_other_texts_are_refused_in_one_line(text: str) -> None:
    for of in (Forward.of, Caller.of):
        try:
            of(text)  # type: ignore[operator]
        except InputError as error:
            assert "\n" not in str(error)


@pytest.mark.parametrize(
    "text", ["", "PACS", "PACS@host", "PACS@host:0", "PACS@host:65536", "PACS@:104", "@host:104", "http://", "ftp://a"]
)
def test_a_receiver_that_cannot_be(text: str) -> None:
    with pytest.raises(InputError, match="--forward"):
        Forward.of(text)


def test_no_password_in_an_address_nor_in_its_error() -> None:
    with pytest.raises(InputError, match="NCE_NODE_AUTHORIZATION") as refused:
        Forward.of("https://a:geheim@pacs/dicom-web")
    assert "geheim" not in str(refused.value)


@pytest.mark.parametrize("text", ["", "A B", "@1.2.3.4", "A@", "A" * 17, "A\nB"])
def test_a_caller_that_cannot_be(text: str) -> None:
    with pytest.raises(InputError, match="--allow"):
        Caller.of(text)


def test_what_does_not_go_together_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.pem").write_text("no certificate")
    file = tmp_path / "a.pem"
    for changes, said in (
        ({"host": "0.0.0.0"}, "name with --allow who may send"),
        ({"aet": "TOO LONG FOR A TITLE"}, "--aet: expected up to 16"),
        ({"certificate": file}, "--certificate and --key together"),
        ({"ca": file}, "is for TLS alone"),
        ({"certificate": file, "key": tmp_path / "b.pem"}, "b.pem: no such file"),
        ({"certificate": file, "key": file}, "in PEM format that belong together"),
    ):
        with pytest.raises(InputError, match=said):
            settings(tmp_path, **changes)
