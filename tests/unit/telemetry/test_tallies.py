"""Tallies expose what prometheus_client's own metrics would, to the letter."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics, generate_latest

from webhook.telemetry.tallies import Durations, Tally

LABELS = ("finding", "effect")
BUCKETS = (0.001, 0.01, 2.5)

disable_created_metrics()


def exposed(*metrics: Tally | Durations) -> str:
    """Return the exposition of these metrics."""
    registry = CollectorRegistry(auto_describe=True)
    for metric in metrics:
        registry.register(metric)
    return generate_latest(registry).decode()


def test_a_tally_is_exposed_as_a_counter() -> None:
    """Also a label with what must be escaped in it."""
    tally = Tally("images_total", "Images.", LABELS)
    registry = CollectorRegistry(auto_describe=True)
    counter = Counter("images_total", "Images.", LABELS, registry=registry)
    for labels in (("trusted", "allow"), ("missing", "deny"), ("trusted", "allow"), ('"\n\\', "deny")):
        tally.count(*labels)
        counter.labels(*labels).inc()
    assert exposed(tally) == generate_latest(registry).decode()


def test_durations_are_exposed_as_a_histogram() -> None:
    """What is exactly at a bound belongs below it; what is above all of them counts, too."""
    durations = Durations("review_seconds", "Reviews.", "decision", BUCKETS)
    registry = CollectorRegistry(auto_describe=True)
    histogram = Histogram("review_seconds", "Reviews.", ("decision",), buckets=BUCKETS, registry=registry)
    for label, seconds in (
        ("allow", 0.0),
        ("allow", 0.001),
        ("deny", 0.0011),
        ("allow", 2.5),
        ("allow", 9.75),
    ):
        durations.observe(label, seconds)
        histogram.labels(label).observe(seconds)
    assert exposed(durations) == generate_latest(registry).decode()


def test_what_was_never_counted_is_there_with_its_explanation() -> None:
    """So that documentation and exposition can be compared from the start."""
    tally = Tally("images_total", "Images.", LABELS)
    durations = Durations("review_seconds", "Reviews.", "decision", BUCKETS)
    assert exposed(tally, durations).splitlines() == [
        "# HELP images_total Images.",
        "# TYPE images_total counter",
        "# HELP review_seconds Reviews.",
        "# TYPE review_seconds histogram",
    ]
