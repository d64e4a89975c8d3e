"""Metrics of load: stalls of the event loop, bytes of request bodies, and reviews denied because of them."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge


class LoadMetrics:
    """Gauges that are read at each scrape, and a counter of reviews that were denied because of load."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Register them."""
        self._loop_stall = Gauge(
            "swr_trust_loop_stall_seconds",
            "The longest stall of the event loop in the last one to two minutes.",
            registry=registry,
        )
        self._bodies = Gauge(
            "swr_trust_request_body_bytes", "Bytes of request bodies in memory.", registry=registry
        )
        self._busy = Counter(
            "swr_trust_busy_reviews",
            "Reviews refused because too many large ones were being read.",
            registry=registry,
        )

    def watch_loop(self, longest: Callable[[], float]) -> None:
        """Read the longest stall of the loop, in seconds, from ``longest``."""
        self._loop_stall.set_function(longest)

    def watch_bodies(self, held: Callable[[], int]) -> None:
        """Read the bytes of bodies in memory from ``held``."""
        self._bodies.set_function(held)

    def review_refused_as_busy(self) -> None:
        """Count a review that was denied because too many bodies were in memory."""
        self._busy.inc()
