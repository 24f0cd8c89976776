"""Metrics of the REST server for Prometheus."""

import time
from typing import TYPE_CHECKING, Any

from sam3_agent.plugin.sessions import Sessions
from sam3_agent.plugin.work_queue import WorkQueue

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

BUCKETS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
"""Upper bounds in seconds."""


class Metrics:
    """Counts requests and their seconds by route; measures the queue and the open images."""

    def __init__(self, queue: WorkQueue, sessions: Sessions) -> None:
        from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

        self._registry = CollectorRegistry()
        self._requests = Counter(
            "sam3_agent_requests", "Requests.", ["route", "status"], registry=self._registry
        )
        self._seconds = Histogram(
            "sam3_agent_request_seconds",
            "Seconds of a request.",
            ["route"],
            buckets=BUCKETS,
            registry=self._registry,
        )
        gauges = {
            "running": ("Calls that run.", lambda: min(queue.active, queue.workers)),
            "overdue": ("Calls that go on after their deadline.", lambda: queue.overdue),
            "waiting": ("Calls that wait.", lambda: max(0, queue.active - queue.workers)),
            "images": ("Open images.", lambda: len(sessions)),
            "image_bytes": ("Memory of all open images.", sessions.weight),
        }
        for name, (text, value) in gauges.items():
            Gauge(f"sam3_agent_{name}", text, registry=self._registry).set_function(value)

    def count(self, route: str, status: int, seconds: float) -> None:
        """Count a finished request."""
        self._requests.labels(route, status).inc()
        self._seconds.labels(route).observe(seconds)

    def text(self) -> bytes:
        """All metrics in Prometheus' text format 0.0.4."""
        from prometheus_client import generate_latest

        return generate_latest(self._registry)


class MetricsMiddleware:
    """ASGI middleware that counts the requests of documented routes.

    uncounted: paths of routes that are left out.
    """

    def __init__(self, app: "ASGIApp", metrics: Metrics, uncounted: frozenset[str]) -> None:
        self._app = app
        self._metrics = metrics
        self._uncounted = uncounted

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """Serve one connection."""
        began, status = time.monotonic(), 500

        async def sent(message: "Message") -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, sent)
        finally:
            # the router writes the route into the scope; unknown paths would be endless labels
            route: Any = scope.get("route")
            if getattr(route, "include_in_schema", False) and route.path not in self._uncounted:
                label = route.path.removesuffix("/{name:path}")  # one label for all files
                self._metrics.count(label, status, time.monotonic() - began)
