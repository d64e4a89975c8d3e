"""Counters for what every review does: one operation on a dictionary each.

``prometheus_client`` takes a lock for each value that it adds to, and those of one review took as long
as judging its image. One loop does all reviews, and nothing here gives it a chance to switch, so there
is nobody to lock out. What is exposed is the same to the letter.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector


class Tally(Collector):
    """Counts by the values of its labels."""

    def __init__(self, name: str, text: str, labels: Sequence[str]) -> None:
        """Start at nothing; ``name`` ends in ``_total``, and ``text`` explains it."""
        self.name = name
        self._text = text
        self.labels = tuple(labels)
        self._counts: dict[tuple[str, ...], int] = {}

    def count(self, *labels: str) -> None:
        """Count one."""
        self._counts[labels] = self._counts.get(labels, 0) + 1

    def collect(self) -> Iterator[CounterMetricFamily]:
        """Return what was counted; called by the registry."""
        family = CounterMetricFamily(self.name, self._text, labels=self.labels)
        for labels, count in list(self._counts.items()):  # the audit's pages are made in threads
            family.add_metric(labels, count)
        yield family


class Durations(Collector):
    """A histogram of seconds by the value of one label."""

    def __init__(self, name: str, text: str, label: str, buckets: Sequence[float]) -> None:
        """Start at nothing; ``buckets`` are upper bounds in rising order, from 0.0001 to 999999.0."""
        self.name = name
        self._text = text
        self.labels = (label,)
        self._bounds = tuple(buckets)
        self._names = (*map(str, self._bounds), "+Inf")
        self._series: dict[str, _Series] = {}

    def observe(self, label: str, seconds: float) -> None:
        """Take note of one duration."""
        series = self._series.get(label)
        if series is None:
            series = self._series[label] = _Series(len(self._bounds) + 1)
        series.sum += seconds
        series.counts[bisect_left(self._bounds, seconds)] += 1

    def collect(self) -> Iterator[HistogramMetricFamily]:
        """Return what was seen; called by the registry."""
        family = HistogramMetricFamily(self.name, self._text, labels=self.labels)
        for label, series in self._series.items():
            total = 0
            buckets = []
            for bound, count in zip(self._names, series.counts, strict=True):
                total += count
                buckets.append((bound, float(total)))
            family.add_metric((label,), buckets, series.sum)
        yield family


class _Series:
    """The durations of one label; ``counts`` are not cumulative, the last is above all bounds."""

    __slots__ = ("counts", "sum")

    def __init__(self, buckets: int) -> None:
        self.sum = 0.0
        self.counts = [0] * buckets
