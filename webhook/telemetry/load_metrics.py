"""Metrics of what this process bears: how long its loop stands still, how many bytes of bodies it holds."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge


class LoadMetrics:
    """Gauges that are read at each scrape, and a counter of reviews that there was no room for."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Register them."""
        self._loop_stall = Gauge(
            "swr_trust_loop_stall_seconds",
            "The longest time of the last one to two minutes in which nothing was answered.",
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
        """Read how many bytes of bodies are in memory from ``held``."""
        self._bodies.set_function(held)

    def review_refused_as_busy(self) -> None:
        """Count a review that there was no room for."""
        self._busy.inc()
