"""Show what a node received, did, refused and why: a page for people, ``/metrics`` for Prometheus; no patient data."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import uvicorn
from fastapi import FastAPI, Request, Response
from jinja2 import Environment, StrictUndefined
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector
from starlette.middleware.trustedhost import TrustedHostMiddleware

from monai_nce import __version__
from monai_nce.errors import InputError
from monai_nce.node.settings import LOOPBACK, NodeSettings
from monai_nce.node.store import Store

__all__ = ["NodeMetrics", "Page", "node_app"]

OWN = Path(__file__).parent
ROWS = 100
# name of the counter in the store: name of the metric, of its label, what it is
COUNTERS = {
    "instances": ("nce_node_instances", "outcome", "Instances that came in, by what became of them"),
    "refused_associations": ("nce_node_refused_associations", "reason", "Associations that were refused"),
    "series": ("nce_node_series", "outcome", "Series that were enhanced, refused or failed"),
    "sends": ("nce_node_sends", "outcome", "Attempts to send a derived series"),
    "crashes": ("nce_node_crashes", "", "Times that the process that enhances ended"),
    "enhancing_seconds": ("nce_node_enhancing_seconds", "", "Seconds spent on series that were enhanced"),
}
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


class NodeMetrics(Collector):
    """Give Prometheus the counts of a store, which outlive the process."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def collect(self) -> Iterator[Metric]:
        """Yield all metrics."""
        counted = self.store.counters()
        for name, (metric, label, text) in COUNTERS.items():
            family = CounterMetricFamily(metric, text, labels=[label] if label else [])
            values = counted.get(name, {} if label else {"": 0})
            for key, value in values.items():
                family.add_metric([key] if label else [], value)
            yield family
        waiting = GaugeMetricFamily("nce_node_waiting", "Series that wait to be enhanced, or sent", labels=["to_be"])
        for key, value in self.store.waiting().items():
            waiting.add_metric([key], value)
        yield waiting
        yield GaugeMetricFamily("nce_node_free_bytes", "Room on the node's disk", value=self.store.free_bytes())


def node_app(settings: NodeSettings, store: Store, hosts: tuple[str, ...] = LOOPBACK) -> FastAPI:
    """Make the page's server; it answers GET alone, and to those names alone."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=list(hosts))
    registry = CollectorRegistry()
    registry.register(NodeMetrics(store))
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string((OWN / "page.html").read_text(encoding="utf-8"))
    css = (OWN / "page.css").read_bytes()

    @app.middleware("http")
    async def guard(request: Request, call_next):  # type: ignore[no-untyped-def]
        response = await call_next(request)
        response.headers.update(HEADERS)
        return response

    @app.get("/")
    def page() -> Response:
        forward = settings.forward.url or f"{settings.forward.aet}@{settings.forward.host}:{settings.forward.port}"
        about = {
            "now": time.strftime("%Y-%m-%d %H:%M:%S"),
            "version": __version__,
            "aet": settings.aet,
            "forward": forward,
            "free_gib": store.free_bytes() / 2**30,
            "quiet_seconds": settings.quiet_seconds,
        }
        counted = store.counters()
        counters = {name: counted.get(name, {}) for name in ("instances", "series", "sends", "refused_associations")}
        rows = [row | {"at": _clock(max(row["changed"], row["last"]))} for row in store.recent(ROWS)]
        return Response(
            template.render(about=about, counters=counters, waiting=store.waiting(), rows=rows), media_type="text/html"
        )

    @app.get("/page.css")
    def style() -> Response:
        return Response(css, media_type="text/css")

    @app.get("/metrics")
    def metrics() -> Response:
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    return app


class Page:
    """Serve the page on this machine alone, in a thread.

    Raises:
        InputError: if the port cannot be had.
    """

    def __init__(self, settings: NodeSettings, store: Store, port: int) -> None:
        try:
            self._socket = socket.create_server(("127.0.0.1", port))
        except (OSError, OverflowError) as error:
            why = getattr(error, "strerror", None) or "no such port"
            raise InputError(f"127.0.0.1:{port}: cannot be listened on ({why}): choose another --page-port") from error
        self.port = int(self._socket.getsockname()[1])
        config = uvicorn.Config(
            node_app(settings, store),
            log_level="warning",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            lifespan="off",
            ws="none",
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, args=([self._socket],), name="page", daemon=True)

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def stop(self) -> None:
        """End."""
        self._server.should_exit = True
        self._thread.join(timeout=5)


def _clock(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))
