"""Whether this replica can serve: its certificate and its configuration, never SWR.

A replica that went unready because SWR is down would take the gate away from the cluster exactly
when its memory of trusted images is needed.
"""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from webhook.policy.reloading import PolicyFile
from webhook.telemetry.metrics import Metrics

_DAYS_FROM: Final = 3 * 86400
"""Seconds from which on the rest of a validity is told in days."""


class Certificate(Protocol):
    """The serving certificate, as far as health is concerned."""

    not_after: float
    """When it ends, in epoch seconds."""

    problem: str
    """Why the files on disk are not the ones in use, empty if they are."""

    requires_client: bool
    """Whether ``/validate`` is for callers with a client certificate only."""


class Snapshot(Protocol):
    """What was trusted before this replica started, as far as health is concerned."""

    @property
    def settled(self) -> bool:
        """Whether it was read, or waited for long enough."""
        ...  # pragma: no cover

    @property
    def state(self) -> str:
        """How it fares, in words."""
        ...  # pragma: no cover

    @property
    def problem(self) -> str:
        """What is wrong with it, empty if nothing is."""
        ...  # pragma: no cover


@dataclass(frozen=True, slots=True)
class Report:
    """Whether to be called ready, and one line per check."""

    ready: bool
    lines: tuple[str, ...]


class Health:
    """Answers the probes."""

    def __init__(
        self,
        certificate: Certificate,
        policy: PolicyFile,
        sizes: Callable[[], tuple[int, int, int]],
        metrics: Metrics,
        snapshot: Snapshot | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Look at the parts; ``sizes`` are those of the cache: trusted, refused, recalled."""
        self._certificate = certificate
        self._policy = policy
        self._sizes = sizes
        self._metrics = metrics
        self._snapshot = snapshot
        self._clock = clock

    def report(self) -> Report:
        """Return the state of readiness."""
        now = self._clock()
        certificate_good = self._certificate.not_after > now
        mark = "[+]" if certificate_good else "[-]"
        lines = [f"{mark} certificate: {_describe_validity(self._certificate.not_after, now)}"]
        if self._certificate.problem:
            lines.append(f"[!] certificate: {self._certificate.problem}")
        lines.append(f"[+] policy: {self._policy.current.version}, mode {self._policy.current.mode}")
        lines += [f"[!] policy file: {problem}" for problem in self._policy.problems]
        lines += self._swr()
        lines += self._credentials()
        trusted, refused, recalled = self._sizes()
        lines.append(f"[+] cache: {trusted} trusted, {refused} refused, {recalled} recalled")
        settled = True
        if self._snapshot is not None:
            settled = self._snapshot.settled
            mark = "[-]" if not settled else "[!]" if self._snapshot.problem else "[+]"
            lines.append(f"{mark} snapshot: {self._snapshot.state}")
        return Report(certificate_good and settled, tuple(lines))

    def refresh(self) -> None:
        """Bring gauges up to date before they are read."""
        for kind, size in zip(("trusted", "refused", "recalled"), self._sizes(), strict=True):
            self._metrics.cache_entries.labels(kind).set(size)

    def admits_caller(self, environ: Mapping[str, Any]) -> bool:
        """Whether the caller of ``/validate`` has shown the certificate that is asked for, if any."""
        if not self._certificate.requires_client:
            return True
        connection = environ.get("gunicorn.socket")
        return connection is not None and bool(connection.getpeercert())

    def _swr(self) -> Iterator[str]:
        for registry in self._policy.current.registries.registries:
            answered = self._metrics.answered_at.get(registry.name)
            if answered is None:
                text = "has not answered yet"
            else:
                text = f"last answered {max(0.0, self._clock() - answered):.0f} s ago"
            if self._metrics.registries.uses_tag_list.get(registry.name, False):
                text += ", tag lists are used: it does not offer the call for one tag"
            blocked = self._metrics.registries.blocked_until.get(registry.name, 0.0) - self._clock()
            if blocked > 0:
                text += f", SWR has blocked the account: no calls for {blocked:.0f} s"
                yield f"[!] swr {registry.name}: {text}"
            elif self._metrics.registries.breaker_open.get(registry.name, False):
                yield f"[!] swr {registry.name}: {text}, left alone after failures"
            else:
                yield f"[+] swr {registry.name}: {text}"
            problem = self._metrics.conditions.ca_file_problems.get(registry.ca_file or "")
            if problem:
                yield f"[!] caFile {registry.ca_file}: {problem}; the last good one stays"

    def _credentials(self) -> Iterator[str]:
        registries = self._policy.current.registries.registries
        for kind in sorted({registry.credentials.kind for registry in registries}):
            left = self._metrics.paused_until.get(kind, 0.0) - self._clock()
            if left > 0:
                yield f"[!] credential {kind}: rests for {left:.0f} s more after a failed authentication"
            else:
                yield f"[+] credential {kind}: in use"


def _describe_validity(not_after: float, now: float) -> str:
    """Return until when a certificate is valid; both moments are in epoch seconds, 0.0 is no certificate."""
    if not not_after:
        return "none yet"
    end = dt.datetime.fromtimestamp(not_after, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    left = not_after - now
    if left <= 0:
        return f"expired at {end}"
    rest = f"{left / 86400:.0f} days" if left >= _DAYS_FROM else f"{left / 3600:.1f} hours"
    return f"valid until {end} ({rest})"
