"""Counters and histograms without locks."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics, generate_latest

from webhook.telemetry.tallies import TallyCounter, TallyHistogram

BOUNDS = (0.001, 0.5, 1.0)
LABELS = st.sampled_from(["allow", "deny", 'a "quote"', "line\nbreak", ""])
AMOUNTS = st.one_of(st.sampled_from([*BOUNDS, 0.0, math.inf]), st.floats(min_value=0, max_value=10))


@given(st.lists(st.tuples(LABELS, LABELS)))
def test_counter_exposition_equals_that_of_prometheus_client(counted: list[tuple[str, str]]) -> None:
    """Dashboards and alerts know it."""
    disable_created_metrics()  # type: ignore[no-untyped-call, unused-ignore]
    ours, theirs = CollectorRegistry(auto_describe=True), CollectorRegistry(auto_describe=True)
    tally = TallyCounter("x_seen_total", "What was seen.", ("a", "b"), ours)
    counter = Counter("x_seen_total", "What was seen.", ("a", "b"), registry=theirs)
    for labels in counted:
        tally.inc(*labels)
        counter.labels(*labels).inc()
    assert generate_latest(ours) == generate_latest(theirs)


@given(st.lists(st.tuples(LABELS, AMOUNTS)))
def test_histogram_exposition_equals_that_of_prometheus_client(observed: list[tuple[str, float]]) -> None:
    """An observation that equals a bound is in its bucket."""
    disable_created_metrics()  # type: ignore[no-untyped-call, unused-ignore]
    ours, theirs = CollectorRegistry(auto_describe=True), CollectorRegistry(auto_describe=True)
    tally = TallyHistogram("x_seconds", "Time.", "decision", BOUNDS, ours)
    histogram = Histogram("x_seconds", "Time.", ("decision",), buckets=BOUNDS, registry=theirs)
    for label, amount in observed:
        tally.observe(label, amount)
        histogram.labels(label).observe(amount)
    assert generate_latest(ours) == generate_latest(theirs)


def test_several_are_counted_at_once() -> None:
    """For instance the cached images of a Pod."""
    registry = CollectorRegistry()
    tally = TallyCounter("x_seen_total", "What was seen.", ("a",), registry)
    tally.inc("hit", by=3)
    tally.inc("hit")
    assert registry.get_sample_value("x_seen_total", {"a": "hit"}) == 4
