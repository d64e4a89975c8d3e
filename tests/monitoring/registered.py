"""All registered metrics and their labels: the webhook's, and those of the audit in the cluster."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.metrics import MetricWrapperBase

from webhook.telemetry.audit_metrics import AuditMetrics
from webhook.telemetry.metrics import Metrics
from webhook.telemetry.tallies import TallyCounter, TallyHistogram


def registries() -> tuple[CollectorRegistry, CollectorRegistry]:
    """Return the webhook's and the audit's."""
    shared = Metrics("0")
    return shared.registry, AuditMetrics("0", 3600.0, shared).registry


def families() -> list[Metric]:
    """Return every metric family."""
    return [family for registry in registries() for family in registry.collect()]


def sample_names() -> set[str]:
    """Return every name that a sample may have."""
    return {name for one in registries() for names in one._collector_to_names.values() for name in names}


def labels_by_sample() -> dict[str, tuple[str, ...]]:
    """Return the labels of each metric by all of its names: family and samples."""
    found: dict[str, tuple[str, ...]] = {}
    for registry in registries():
        for metric, names in registry._collector_to_names.items():
            if isinstance(metric, MetricWrapperBase):
                found.update(dict.fromkeys(names, tuple(metric._labelnames)))
            elif isinstance(metric, TallyCounter | TallyHistogram):
                found.update(dict.fromkeys(names, metric.label_names))
    return found
