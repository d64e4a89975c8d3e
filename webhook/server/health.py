"""Reports for the probes of the webhook.

A replica is ready if its certificate and its policy can be used. An outage of SWR does not make it unready:
the cached trust of images is needed most then.
"""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from webhook.policy.reloading import PolicyFile
from webhook.registries import Registry

if TYPE_CHECKING:
    from webhook.server.tls import ServingCertificate

_DAYS_FROM: Final = 3 * 86400
"""Seconds from which the remaining validity is given in days."""


@dataclass(frozen=True, slots=True)
class Report:
    """The answer to a probe: whether it succeeds, and the lines to show."""

    ok: bool
    lines: tuple[str, ...] = ()


class Probes(Protocol):
    """The reports for the probes of the webhook, or of the audit."""

    def live(self) -> Report:
        """Return whether the process works; if not, it is restarted."""
        ...  # pragma: no cover

    def ready(self, *, verbose: bool) -> Report:
        """Return whether the process can serve; with ``verbose``, the report has lines also if it can."""
        ...  # pragma: no cover


class Snapshot(Protocol):
    """The stored trust from before this replica started, as far as the report shows it."""

    @property
    def loading_ended(self) -> bool:
        """Whether the snapshot was read, or could not be read in time."""
        ...  # pragma: no cover

    @property
    def state(self) -> str:
        """Its state, in words."""
        ...  # pragma: no cover

    @property
    def problem(self) -> str:
        """The current problem with it, empty if there is none."""
        ...  # pragma: no cover


@dataclass(frozen=True, slots=True)
class RegistryStatus:
    """The state of one registry. Times are in seconds; ``answered_at`` is since the epoch."""

    answered_at: float | None = None
    uses_tag_list: bool = False
    breaker_open: bool = False
    blocked_for: float = 0.0
    ca_file_problem: str = ""
    credential_paused_for: float = 0.0
    registry_answered_at: float | None = None
    """When the registry API last answered, from which signatures are read."""
    registry_failure: str = ""
    """Which service failed at its last call: the registry, or its token service; empty if none."""
    login_paused_for: float = 0.0


class TrustStatus(Protocol):
    """The state of the lookups in SWR; ``webhook.app.trust_service.TrustService`` knows it."""

    def status(self, registry: Registry) -> RegistryStatus:
        """Return the state of a registry."""
        ...  # pragma: no cover

    @property
    def cache_sizes(self) -> tuple[int, int, int]:
        """The numbers of trusted, refused and imported records in the cache."""
        ...  # pragma: no cover


@dataclass(frozen=True, slots=True, repr=False)
class Health:
    """The health of the webhook, from its parts."""

    certificate: ServingCertificate
    policy: PolicyFile
    trust: TrustStatus
    snapshot: Snapshot | None = None
    clock: Callable[[], float] = time.time
    """In epoch seconds."""

    def live(self) -> Report:
        """Return that the process works: it answers."""
        return Report(ok=True)

    def ready(self, *, verbose: bool) -> Report:
        """Return whether the certificate is valid and the snapshot was read."""
        now = self.clock()
        is_valid = self.certificate.not_after > now
        loading_ended = self.snapshot is None or self.snapshot.loading_ended
        ok = is_valid and loading_ended
        return Report(ok, tuple(self._lines(now, is_valid=is_valid)) if verbose or not ok else ())

    def _lines(self, now: float, *, is_valid: bool) -> Iterator[str]:
        mark = "[+]" if is_valid else "[-]"
        yield f"{mark} certificate: {_describe_validity(self.certificate.not_after, now)}"
        if self.certificate.problem:
            yield f"[!] certificate: {self.certificate.problem}"
        policy = self.policy.current
        yield f"[+] policy: {policy.version}, mode {policy.mode}"
        for problem in self.policy.problems:
            yield f"[!] policy file: {problem}"
        statuses = [(registry, self.trust.status(registry)) for registry in policy.registries.registries]
        for registry, status in statuses:
            if not registry.is_enterprise:
                yield _describe_registry(registry.label, status, now)
            if registry.needs_signature:
                yield from _describe_signatures(registry, status, now)
            if status.ca_file_problem:
                yield f"[!] caFile {registry.ca_file}: {status.ca_file_problem}; the last good one stays"
        yield from _credentials(statuses)
        trusted, refused, imported = self.trust.cache_sizes
        yield f"[+] cache: {trusted} trusted, {refused} refused, {imported} recalled"
        if self.snapshot is not None:
            mark = "[-]" if not self.snapshot.loading_ended else "[!]" if self.snapshot.problem else "[+]"
            yield f"{mark} snapshot: {self.snapshot.state}"


def _describe_registry(name: str, status: RegistryStatus, now: float) -> str:
    text = _describe_answer(status.answered_at, now)
    if status.uses_tag_list:
        text += ", tag lists are used: it does not offer the call for one tag"
    if status.blocked_for > 0:
        return f"[!] swr {name}: {text}, SWR has blocked the account: no calls for {status.blocked_for:.0f} s"
    if status.breaker_open:
        return f"[!] swr {name}: {text}, circuit breaker open after failures"
    return f"[+] swr {name}: {text}"


def _describe_signatures(registry: Registry, status: RegistryStatus, now: float) -> Iterator[str]:
    text = f"registry API {registry.label}: {_describe_answer(status.registry_answered_at, now)}"
    if status.login_paused_for > 0:
        yield f"[!] {text}, login paused for {status.login_paused_for:.0f} s"
    elif registry.is_enterprise and status.breaker_open:
        yield f"[!] {text}, circuit breaker open after failures"
    elif status.registry_failure:
        yield f"[!] {text}, the last call of {status.registry_failure} failed"
    else:
        yield f"[+] {text}"
    for key in registry.signing_keys:
        if key.problem:
            yield f"[!] signing key {key.name} of {registry.label}: does not count: {key.problem}"


def _describe_answer(answered_at: float | None, now: float) -> str:
    if answered_at is None:
        return "has not answered yet"
    return f"last answered {max(0.0, now - answered_at):.0f} s ago"


def _credentials(statuses: Sequence[tuple[Registry, RegistryStatus]]) -> Iterator[str]:
    paused_for: dict[str, float] = {}
    for registry, status in statuses:
        if registry.is_enterprise:
            continue
        kind = registry.credentials.kind
        paused_for[kind] = max(paused_for.get(kind, 0.0), status.credential_paused_for)
    for name, seconds in sorted(paused_for.items()):
        if seconds > 0:
            yield f"[!] credential {name}: paused for {seconds:.0f} s more after a failed authentication"
        else:
            yield f"[+] credential {name}: in use"


def _describe_validity(not_after: float, now: float) -> str:
    """Return until when a certificate is valid. Times are in epoch seconds; 0.0 means no certificate."""
    if not not_after:
        return "none yet"
    end = dt.datetime.fromtimestamp(not_after, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    left = not_after - now
    if left <= 0:
        return f"expired at {end}"
    rest = f"{left / 86400:.0f} days" if left >= _DAYS_FROM else f"{left / 3600:.1f} hours"
    return f"valid until {end} ({rest})"
