"""The study's server, asked without a network: what a reader gets, and what nobody gets."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from monai_nce.errors import InputError
from monai_nce.study.database import Study
from monai_nce.study.server import FAILURES, MAX_BODY, MAX_COMMENT, MAX_MARKS, listen, study_app
from monai_nce.visualize.page.report import CT_WINDOWS
from tests.study.studies import make_study

SHAPE = (44, 50, 4)
GRADE: dict[str, Any] = {"quality": 1, "artefact": 2, "comment": "", "marks": [], "seconds": 3.5}
BASE = "http://127.0.0.1:8321"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Study, list[str]]:
    folder, tokens = make_study(tmp_path_factory.mktemp("study"), readers=3)
    return Study(folder), tokens


@pytest.fixture
def clients(made: tuple[Study, list[str]]) -> Iterator[list[TestClient]]:
    """A browser of each reader, signed in, and one that is not."""
    study, tokens = made
    opened = [TestClient(study_app(study), BASE) for _ in (*tokens, None)]
    for client, token in zip(opened, tokens, strict=False):
        assert client.post("/api/session", json={"token": token}).status_code == 204
    yield opened


def now(client: TestClient) -> str:
    return str(client.get("/api/place").json()["now"])


def test_a_reader_grades_images_beside_their_scans(tmp_path: Path) -> None:
    folder, tokens = make_study(tmp_path, readers=1, ask_real=True)
    study = Study(folder)
    client = TestClient(study_app(study), BASE)
    client.post("/api/session", json={"token": tokens[0]})
    place = client.get("/api/place").json()
    assert (place["done"], place["total"], place["before"], place["ask_real"]) == (0, 8, None, True)
    seen = []
    while place["now"]:
        current = place["now"]
        stored = study.image(1, current)
        for role, file in (("image", stored.file), ("scan", stored.scan)):
            answer = client.get(f"/api/images/{current}/{role}.nii.gz")
            assert answer.content == (folder / file).read_bytes()
            assert not {"etag", "last-modified", "content-disposition"} & set(answer.headers)
        seen.append((stored.case, stored.method))
        grade = {**GRADE, "quality": 1 + len(seen) % 5, "looks_real": True, "marks": [[1, 2, 3]]}
        place = client.put(f"/api/images/{current}/grade", json=grade).json()
        assert study.grades()[-1]["quality"] == grade["quality"]  # on disk when the next image is named
    assert len(set(seen)) == 6 and place["done"] == 8
    earlier = client.get(f"/api/images/{place['before']}/grade").json()["grade"]
    assert earlier["quality"] == 4 and earlier["marks"][0]["voxel"] == [1, 2, 3]


def test_nothing_that_is_sent_says_the_method(clients: list[TestClient]) -> None:
    client = clients[0]
    current = now(client)
    pages = ["/", "/api/place", *(f"/api/images/{current}/{role}.nii.gz" for role in ("scan", "image"))]
    for path in (*pages, f"/api/images/{current}/grade"):
        answer = client.get(path)
        content = gzip.decompress(answer.content) if path.endswith("gz") else answer.content
        assert answer.status_code == 200
        assert not re.search(rb"alpha|beta|\bp[123]\b", content[:352] if path.endswith("gz") else content)


def test_another_s_images_are_as_unknown_as_nobody_s(clients: list[TestClient]) -> None:
    first, second, _, stranger = clients
    current = now(first)
    for reading in (current, "0" * 32):
        for path in (f"/api/images/{reading}/image.nii.gz", f"/api/images/{reading}/grade"):
            answer = second.get(path)
            assert (answer.status_code, answer.json()) == (404, {"error": "no image of this reader to grade now"})
            assert stranger.get(path).status_code == 401
        assert second.put(f"/api/images/{reading}/grade", json=GRADE).status_code == 404
        assert stranger.put(f"/api/images/{reading}/grade", json=GRADE).status_code == 401
    assert stranger.get("/api/place").status_code == 401


def test_an_image_whose_turn_has_not_come_is_not_sent(made: tuple[Study, list[str]], clients: list[TestClient]) -> None:
    with made[0]._open() as opened:
        later = opened.execute("SELECT id FROM reading WHERE reader = 1 AND place = 3").fetchone()[0]
    assert clients[0].get(f"/api/images/{later}/image.nii.gz").status_code == 404


PATHS = st.lists(
    st.sampled_from(["..", "%2e%2e", "study.db", "/etc/passwd", "%00", "viewer.js", "\\", "."]), min_size=1
)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(root=st.sampled_from(["/", "/assets/", "/api/images/", "//"]), parts=PATHS)
@example(root="/assets/", parts=["..", "..", "study", "study.db"])
@example(root="/assets/", parts=["%2e%2e%2fserver.py"])
@example(root="/api/images/", parts=["..%2f..%2fstudy.db"])
def test_no_path_leads_out(clients: list[TestClient], root: str, parts: list[str]) -> None:
    answer = clients[0].get(root + "/".join(parts))
    allowed = answer.request.url.path in ("/", "/assets/viewer.js")  # what the client itself makes of it
    assert allowed or (answer.status_code in (404, 422, 405) and set(answer.json()) == {"error"})


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
grades = st.fixed_dictionaries(
    {"quality": st.integers(0, 6) | anything, "artefact": st.integers(0, 6) | anything},
    optional={
        "looks_real": anything,
        "comment": st.text(max_size=30) | anything,
        "marks": st.lists(st.tuples(st.integers(-1, 50), st.integers(-1, 50), st.integers(-1, 5)), max_size=3)
        | anything,
        "seconds": anything,
        "more": anything,
    },
)


@settings(max_examples=70, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(grade=grades | anything)
@example({**GRADE, "marks": [[43, 49, 3]]})
@example({**GRADE, "marks": [[44, 0, 0]]})
@example({**GRADE, "comment": "\ud800"})
@example({**GRADE, "quality": True})
@example({**GRADE, "seconds": float("nan")})
def test_a_grade_is_kept_as_it_is_or_refused(
    made: tuple[Study, list[str]], clients: list[TestClient], grade: Any
) -> None:
    study, client = made[0], clients[2]
    with study._writing() as opened:
        opened.execute("DELETE FROM grade")
    reading = now(client)
    headers = {"Content-Type": "application/json"}
    answer = client.put(f"/api/images/{reading}/grade", content=json.dumps(grade), headers=headers)
    kept = study.grades()
    if answer.status_code == 200:
        (one,) = kept
        assert (one["quality"], one["artefact"]) == (grade["quality"], grade["artefact"])
        assert type(grade["quality"]) is int and 1 <= one["quality"] <= 5 and 1 <= one["artefact"] <= 5
        assert one["comment"] == grade.get("comment", "")
        assert [mark["voxel"] for mark in one["marks"]] == [list(mark) for mark in grade.get("marks", [])]
        assert all(0 <= at < size for mark in one["marks"] for at, size in zip(mark["voxel"], SHAPE, strict=True))
    else:
        assert answer.status_code == 422 and set(answer.json()) == {"error"} and not kept


@pytest.mark.parametrize(
    "changed",
    [{"comment": "x" * (MAX_COMMENT + 1)}, {"marks": [[0, 0, 0]] * (MAX_MARKS + 1)}, {"seconds": 1e6}, {"reader": 2}],
)
def test_too_much_is_refused(clients: list[TestClient], changed: dict[str, Any]) -> None:
    answer = clients[0].put(f"/api/images/{now(clients[0])}/grade", json={**GRADE, **changed})
    assert answer.status_code == 422 and "xxx" not in answer.text


def test_large_and_broken_bodies_are_refused(clients: list[TestClient]) -> None:
    path = f"/api/images/{now(clients[0])}/grade"
    headers = {"Content-Type": "application/json"}
    assert clients[0].put(path, content=b" " * (MAX_BODY + 1), headers=headers).status_code == 413
    for body in (b"{", b"[" * 60_000, b"\xff\xfe", b""):
        assert clients[0].put(path, content=body, headers=headers).status_code in (400, 422)


def test_a_wrong_token_is_refused_and_guessing_is_slowed(made: tuple[Study, list[str]]) -> None:
    client = TestClient(study_app(made[0]), BASE)
    for token in [made[1][0][:-1], "x" * 200, *(str(guess) for guess in range(FAILURES - 2))]:
        answer = client.post("/api/session", json={"token": token})
        assert answer.status_code == 401 and "set-cookie" not in answer.headers
    assert client.post("/api/session", json={"token": made[1][0]}).status_code == 429


def test_the_cookie_is_for_this_site_and_no_script(made: tuple[Study, list[str]]) -> None:
    client = TestClient(study_app(made[0]), BASE)
    cookie = client.post("/api/session", json={"token": made[1][0]}).headers["set-cookie"]
    assert "HttpOnly" in cookie and "SameSite=strict" in cookie and made[1][0] not in cookie
    assert client.get("/api/place").status_code == 200
    assert client.delete("/api/session").status_code == 204
    client.cookies.set(*cookie.split(";")[0].split("=", 1))  # the session itself has ended, not the cookie alone
    assert client.get("/api/place").status_code == 401


def test_another_site_can_send_nothing(clients: list[TestClient]) -> None:
    client = clients[0]
    path = f"/api/images/{now(client)}/grade"
    for origin in ("https://elsewhere.example", "http://127.0.0.1:9999", "null"):
        assert client.put(path, json=GRADE, headers={"Origin": origin}).status_code == 403
    form = client.put(path, content=b'{"quality": 1, "artefact": 1}', headers={"Content-Type": "text/plain"})
    assert form.status_code == 415
    assert client.put(path, json=GRADE, headers={"Origin": BASE}).status_code == 200


@pytest.mark.parametrize("host", ["elsewhere.example", "127.0.0.1.elsewhere.example:8321", "", "[::2]:8321"])
def test_a_name_that_was_made_to_lead_here_is_refused(clients: list[TestClient], host: str) -> None:
    assert clients[0].get("/api/place", headers={"Host": host}).status_code == 400


@pytest.mark.parametrize("host", ["localhost:8321", "LOCALHOST", "[::1]:8321", "127.0.0.1"])
def test_names_of_this_machine_are_known(clients: list[TestClient], host: str) -> None:
    assert clients[3].get("/", headers={"Host": host}).status_code == 200


def test_every_answer_guards_the_page(clients: list[TestClient]) -> None:
    for path in ("/", "/assets/grade.js", "/api/place", "/nowhere", "/docs", "/openapi.json"):
        headers = clients[3].get(path).headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff" and headers["cache-control"] == "no-store"
        assert headers["referrer-policy"] == "no-referrer" and headers["x-frame-options"] == "DENY"
    assert [clients[0].get(path).status_code for path in ("/docs", "/openapi.json")] == [404, 404]


def test_the_page_asks_no_other_server(clients: list[TestClient]) -> None:
    page = clients[3].get("/").text + clients[3].get("/assets/grade.js").text + clients[3].get("/assets/grade.css").text
    assert not re.search(r"https?:|//[a-z]+\.|@import", page)
    assert "research use only" in page.lower()


def test_the_windows_are_those_of_the_page(clients: list[TestClient]) -> None:
    shown = re.findall(r'data-window="(-?\d+),(\d+)"[^>]*>([^<]+)<', clients[3].get("/").text)
    assert [(name, int(level), int(width)) for level, width, name in shown] == [("Abdomen", 50, 300), *CT_WINDOWS]


def test_a_taken_port_is_said() -> None:
    with listen("127.0.0.1", 0) as taken, pytest.raises(InputError, match="cannot be listened on"):
        listen("127.0.0.1", taken.getsockname()[1])


def test_volumes_are_whole(made: tuple[Study, list[str]], clients: list[TestClient]) -> None:
    content = clients[0].get(f"/api/images/{now(clients[0])}/image.nii.gz").content
    assert np.asarray(nib.Nifti1Image.from_bytes(gzip.decompress(content)).dataobj).shape == SHAPE
