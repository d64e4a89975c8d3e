"""Which metrics there are, and their labels."""

from __future__ import annotations

from prometheus_client import CollectorRegistry
from prometheus_client.metrics import MetricWrapperBase

from webhook.telemetry.tallies import Durations, Tally


def labels_by_sample(registry: CollectorRegistry) -> dict[str, tuple[str, ...]]:
    """Return the labels of each metric by every name that it goes by: family and samples."""
    found: dict[str, tuple[str, ...]] = {}
    for metric, names in registry._collector_to_names.items():
        if isinstance(metric, MetricWrapperBase):
            found.update(dict.fromkeys(names, tuple(metric._labelnames)))
        elif isinstance(metric, (Tally, Durations)):
            found.update(dict.fromkeys(names, metric.labels))
    return found
