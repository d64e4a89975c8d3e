"""All metrics, in a registry of their own. ``docs/metrics.md`` explains them.

Labels are bounded: no image, tag, Pod, user or namespace.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.process_collector import ProcessCollector

from webhook.recorder import Recorder
from webhook.telemetry.load_metrics import LoadMetrics
from webhook.telemetry.pinning_metrics import PinningMetrics
from webhook.telemetry.signature_metrics import SignatureMetrics
from webhook.telemetry.tallies import TallyCounter, TallyHistogram

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

REVIEW_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Seconds. A review takes a few milliseconds with cached images, otherwise a call to SWR, and at most ten."""

CALL_BUCKETS: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Seconds of one call to SWR."""

OPERATIONS: Final = frozenset({"CREATE", "UPDATE", "DELETE", "CONNECT"})


class Metrics(Recorder):
    """The metrics of one process."""

    def __init__(self, version: str) -> None:
        """Register all metrics; ``version`` is that of the program."""
        disable_created_metrics()  # type: ignore[no-untyped-call, unused-ignore]  # a second series for each counter
        self.registry = registry = CollectorRegistry(auto_describe=True)
        ProcessCollector(registry=registry)

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"swr_trust_{name}", text, labels, registry=registry)

        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(f"swr_trust_{name}", text, labels, registry=registry)

        def tally(name: str, text: str, *labels: str) -> TallyCounter:
            return TallyCounter(f"swr_trust_{name}", text, labels, registry)

        self._requests = tally(
            "admission_requests_total",
            "Requests by subject, operation, decision and whether they were a dry run.",
            "subject",
            "operation",
            "decision",
            "dry_run",
        )
        self._duration = TallyHistogram(
            "swr_trust_admission_duration_seconds", "Time of a request.", "decision", REVIEW_BUCKETS, registry
        )
        self.deciding = 0
        """Requests in progress."""
        gauge("admission_requests_in_flight", "Requests in progress.").set_function(lambda: self.deciding)
        self._findings = tally(
            "image_findings_total",
            "Images by finding, reason, mode and effect.",
            "finding",
            "reason",
            "mode",
            "effect",
        )
        self._break_glass = counter("break_glass_total", "Requests admitted by the break-glass annotation.")
        self._broken = counter(
            "broken_calls_total", "HTTP requests that are not an AdmissionReview, by status.", "code"
        )
        self._calls = counter(
            "swr_requests_total", "Calls to SWR, by HTTP status or reason of failure.", "registry", "code"
        )
        self._call_duration = Histogram(
            "swr_trust_swr_request_duration_seconds",
            "Time of one call to SWR.",
            ("registry",),
            buckets=CALL_BUCKETS,
            registry=registry,
        )
        self._last_answer = gauge(
            "swr_last_success_timestamp_seconds", "When SWR last responded 200 or 404.", "registry"
        )
        self._last_trusted = gauge(
            "swr_last_trusted_timestamp_seconds", "When an image was last found to be trusted.", "registry"
        )
        self._cache = tally("cache_requests_total", "Lookups of images, by result.", "result")
        self._cache_entries = gauge("cache_entries", "Records in the cache.", "kind")
        self._paused = gauge(
            "credential_paused_until_timestamp_seconds",
            "Until when a credential is not used after a failed authentication, 0 when it is used.",
            "kind",
        )
        self._fetches = counter(
            "credential_fetches_total", "Logins and fetches of temporary credentials.", "kind", "outcome"
        )
        self._policy_at = gauge(
            "config_last_reload_success_timestamp_seconds", "When the policy in force was loaded."
        )
        self._policy_ok = gauge("config_last_reload_successful", "0 while a changed policy cannot be used.")
        self._policy_rejected = counter(
            "config_reload_failures_total", "Changed policies that cannot be used."
        )
        self._policy_info = gauge("config_info", "The policy in force.", "version")
        self._exemptions = gauge(
            "exemptions_ending", "Exemptions that end within 14 days or have ended.", "state"
        )
        self._certificate_end = gauge(
            "certificate_not_after_timestamp_seconds", "When a certificate ends.", "certificate"
        )
        self._certificate_loads = counter(
            "certificate_reloads_total", "Reloads of a changed certificate or CA file, by result.", "result"
        )
        self._aborted = counter(
            "connections_cut_total", "Connections that the server closed, by stage.", "stage"
        )
        gauge("build_info", "The program.", "version").labels(version).set(1)
        self.load = LoadMetrics(registry)
        self.pinning = PinningMetrics(registry, REVIEW_BUCKETS)
        self.signatures = SignatureMetrics(registry)
        self._dropped_log = counter(
            "log_bytes_dropped_total", "Bytes of log that were dropped because the output was blocked."
        )
        self._events = counter("events_total", "Kubernetes Events, by outcome.", "outcome")
        self._snapshot_rounds = counter(
            "snapshot_rounds_total", "Rounds of the snapshot of trusted images, by result.", "result"
        )
        self._snapshot_rejects = counter(
            "snapshot_rejected_total", "Stored snapshots that were ignored, by reason.", "reason"
        )
        self._snapshot_images = gauge("snapshot_images", "Images in the stored snapshot.")
        self._snapshot_at = gauge(
            "snapshot_last_success_timestamp_seconds", "When the snapshot was last up to date."
        )
        self._breaker = gauge(
            "swr_circuit_breaker_open",
            "1 while the circuit breaker of a registry is open.",
            "registry",
        )
        self._blocked = gauge(
            "swr_account_blocked_until_timestamp_seconds",
            "Until when a registry is not called because SWR has blocked the account for too many requests.",
            "registry",
        )
        self._tag_list = gauge(
            "swr_tag_list_used",
            "1 while tag lists are read because a registry does not offer the call for one tag.",
            "registry",
        )
        self._policy_version = ""

    def watch_cache(self, sizes: Callable[[], tuple[int, int, int]]) -> None:
        """Read the sizes of the cache from ``sizes``: trusted, refused and imported records."""
        self._cache_entries.labels("trusted").set_function(lambda: sizes()[0])
        self._cache_entries.labels("refused").set_function(lambda: sizes()[1])
        self._cache_entries.labels("recalled").set_function(lambda: sizes()[2])

    def render(self) -> bytes:
        """Return the exposition (Prometheus text format 0.0.4)."""
        return generate_latest(self.registry)

    def request_decided(
        self, subject: str, operation: str, decision: str, *, dry_run: bool, seconds: float
    ) -> None:
        """Count a decision."""
        known = operation if operation in OPERATIONS else "other"
        self._requests.inc(subject, known, decision, "true" if dry_run else "false")
        self._duration.observe(decision, seconds)

    def image_evaluated(self, finding: str, reason: str, mode: str, effect: str) -> None:
        """Count the finding of one image."""
        self._findings.inc(finding, reason, mode, effect)

    def break_glass_used(self) -> None:
        """Count a request that was admitted by break-glass."""
        self._break_glass.inc()

    def call_broken(self, code: int) -> None:
        """Count an HTTP request that was answered with an error."""
        self._broken.labels(str(code)).inc()

    def record_call(self, registry: str, outcome: str, seconds: float) -> None:
        """Count a call to SWR."""
        self._calls.labels(registry, outcome).inc()
        self._call_duration.labels(registry).observe(seconds)
        if outcome in ("200", "404"):
            self._last_answer.labels(registry).set(time.time())

    def record_trusted(self, registry: str) -> None:
        """Record that an image of this registry was found to be trusted."""
        self._last_trusted.labels(registry).set(time.time())

    def breaker_changed(self, registry: str, state: str) -> None:
        """Record the state of a circuit breaker."""
        self._breaker.labels(registry).set(state != "closed")

    def account_blocked(self, registry: str, seconds: float) -> None:
        """Record that no call to a registry is made for ``seconds`` because SWR has blocked the account."""
        self._blocked.labels(registry).set(time.time() + seconds)

    def tag_source_changed(self, registry: str, source: str) -> None:
        """Record which call answers about tags: ``tag`` or ``list``."""
        self._tag_list.labels(registry).set(source == "list")

    def cache_answered(self, result: str) -> None:
        """Count the result of a lookup."""
        self._cache.inc(result)

    def credential_paused(self, kind: str, until: float) -> None:
        """Record until when a credential is paused."""
        self._paused.labels(kind).set(until)

    def credential_fetched(self, kind: str, outcome: str) -> None:
        """Count a login."""
        self._fetches.labels(kind, outcome).inc()

    def signature_checked(self, registry: str, result: str) -> None:
        """Count a verification of the signatures of one image."""
        self.signatures.checked(registry, result)

    def signing_keys_changed(self, registry: str, states: Mapping[str, int], missing: int) -> None:
        """Record how many keys of a registry count, and how many do not."""
        self.signatures.keys_changed(registry, states, missing)

    def signing_key_lapses(self, registry: str, key: str, not_after: float) -> None:
        """Record the time from which a key does not count."""
        self.signatures.key_lapses(registry, key, not_after)

    def policy_loaded(self, version: str, at: float) -> None:
        """Record the policy in force."""
        if self._policy_version:
            self._policy_info.remove(self._policy_version)
        self._policy_version = version
        self._policy_info.labels(version).set(1)
        self._policy_at.set(at)
        self._policy_ok.set(1)

    def policy_rejected(self) -> None:
        """Count a changed policy that cannot be used."""
        self._policy_rejected.inc()
        self._policy_ok.set(0)

    def exemptions_expiring(self, soon: int, ended: int) -> None:
        """Record how many exemptions end soon or have ended."""
        self._exemptions.labels("soon").set(soon)
        self._exemptions.labels("ended").set(ended)

    def certificate_loaded(self, not_after: float) -> None:
        """Record the expiry of the serving certificate, in epoch seconds."""
        self._certificate_end.labels("serving").set(not_after)
        self._certificate_loads.labels("ok").inc()

    def ca_file_loaded(self) -> None:
        """Count new content of a CA file that is in use."""
        self._certificate_loads.labels("ok").inc()

    def ca_file_rejected(self) -> None:
        """Count new content of a CA file that cannot be used."""
        self._certificate_loads.labels("failed").inc()

    def ca_loaded(self, not_after: float) -> None:
        """Record the expiry of the CA of a managed certificate."""
        self._certificate_end.labels("authority").set(not_after)

    def certificate_rejected(self) -> None:
        """Count a certificate that cannot be used."""
        self._certificate_loads.labels("failed").inc()

    def connection_aborted(self, stage: str) -> None:
        """Count a connection that the server closed: ``handshake``, ``request``, ``idle`` or ``full``."""
        self._aborted.labels(stage).inc()

    def log_dropped(self, size: int) -> None:
        """Count bytes of log that were dropped."""
        self._dropped_log.inc(size)

    def event_ended(self, outcome: str) -> None:
        """Count an Event."""
        self._events.labels(outcome).inc()

    def snapshot_round_ended(self, result: str) -> None:
        """Count a round of the snapshot."""
        self._snapshot_rounds.labels(result).inc()

    def snapshot_rejected(self, reason: str) -> None:
        """Count a stored snapshot that was ignored."""
        self._snapshot_rejects.labels(reason).inc()

    def snapshot_seen(self, images: int, at: float) -> None:
        """Record the number of stored images and when it was read."""
        self._snapshot_images.set(images)
        self._snapshot_at.set(at)
