"""Put instances into a store, without DICOM."""

from __future__ import annotations

from pathlib import Path

from monai_nce.node.settings import Forward, NodeSettings
from monai_nce.node.store import Store


def put(store: Store, study: str, series: str, instance: str, content: str) -> str:
    with store.arriving(content.encode()) as file:
        return store.keep(file, study, series, instance, content)


def settings(folder: Path, forward: str = "PACS@127.0.0.1:1", **changes: object) -> NodeSettings:
    given = {"aet": "NCE", "host": "127.0.0.1", "port": 0, "data": folder, "quiet_seconds": 0, "least_free": 0}
    return NodeSettings(forward=Forward.of(forward), **{**given, **changes})  # type: ignore[arg-type]
