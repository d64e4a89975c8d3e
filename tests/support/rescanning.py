"""The audit in the cluster, run round by round in the test's own process."""

from __future__ import annotations

import io
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self
from unittest.mock import patch

from tests.emulator.server import Emulator
from tests.support.fakes import FakeClock
from tests.support.serving import POLICY
from webhook.app.audit_process import AuditProcess, RescanOptions
from webhook.cluster.event_recorder import SERIES_INTERVAL
from webhook.telemetry.logs import LineLog, Logging, RepeatFilter

OWNER: Final = "grant-gate"
"""The ClusterRole that ``ControlPlane.grant`` makes."""

OPEN: Final = "reports.openreports.io"
WG: Final = "policyreports.wgpolicyk8s.io"
GROUP_OF: Final = {"openreports.io": (OPEN,), "wgpolicyk8s.io": (WG,)}


def rights(owner: str = OWNER) -> list[dict[str, Any]]:
    """Return every right that the audit needs. One test removes each in turn, another finds them in the
    chart.
    """
    report_verbs = ["list", "create", "patch", "delete"]
    return [
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]},
        {"apiGroups": ["apps"], "resources": ["replicasets"], "verbs": ["list"]},
        {"apiGroups": ["batch"], "resources": ["jobs"], "verbs": ["list"]},
        {"apiGroups": ["events.k8s.io"], "resources": ["events"], "verbs": ["create", "patch"]},
        {"apiGroups": ["openreports.io"], "resources": ["reports"], "verbs": report_verbs},
        {"apiGroups": ["wgpolicyk8s.io"], "resources": ["policyreports"], "verbs": report_verbs},
        {
            "apiGroups": ["rbac.authorization.k8s.io"],
            "resources": ["clusterroles"],
            "resourceNames": [owner],
            "verbs": ["get"],
        },
    ]


RIGHTS: Final = rights()


@contextmanager
def marked(emulator: Emulator, image: str, *, trusted: bool) -> Iterator[None]:
    """Let SWR report ``organization/repository:tag`` as trusted, or not, inside the context."""
    emulator.state.set_tag(image, is_trusted=trusted)
    try:
        yield
    finally:
        emulator.state.set_tag(image, is_trusted=not trusted)


class _Kept(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(f"{record.getMessage()} {vars(record)}")


ROUNDS = 10
"""Rounds of at most ten Events."""


class Rescanner:
    """An ``AuditProcess`` whose rounds are started by the test."""

    def __init__(self, folder: Path, endpoint: str, kubeconfig: Path, **options: Any) -> None:
        """Query SWR at ``endpoint``; keep the policy in ``folder``."""
        token = folder / "token"
        token.write_text("emulator-token\n", encoding="utf-8")
        self.config = folder / "policy.yaml"
        policy = POLICY.format(endpoint=endpoint, token=token) + "lookup: {callsPerSecond: 1000}\n"
        self.config.write_text(policy, encoding="utf-8")
        chosen = {"reports": True, "report_owner": OWNER, "events": True, "port": 0, "host": "127.0.0.1"}
        self._kept = _Kept()
        logger = logging.getLogger("webhook")
        logger.addHandler(self._kept)
        logger.setLevel(logging.INFO)
        logs = Logging(LineLog(io.StringIO(), "json", logging.ERROR), RepeatFilter())
        # The rate of rounds is tested elsewhere. Here it would be most of the running time.
        with patch("webhook.app.audit_rounds.CALLS_PER_SECOND", 1000.0):
            self.process = AuditProcess(
                RescanOptions(str(self.config), 3600.0, kubeconfig=str(kubeconfig), **{**chosen, **options}),
                logs,
            )

    def round(self) -> bool:
        """Run one round; return whether it was complete and all reports were written."""
        return self.process.rounds.run(self.process.policy.current)

    def forget(self) -> None:
        """Drop the cached answers of SWR, as if an hour had passed between two rounds."""
        self.process.trust.lookup.retain(())

    def forget_fresh(self) -> None:
        """Make the cached answers of SWR stale: too old to be fresh, and young enough to be served stale."""
        lookup = self.process.trust.lookup
        now = time.time()
        lookup._clock = lookup._cache._clock = lambda: now + 3600.0

    def write_events(self) -> None:
        """Write the queued Events, also those about Pods of other tests."""
        assert self.process.events is not None
        for _ in range(ROUNDS):
            self.process.events.flush()

    def repeat_events(self) -> None:
        """Write the last Events again, a minute later."""
        writer = self.process.events
        assert writer is not None
        for key in list(writer._series):
            writer.enqueue(key)
        written = max((series.written for series in writer._series.values()), default=0.0)
        writer._clock = FakeClock(written + SERIES_INTERVAL)
        self.write_events()

    def metric(self, name: str, **labels: str) -> float:
        """Return the sum of a metric's samples that have these labels, 0.0 if there is none."""
        return sum(
            float(line.rpartition(" ")[2])
            for line in self.process.metrics.render().decode().splitlines()
            if line.startswith((f"{name} ", f"{name}{{"))
            and all(f'{key}="{value}"' in line for key, value in labels.items())
        )

    def said(self) -> str:
        """Return all log lines as text."""
        return "\n".join(self._kept.lines)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        logger = logging.getLogger("webhook")
        logger.removeHandler(self._kept)
        logger.setLevel(logging.NOTSET)
        self.process.server.stop()
