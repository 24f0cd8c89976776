"""Counters of a server, in the text format that Prometheus reads."""

import threading
from collections import Counter

BUCKETS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
"""Upper bounds in seconds."""


class Metrics:
    """Counts requests by route and status, and how long they took; safe from several threads."""

    def __init__(self) -> None:
        self._requests: Counter[tuple[str, int]] = Counter()
        self._buckets: Counter[tuple[str, float]] = Counter()
        self._seconds: Counter[str] = Counter()
        self._lock = threading.Lock()

    def count(self, route: str, status: int, seconds: float) -> None:
        """Note one finished request."""
        with self._lock:
            self._requests[route, status] += 1
            self._seconds[route] += seconds  # type: ignore[assignment]  # a Counter adds floats too
            for bound in BUCKETS:
                self._buckets[route, bound] += seconds <= bound

    def text(self, **gauges: float) -> str:
        """All counters, and the gauges given."""
        with self._lock:
            requests, buckets = dict(self._requests), dict(self._buckets)
            seconds = dict(self._seconds)
        totals: Counter[str] = Counter()
        lines = ["# TYPE sam3_agent_requests_total counter"]
        for (route, status), count in sorted(requests.items()):
            totals[route] += count
            labels = f'route="{route}",status="{status}"'
            lines.append(f"sam3_agent_requests_total{{{labels}}} {count}")
        lines.append("# TYPE sam3_agent_request_seconds histogram")
        for route, total in sorted(totals.items()):
            name, label = "sam3_agent_request_seconds", f'route="{route}"'
            for bound in BUCKETS:
                lines.append(f'{name}_bucket{{{label},le="{bound:g}"}} {buckets[route, bound]}')
            lines.append(f'{name}_bucket{{{label},le="+Inf"}} {total}')
            lines.append(f"{name}_sum{{{label}}} {seconds[route]:.6f}")
            lines.append(f"{name}_count{{{label}}} {total}")
        for gauge, value in gauges.items():
            lines += [f"# TYPE sam3_agent_{gauge} gauge", f"sam3_agent_{gauge} {value:g}"]
        return "\n".join(lines) + "\n"
