"""The composition root of ``swr-trust rescan``: rounds of the audit, probes and metrics.

One round runs at a time. An error in a round does not end the process, because the next one may succeed.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from dataclasses import dataclass
from typing import Final

from webhook import __version__
from webhook.app.audit_rounds import AuditRounds, with_background_limits
from webhook.app.policy_file import open_policy_file
from webhook.app.trust_service import TrustService
from webhook.audit.schedule import Schedule
from webhook.cluster.client import connect
from webhook.cluster.event_recorder import instance_name
from webhook.cluster.pods import PodReader
from webhook.cluster.reports import PolicyReports
from webhook.cluster.running import RunningEvents
from webhook.deadlines import spawn
from webhook.policy.reloading import INTERVAL
from webhook.server.app import create_app
from webhook.server.health import Report
from webhook.server.plain_http import PlainServer
from webhook.telemetry.audit_metrics import AuditMetrics
from webhook.telemetry.logs import Logging
from webhook.telemetry.metrics import Metrics

logger = logging.getLogger(__name__)

MIN_ROUND_GAP: Final = 10.0
"""Seconds between a round, or a change of the policy, and the next round."""

STUCK_SECONDS: Final = 1800.0
"""Seconds without progress after which the liveness probe fails. A batch of lookups with all its retries
takes eleven minutes, a page of Pods four."""


@dataclass(frozen=True, slots=True)
class RescanOptions:
    """The options of ``swr-trust rescan``. ``interval`` is in seconds; an empty ``host`` is every address."""

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


class AuditProcess:
    """The parts of the audit in the cluster. Implements ``Probes`` and ``AuditProgress``."""

    def __init__(self, options: RescanOptions, logs: Logging) -> None:
        """Make all parts and connect them.

        Raises:
            ConfigError: the policy cannot be used.
            ClusterError: there is no access to a cluster.
            OSError: the server cannot listen on the port.
        """
        self._interval = options.interval
        self._logs = logs
        shared = Metrics(__version__)
        self.metrics = AuditMetrics(__version__, options.interval, shared)
        self.policy = open_policy_file(options.config, shared)
        self.trust = TrustService(with_background_limits(self.policy.current), shared, os.environ)
        self.policy.on_change(lambda policy: self.trust.reconfigure(with_background_limits(policy)))
        api = connect(options.kubeconfig, options.context)
        self.events = RunningEvents(api, instance_name(os.environ), shared) if options.events else None
        self.rounds = AuditRounds(
            PodReader(api),
            self.trust.lookup,
            self.metrics,
            self,
            excluded=options.excluded,
            events=self.events,
            reports=PolicyReports(api, options.report_owner, self.metrics) if options.reports else None,
        )
        self._schedule = Schedule(options.interval)
        self._stop = threading.Event()
        self._policy_changed = threading.Event()
        self._progress_at = time.monotonic()
        app = create_app(self, self.metrics.render, shared.call_broken)
        self.server = PlainServer(options.host, options.port, app)

    def run(self) -> None:
        """Audit until SIGTERM or SIGINT; a round in progress is then abandoned."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda _number, _frame: self._stop.set())
        self.server.start()
        spawn(self._watch_policy, "policy")
        spawn(lambda: self._logs.run(self._stop), "logs")
        if (events := self.events) is not None:
            spawn(lambda: events.run(self._stop), "events")
        spawn(self._run_rounds, "audit")
        logger.info(
            "auditing",
            extra={
                "version": __version__,
                "port": self.server.server_port,
                "interval": self._interval,
                "policy": self.policy.current.version,
            },
        )
        self._stop.wait()
        self.server.stop()
        logger.info("stopped")

    def live(self) -> Report:
        """Return whether there was progress within ``STUCK_SECONDS``."""
        idle = time.monotonic() - self._progress_at
        if idle > STUCK_SECONDS:
            return Report(ok=False, lines=(f"no progress for {idle:.0f} s",))
        return Report(ok=True)

    def ready(self, *, verbose: bool) -> Report:  # noqa: ARG002 - nothing is left out
        """Return that the process can audit, and the result of the last round."""
        problems = tuple(f"policy file: {problem}" for problem in self.policy.problems)
        return Report(ok=True, lines=(self.rounds.last, f"policy {self.policy.current.version}", *problems))

    def pods_evaluated(self, pods: int, remaining: int | None) -> None:  # noqa: ARG002 - for a progress bar
        """Record progress."""
        self._progress_at = time.monotonic()

    def images_looked_up(self, images: int, pause: float) -> None:  # noqa: ARG002 - the same
        """Record progress."""
        self._progress_at = time.monotonic()

    def _run_rounds(self) -> None:
        while not self._stop.is_set():
            self._policy_changed.clear()
            self._progress_at = time.monotonic()
            pause = self._schedule.next_pause(complete=self.rounds.run(self.policy.current))
            self._stop.wait(min(pause, MIN_ROUND_GAP))
            self._wait_until(time.monotonic() + pause - MIN_ROUND_GAP)

    def _wait_until(self, at: float) -> None:
        """Wait for the next round, or until the policy changes."""
        while not self._stop.is_set():
            self._progress_at = time.monotonic()
            left = at - self._progress_at
            if left <= 0 or self._policy_changed.wait(min(left, 5.0)):
                return

    def _watch_policy(self) -> None:
        self.policy.watch(self._stop, INTERVAL, self._policy_changed.set)
