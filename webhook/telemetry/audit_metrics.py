"""Metrics of the audit in the cluster. ``docs/metrics.md`` explains them.

Only these metrics have a namespace as label, limited to ``MAX_NAMESPACES`` values. None has an image,
workload or Pod as label. The label is ``resource_namespace``, because a scrape adds ``namespace``. The
process also exposes the metrics of the parts that it shares with the webhook: SWR, cache, policy, Events.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Metric, generate_latest

from webhook.recorder import Recorder
from webhook.telemetry.metrics import Metrics

MAX_NAMESPACES: Final = 300
"""Namespaces with series of their own: those with the most denied Pods. The others are aggregated."""

OTHERS: Final = "(others)"
"""The label of the others; it is not a valid name of a namespace."""

SHARED: Final = frozenset(
    {
        "swr_trust_swr_requests",
        "swr_trust_swr_request_duration_seconds",
        "swr_trust_swr_circuit_breaker_open",
        "swr_trust_swr_last_success_timestamp_seconds",
        "swr_trust_swr_last_trusted_timestamp_seconds",
        "swr_trust_credential_paused_until_timestamp_seconds",
        "swr_trust_credential_fetches",
        "swr_trust_cache_requests",
        "swr_trust_signatures",
        "swr_trust_signature_keys",
        "swr_trust_signature_keys_missing",
        "swr_trust_signature_key_not_after_timestamp_seconds",
        "swr_trust_config_info",
        "swr_trust_config_last_reload_success_timestamp_seconds",
        "swr_trust_config_last_reload_successful",
        "swr_trust_config_reload_failures",
        "swr_trust_events",
    }
)
"""The metrics of the webhook that are exposed, besides those of the process. Not ``swr_trust_build_info``,
which counts replicas of the webhook."""


@dataclass(frozen=True, slots=True)
class NamespaceFigures:
    """One namespace: Pods by ``state``, uses of images by finding."""

    name: str
    pods: Mapping[str, int]
    uses: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class RegistryFigures:
    """The survey of one entry of the configuration: distinct images by ``state``, and those ``denied``.

    ``denied`` is by evidence, ``evidence`` the configured one, and ``advice`` what the survey recommends.
    """

    name: str
    evidence: str
    advice: str
    images: Mapping[str, int]
    denied: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class RoundFigures:
    """One round.

    ``other_digest`` are Pods by the reason why their running digest differs. ``namespaces`` are in the order
    of their priority for series of their own. ``mode`` is that of the policy.
    """

    complete: bool
    seconds: float
    pods: int
    images: int
    other_digest: Mapping[str, int]
    ending_exemptions: int
    namespaces: tuple[NamespaceFigures, ...]
    mode: str = ""
    registries: tuple[RegistryFigures, ...] = ()


class AuditMetrics(Recorder):
    """The metrics of a process that audits; ``shared`` are those of the webhook's parts."""

    def __init__(self, version: str, interval: float, shared: Metrics) -> None:
        """Register all metrics; a round is made every ``interval`` seconds."""
        self.registry = registry = CollectorRegistry(auto_describe=True)
        self._shared = shared

        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(f"swr_trust_audit_{name}", text, labels, registry=registry)

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"swr_trust_audit_{name}", text, labels, registry=registry)

        gauge("info", "The program that audits.", "version").labels(version).set(1)
        gauge("interval_seconds", "Seconds between two rounds.").set(interval)
        gauge("started_timestamp_seconds", "When the process began to audit.").set(time.time())
        self._pods = gauge("pods", "Running Pods, by the effect of enforcing.", "resource_namespace", "state")
        self._uses = gauge(
            "image_uses", "Images of running Pods, by finding.", "resource_namespace", "finding"
        )
        self._folded = gauge("namespaces_folded", "Namespaces without series of their own.")
        self._drift = gauge(
            "other_digest_pods", "Pods that run another image than their tag names now, or than they pin."
        )
        self._drift_by_reason = gauge(
            "other_digest_reason_pods", "Pods of swr_trust_audit_other_digest_pods, by reason.", "reason"
        )
        self._endings = gauge(
            "ending_exemption_pods", "Pods that run only by an exemption that ends within 30 days."
        )
        self._evidence = gauge(
            "evidence_info",
            "The evidence of a registry, the mode of the policy, and what the survey recommends.",
            *("registry", "evidence", "mode", "advice"),
        )
        self._evidence_images = gauge(
            "evidence_images", "Distinct running images, by what the survey found.", "registry", "state"
        )
        self._evidence_denied = gauge(
            "evidence_denied_images",
            "Distinct running images that an evidence would deny.",
            *("registry", "evidence"),
        )
        self._rounds = counter("rounds_total", "Rounds, by how they ended.", "result")
        self._last_complete = gauge(
            "last_complete_timestamp_seconds", "When the last complete round ended; absent until one did."
        )
        self._complete = gauge("last_round_complete", "0 if the last round was partial.")
        self._seconds = gauge("last_round_duration_seconds", "How long the last round took.")
        self._round_pods = gauge("last_round_pods", "Pods of the last round.")
        self._round_images = gauge("last_round_images", "Distinct images that the last round looked up.")
        self._newly_refused = counter(
            "newly_refused_total",
            "Running images that enforcing would deny and that the round before had not found.",
        )
        self._reports = counter("reports_total", "Policy reports, by outcome.", "outcome")
        self._report_api = gauge("report_api_info", "The API that reports are written in.", "api")
        self._api = ""
        self._shown: dict[str, NamespaceFigures] = {}
        self._lock = threading.Lock()
        """Held while series are replaced, so that a scrape is consistent."""

    def render(self) -> bytes:
        """Return the exposition (Prometheus text format 0.0.4)."""
        with self._lock:
            return generate_latest(self.registry) + generate_latest(_Selection(self._shared.registry))

    def round_ended(self, figures: RoundFigures) -> None:
        """Record a round.

        Only the failure is recorded of a partial round without Pods. Another partial round updates its
        namespaces; the series of other namespaces stay.
        """
        self._rounds.labels("complete" if figures.complete else "partial").inc()
        self._complete.set(figures.complete)
        self._seconds.set(figures.seconds)
        self._round_pods.set(figures.pods)
        self._round_images.set(figures.images)
        if figures.complete:
            self._last_complete.set(time.time())
            self._shown = {}
            self._show_survey(figures)
        elif not figures.pods:
            return
        self._drift.set(sum(figures.other_digest.values()))
        for reason, pods in figures.other_digest.items():
            self._drift_by_reason.labels(reason).set(pods)
        self._endings.set(figures.ending_exemptions)
        self._show(figures.namespaces)

    def round_failed(self) -> None:
        """Count a round that failed because of an internal error."""
        self._rounds.labels("failed").inc()
        self._complete.set(0)

    def newly_refused(self, images: int) -> None:
        """Count images that would be denied now, and would not have been in the last round."""
        self._newly_refused.inc(images)

    def report_api_found(self, api: str) -> None:
        """Record the API of policy reports, ``none`` if there is none."""
        if self._api:
            self._report_api.remove(self._api)
        self._api = api
        self._report_api.labels(api).set(1)

    def report_ended(self, outcome: str) -> None:
        """Count a policy report."""
        self._reports.labels(outcome).inc()

    def _show_survey(self, figures: RoundFigures) -> None:
        with self._lock:
            for metric in (self._evidence, self._evidence_images, self._evidence_denied):
                metric.clear()
            for one in figures.registries:
                self._evidence.labels(one.name, one.evidence, figures.mode, one.advice).set(1)
                for state, images in one.images.items():
                    self._evidence_images.labels(one.name, state).inc(images)
                for evidence, images in one.denied.items():
                    self._evidence_denied.labels(one.name, evidence).inc(images)

    def _show(self, namespaces: Iterable[NamespaceFigures]) -> None:
        merged = {one.name: one for one in namespaces}
        for name, one in self._shown.items():
            merged.setdefault(name, one)
        ranked = list(merged.values())
        self._shown = {one.name: one for one in ranked[: MAX_NAMESPACES * 20]}
        with self._lock:
            self._fill(ranked)

    def _fill(self, ranked: Sequence[NamespaceFigures]) -> None:
        self._pods.clear()
        self._uses.clear()
        for index, one in enumerate(ranked):
            name = one.name if index < MAX_NAMESPACES else OTHERS
            for state, count in one.pods.items():
                self._pods.labels(name, state).inc(count)
            for finding, count in one.uses.items():
                self._uses.labels(name, finding).inc(count)
        self._folded.set(max(0, len(ranked) - MAX_NAMESPACES))


class _Selection(CollectorRegistry):
    """The part of a registry that is exposed."""

    def __init__(self, whole: CollectorRegistry) -> None:
        super().__init__()
        self._whole = whole

    def collect(self) -> Iterator[Metric]:
        return (one for one in self._whole.collect() if one.name in SHARED or one.name.startswith("process_"))
