"""Counters and histograms for every review, with the exposition of those of ``prometheus_client``.

Those take a lock for each value: with gevent's locks, counting took a tenth of the time of a review. Here
counting is a few operations that no other greenlet interrupts, so all callers must be in the event loop.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString


class TallyCounter(Collector):
    """A counter of which every value has labels."""

    def __init__(self, name: str, text: str, labels: Sequence[str], registry: CollectorRegistry) -> None:
        """Register it; ``text`` explains it."""
        self._name, self._text, self.label_names = name, text, tuple(labels)
        self._counts: Final[dict[tuple[str, ...], int]] = {}
        registry.register(self)

    def inc(self, *labels: str, by: int = 1) -> None:
        """Add ``by`` to the value with these labels."""
        counts = self._counts
        counts[labels] = counts.get(labels, 0) + by

    def collect(self) -> Iterator[CounterMetricFamily]:
        """Return all values, for a scrape."""
        family = CounterMetricFamily(self._name, self._text, labels=self.label_names)
        for labels, count in self._counts.items():
            family.add_metric(labels, count)
        yield family


class TallyHistogram(Collector):
    """A histogram of which every observation has one label."""

    def __init__(
        self, name: str, text: str, label: str, bounds: Sequence[float], registry: CollectorRegistry
    ) -> None:
        """Register it; ``bounds`` are the finite upper bounds of its buckets, in ascending order."""
        self._name, self._text, self.label_names = name, text, (label,)
        self._bounds = (*bounds, math.inf)
        self._buckets: Final[dict[str, list[int]]] = {}
        self._sums: Final[dict[str, float]] = {}
        registry.register(self)

    def observe(self, label: str, amount: float) -> None:
        """Count an observation."""
        buckets = self._buckets.get(label)
        if buckets is None:
            buckets = self._buckets[label] = [0] * len(self._bounds)
            self._sums[label] = 0.0
        buckets[bisect_left(self._bounds, amount)] += 1
        self._sums[label] += amount

    def collect(self) -> Iterator[HistogramMetricFamily]:
        """Return all values, for a scrape."""
        family = HistogramMetricFamily(self._name, self._text, labels=self.label_names)
        names = [floatToGoString(bound) for bound in self._bounds]  # type: ignore[no-untyped-call, unused-ignore]
        for label, counts in self._buckets.items():
            family.add_metric([label], list(zip(names, accumulate(counts), strict=True)), self._sums[label])
        yield family
