"""Metrics of ``/mutate``, and of images that should have been pinned."""

from __future__ import annotations

from collections.abc import Sequence

from prometheus_client import CollectorRegistry

from webhook.telemetry.tallies import TallyCounter, TallyHistogram


class PinningMetrics:
    """The metrics of one process."""

    def __init__(self, registry: CollectorRegistry, buckets: Sequence[float]) -> None:
        """Register all metrics; ``buckets`` are those of the time of a review."""
        self._mutations = TallyCounter(
            "swr_trust_mutation_requests_total",
            "Requests of /mutate by outcome and whether they were a dry run.",
            ("outcome", "dry_run"),
            registry,
        )
        self._duration = TallyHistogram(
            "swr_trust_mutation_duration_seconds",
            "Time of a call of /mutate.",
            "outcome",
            buckets,
            registry,
        )
        self._images = TallyCounter(
            "swr_trust_pin_images_total",
            "Images of /mutate that the policy pins, by result.",
            ("result",),
            registry,
        )
        self._unpinned = TallyCounter(
            "swr_trust_unpinned_images_total",
            "Trusted images of Pods that reached /validate by their tag although the policy pins them.",
            (),
            registry,
        )
        self._unpinned.inc(by=0)

    def mutated(self, outcome: str, *, dry_run: bool, seconds: float) -> None:
        """Count a request."""
        self._mutations.inc(outcome, "true" if dry_run else "false")
        self._duration.observe(outcome, seconds)

    def image(self, result: str) -> None:
        """Count an image: ``pinned``, ``kept``, or why it stayed as it was."""
        self._images.inc(result)

    def unpinned(self, images: int) -> None:
        """Count images that should have been pinned."""
        self._unpinned.inc(by=images)
