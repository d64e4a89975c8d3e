"""The audit in the cluster: rounds of ``webhook.audit``, and what is made of each.

The composition root of ``swr-trust rescan``. One round at a time; nothing that goes wrong in one ends the
process, as the next may go well.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from webhook import __version__
from webhook.audit.diff import FindingDiff
from webhook.audit.report import AuditReport, FindingRow, NamespaceRow
from webhook.audit.scanning import Audit, with_audit_limits
from webhook.audit.schedule import Schedule
from webhook.cluster.client import KubernetesApi, connect
from webhook.cluster.pods import PodReader
from webhook.cluster.reports import PolicyReports
from webhook.cluster.running import RunningEvents
from webhook.deadlines import spawn
from webhook.errors import ClusterError
from webhook.policy.model import Policy
from webhook.policy.reloading import INTERVAL, PolicyFile
from webhook.server.engine import Engine
from webhook.server.status import StatusServer
from webhook.telemetry.audit_metrics import AuditMetrics, NamespaceFigures, RoundFigures
from webhook.telemetry.logs import SUMMARY_INTERVAL, Logging
from webhook.telemetry.metrics import CONTENT_TYPE, Metrics

logger = logging.getLogger(__name__)

CALLS_PER_SECOND: Final = 10.0
"""Of a round, at most: 2,000 images take three minutes and leave SWR to the webhook."""

MIN_ROUND_GAP: Final = 10.0
"""Seconds after a change of the policy, or after another round, before the next round begins."""

STUCK_SECONDS: Final = 1800.0
"""Seconds without any progress after which the process calls itself dead. A batch of lookups with all its
patience takes eleven minutes, a page of Pods four."""

MAX_LOGGED: Final = 20


@dataclass(frozen=True, slots=True)
class RescanOptions:
    """What ``swr-trust rescan`` was told; ``interval`` is in seconds, an empty ``host`` is every address."""

    config: str
    interval: float
    excluded: tuple[str, ...] = ()
    kubeconfig: str | None = None
    context: str | None = None
    reports: bool = False
    report_owner: str = ""
    events: bool = False
    host: str = ""
    port: int = 8080


def with_background_limits(policy: Policy) -> Policy:
    """Return the policy with lookups as rounds make them; what it decides is the same.

    No earlier answer stands in for SWR: a round that could not ask is waited for, and then partial.
    """
    policy = with_audit_limits(policy)
    calls = min(policy.lookup.calls_per_second, CALLS_PER_SECOND)
    return replace(
        policy,
        lookup=replace(policy.lookup, calls_per_second=calls),
        cache=replace(policy.cache, stale_if_error=0.0),
    )


class Rescan:
    """Audits the cluster again and again."""

    def __init__(self, options: RescanOptions, logs: Logging, clock: Callable[[], float] = time.time) -> None:
        """Make everything.

        Raises:
            ConfigError: the policy cannot be used.
            ClusterError: there is no access to a cluster.
            OSError: the port cannot be listened on.
        """
        self._options = options
        self._logs = logs
        self._clock = clock
        self._shared = Metrics(__version__)
        self.metrics = AuditMetrics(__version__, options.interval, self._shared)
        self._policy = PolicyFile(options.config, self._shared)
        self._engine = Engine(with_background_limits(self._policy.current), self._shared, os.environ)
        self._policy.on_change(lambda policy: self._engine.follow(with_background_limits(policy)))
        self._api: KubernetesApi = connect(options.kubeconfig, options.context)
        self._pods = PodReader(self._api)
        instance = os.environ.get("POD_NAME") or socket.gethostname()
        self._events = RunningEvents(self._api, instance, self._shared) if options.events else None
        self._reports = (
            PolicyReports(self._api, options.report_owner, self.metrics) if options.reports else None
        )
        self._diff = FindingDiff()
        self._schedule = Schedule(options.interval)
        self._stop = threading.Event()
        self._wake = threading.Event()
        self._beat = time.monotonic()
        self._last = "no round has ended yet"
        pages = {"/healthz": self._healthz, "/readyz": self._readyz, "/metrics": self._metrics}
        self.status = StatusServer(options.host, options.port, pages)

    def run(self) -> None:
        """Audit until the process is told to stop; a round under way is given up then."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda _number, _frame: self._stop.set())
        self.status.start()
        spawn(self._watch_policy, "policy")
        spawn(self._summarise_logs, "logs")
        if self._events is not None:
            events = self._events
            spawn(lambda: events.run(self._stop), "events")
        spawn(self._audit_again_and_again, "audit")
        logger.info(
            "auditing",
            extra={
                "version": __version__,
                "port": self.status.port,
                "interval": self._options.interval,
                "policy": self._policy.current.version,
            },
        )
        self._stop.wait()
        self.status.stop()
        logger.info("stopped")

    def round(self) -> bool:
        """Make one round; return whether it saw everything. Raises nothing."""
        try:
            return self._round()
        except Exception:
            logger.exception("a round failed")
            self.metrics.round_failed()
            self._last = "the last round failed"
            return False

    def _round(self) -> bool:
        policy = with_background_limits(self._policy.current)
        report = Audit(policy, self._engine, self._options.excluded, self, self._clock).run(self._pods)
        self.metrics.round_ended(_figures(report))
        news = self._diff.update(report)
        self.metrics.newly_refused(len(news))
        if self._events is not None:
            self._events.record(news)
        if news:
            # One line for all: of lines that are alike, only the first one in ten seconds is written.
            logger.warning(
                "running images would be refused now",
                extra={"images": [_said(row) for row in news[:MAX_LOGGED]], "count": len(news)},
            )
        published = self._publish(report)
        self._say(report)
        return published and not report.is_partial

    def _publish(self, report: AuditReport) -> bool:
        if self._reports is None or (report.is_partial and not report.pods):
            return True
        try:
            self._reports.publish(report)
        except ClusterError as error:
            self.metrics.report_ended("failed")
            logger.warning("policy reports are not up to date", extra={"detail": str(error)})
            return False
        return True

    def _say(self, report: AuditReport) -> None:
        partial = " (PARTIAL)" if report.is_partial else ""
        self._last = f"{report.verdict}{partial}"
        logger.log(
            logging.WARNING if report.is_partial else logging.INFO,
            "a round ended",
            extra={
                "verdict": self._last,
                "partial": report.is_partial,
                "seconds": round(report.seconds, 1),
                "pods": report.pods,
                "refused": report.refused,
                "images": report.images_asked,
                "gaps": report.gaps[:MAX_LOGGED],
                "notes": report.notes[:MAX_LOGGED],
            },
        )

    def _audit_again_and_again(self) -> None:
        while not self._stop.is_set():
            self._wake.clear()
            self._beat = time.monotonic()
            pause = self._schedule.next_pause(complete=self.round())
            self._stop.wait(min(pause, MIN_ROUND_GAP))
            self._sleep_until(time.monotonic() + pause - MIN_ROUND_GAP)

    def _sleep_until(self, at: float) -> None:
        """Wait for the next round; a changed policy does not wait for the interval."""
        while not self._stop.is_set():
            self._beat = time.monotonic()
            left = at - self._beat
            if left <= 0 or self._wake.wait(min(left, 5.0)):
                return

    def _watch_policy(self) -> None:
        while not self._stop.wait(INTERVAL):
            try:
                if self._policy.check():
                    self._wake.set()
            except Exception:
                logger.exception("failed to look at the policy")

    def _summarise_logs(self) -> None:
        while not self._stop.wait(SUMMARY_INTERVAL):
            self._logs.summarise()

    def pods_judged(self, pods: int, remaining: int | None) -> None:  # noqa: ARG002 - a bar would show them
        """Implement ``AuditProgress``: that something happens is a sign of life."""
        self._beat = time.monotonic()

    def images_asked(self, images: int, pause: float) -> None:  # noqa: ARG002 - the same
        """Implement ``AuditProgress``, too."""
        self._beat = time.monotonic()

    def _healthz(self) -> tuple[int, str, bytes]:
        silent = time.monotonic() - self._beat
        if silent > STUCK_SECONDS:
            return 503, "text/plain", f"nothing has happened for {silent:.0f} s\n".encode()
        return 200, "text/plain", b"ok\n"

    def _readyz(self) -> tuple[int, str, bytes]:
        lines = [self._last, f"policy {self._policy.current.version}"]
        lines += [f"policy file: {problem}" for problem in self._policy.problems]
        return 200, "text/plain; charset=utf-8", "".join(f"{line}\n" for line in [*lines, "ok"]).encode()

    def _metrics(self) -> tuple[int, str, bytes]:
        return 200, CONTENT_TYPE, self.metrics.render()


def _said(row: FindingRow) -> dict[str, str]:
    return {
        "namespace": row.namespace,
        "workload": str(row.workload),
        "image": row.image,
        "finding": row.finding.value,
    }


def _figures(report: AuditReport) -> RoundFigures:
    return RoundFigures(
        complete=not report.is_partial,
        seconds=report.seconds,
        pods=report.pods,
        images=report.images_asked,
        other_digest=sum(row.pods for row in report.drift),
        ending_exemptions=sum(row.pods for row in report.endings),
        namespaces=tuple(_namespace_figures(row) for row in report.namespaces),
    )


def _namespace_figures(row: NamespaceRow) -> NamespaceFigures:
    pods = {
        "admitted": row.pods - row.refused,
        "refused": row.refused - row.unknown,
        "unknown": row.unknown,
    }
    return NamespaceFigures(row.name, pods, {finding.value: uses for finding, uses in row.findings.items()})
