from __future__ import annotations

from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

from monai_nce.errors import InputError
from monai_nce.node.page import Page, node_app
from monai_nce.node.store import Store
from tests.node.stored import put, settings


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path / "node")
    for number in "123":
        put(store, f"1.2.840.{number}", "1", "1", number)
    enhanced, refused = store.next_task(0), None
    assert enhanced
    store.enhanced(enhanced, store.outgoing_folder(enhanced, ""), 2.5)
    refused = store.next_task(0)
    assert refused
    store.refused(refused, "unsuitable", "seems to show a <head>")
    return store


def asked(store: Store, tmp_path: Path) -> TestClient:
    return TestClient(node_app(settings(tmp_path), store), base_url="http://127.0.0.1")


def test_metrics_say_what_happened(store: Store, tmp_path: Path) -> None:
    text = asked(store, tmp_path).get("/metrics").text
    found = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert found.pop(("nce_node_free_bytes",)) > 0
    assert found == {
        ("nce_node_instances_total", "stored"): 3,
        ("nce_node_series_total", "enhanced"): 1,
        ("nce_node_series_total", "refused: unsuitable"): 1,
        ("nce_node_crashes_total",): 0,
        ("nce_node_enhancing_seconds_total",): 2.5,
        ("nce_node_waiting", "enhanced"): 1,
        ("nce_node_waiting", "sent"): 1,
    }


def test_the_page_says_why_as_text(store: Store, tmp_path: Path) -> None:
    answer = asked(store, tmp_path).get("/")
    assert "seems to show a &lt;head&gt;" in answer.text and "RESEARCH USE ONLY" in answer.text
    assert "1.2.840" not in answer.text and "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert asked(store, tmp_path).get("/page.css").status_code == 200


def test_other_names_and_methods_are_refused(store: Store, tmp_path: Path) -> None:
    client = asked(store, tmp_path)
    assert client.get("/", headers={"Host": "elsewhere.example"}).status_code == 400
    assert client.post("/metrics").status_code == 405


def test_a_taken_port_is_said_in_one_line(store: Store, tmp_path: Path) -> None:
    page = Page(settings(tmp_path), store, 0)
    with pytest.raises(InputError, match="choose another --page-port"):
        Page(settings(tmp_path), store, page.port)
