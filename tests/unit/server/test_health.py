"""The health report of the probes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.support.builders import HOST, NOW, policy, registry
from tests.support.fakes import FakeCertificate
from webhook.errors import Problem
from webhook.policy.model import Policy
from webhook.policy.reloading import PolicyFile
from webhook.registries import Evidence, Registry, RegistryTable, SignatureSettings, SigningKey
from webhook.server.health import Health, RegistryStatus, Report

DAY = 86400.0


@dataclass
class FakePolicyFile(PolicyFile):
    current: Policy = field(default_factory=policy)
    problems: Sequence[Problem] = ()


@dataclass
class FakeTrust:
    """Every registry has one status; 3 trusted and 1 refused image are cached."""

    registry: RegistryStatus = field(default_factory=RegistryStatus)
    cache_sizes: tuple[int, int, int] = (3, 1, 2)

    def status(self, registry: Registry) -> RegistryStatus:
        del registry
        return self.registry


def report(
    certificate: FakeCertificate | None = None, file: FakePolicyFile | None = None, **status: Any
) -> Report:
    """Return the report of fakes; ``status`` is that of every registry."""
    trust = FakeTrust(RegistryStatus(**status))
    health = Health(certificate or FakeCertificate(), file or FakePolicyFile(), trust, clock=lambda: NOW)
    return health.ready(verbose=True)


def test_healthy_replica_is_ready() -> None:
    """The whole report."""
    assert report() == Report(
        True,
        (
            "[+] certificate: valid until 2027-02-14T08:00:00Z (30 days)",
            "[+] policy: v1, mode enforce",
            f"[+] swr {HOST}: has not answered yet",
            "[+] credential token: in use",
            "[+] cache: 3 trusted, 1 refused, 2 recalled",
        ),
    )


@pytest.mark.parametrize(
    ("left", "expected_ready", "expected_line"),
    [
        (365 * DAY, True, "[+] certificate: valid until 2028-01-15T08:00:00Z (365 days)"),
        (3 * DAY, True, "[+] certificate: valid until 2027-01-18T08:00:00Z (3 days)"),
        (DAY, True, "[+] certificate: valid until 2027-01-16T08:00:00Z (24.0 hours)"),
        (1.0, True, "[+] certificate: valid until 2027-01-15T08:00:01Z (0.0 hours)"),
        (0.0, False, "[-] certificate: expired at 2027-01-15T08:00:00Z"),
        (-DAY, False, "[-] certificate: expired at 2027-01-14T08:00:00Z"),
        (-NOW, False, "[-] certificate: none yet"),
    ],
)
def test_only_expired_certificate_makes_replica_unready(
    left: float, expected_ready: bool, expected_line: str
) -> None:
    """Fault E12: the report has the date; ``355414.3 days left`` was unreadable.

    No client accepts a replica with an expired certificate; another replica may have a newer one.
    """
    found = report(FakeCertificate(not_after=NOW + left))
    assert (found.ok, found.lines[0]) == (expected_ready, expected_line)


def test_unusable_files_are_reported_and_replica_stays_ready() -> None:
    """The last valid pair and policy stay in use."""
    found = report(
        FakeCertificate(problem="the key does not match the certificate"),
        FakePolicyFile(problems=(Problem("mode", "must be enforce, warn or audit"), Problem("", "is empty"))),
    )
    assert found == Report(
        True,
        (
            "[+] certificate: valid until 2027-02-14T08:00:00Z (30 days)",
            "[!] certificate: the key does not match the certificate",
            "[+] policy: v1, mode enforce",
            "[!] policy file: mode: must be enforce, warn or audit",
            "[!] policy file: is empty",
            f"[+] swr {HOST}: has not answered yet",
            "[+] credential token: in use",
            "[+] cache: 3 trusted, 1 refused, 2 recalled",
        ),
    )


def test_swr_outage_is_reported_and_replica_stays_ready() -> None:
    """An unready replica could not serve its cache of trusted images while SWR is down."""
    found = report(breaker_open=True)
    assert found.ok
    assert found.lines[2] == f"[!] swr {HOST}: has not answered yet, circuit breaker open after failures"


def test_blocked_account_is_shown_until_the_pause_is_over() -> None:
    """Fault D6: the probe shows the remaining time; the replica stays ready."""
    found = report(blocked_for=1800.0)
    line = f"[!] swr {HOST}: has not answered yet, SWR has blocked the account: no calls for 1800 s"
    assert (found.ok, found.lines[2]) == (True, line)


def test_use_of_tag_lists_is_shown() -> None:
    """Fault D5: it needs another permission, and larger answers."""
    line = f"[+] swr {HOST}: has not answered yet, tag lists are used: it does not offer the call for one tag"
    assert report(uses_tag_list=True).lines[2] == line


def test_time_of_last_swr_answer_is_reported() -> None:
    """In seconds."""
    assert report(answered_at=NOW - 42).lines[2] == f"[+] swr {HOST}: last answered 42 s ago"


def test_paused_credential_is_shown_and_leaves_the_replica_ready() -> None:
    """Stale records are served in the meantime; the other replicas have the same credential."""
    found = report(credential_paused_for=412.0)
    line = "[!] credential token: paused for 412 s more after a failed authentication"
    assert (found.ok, found.lines[3]) == (True, line)


def test_unusable_ca_file_is_reported_and_replica_stays_ready() -> None:
    """Fault D2: the replica stays ready with the last valid one."""
    using = policy(registries=RegistryTable.of([registry(ca_file="/etc/ca.pem")]))
    found = report(file=FakePolicyFile(using), ca_file_problem="no certificate in PEM")
    assert found.ok
    assert "[!] caFile /etc/ca.pem: no certificate in PEM; the last good one stays" in found.lines


def signed(*keys: SigningKey, **values: Any) -> Registry:
    """Return a registry whose images must be signed."""
    return registry(evidence=Evidence.SIGNATURE, signatures=SignatureSettings(keys), **values)


@pytest.mark.parametrize(
    ("status", "swr", "registry_api"),
    [
        ({"registry_answered_at": NOW - 7}, "[+] {}", "[+] {}: last answered 7 s ago"),
        (
            {"registry_answered_at": NOW - 89, "registry_failure": "the registry", "breaker_open": True},
            "[!] {}, circuit breaker open after failures",
            "[!] {}: last answered 89 s ago, the last call of the registry failed",
        ),
        (
            {"registry_answered_at": NOW - 9, "registry_failure": "the token service"},
            "[+] {}",
            "[!] {}: last answered 9 s ago, the last call of the token service failed",
        ),
        (
            {"login_paused_for": 412.0, "registry_failure": "the token service"},
            "[+] {}",
            "[!] {}: has not answered yet, login paused for 412 s",
        ),
    ],
    ids=["works", "only the registry API fails", "its token service fails", "login refused"],
)
def test_registry_api_has_a_line_of_its_own(status: dict[str, Any], swr: str, registry_api: str) -> None:
    """The circuit breaker is for both APIs of a registry, so that it does not show which of them fails."""
    file = FakePolicyFile(policy(registries=RegistryTable.of([signed()])))
    found = report(file=file, **status)
    assert found.ok
    assert found.lines[2:4] == (
        swr.format(f"swr {HOST}: has not answered yet"),
        registry_api.format(f"registry API {HOST}"),
    )


def test_registries_of_one_host_are_told_apart() -> None:
    """A rollout by organizations has several."""
    lapsed = SigningKey("old", "/keys/old.pub", problem="lapsed on 2027-01-14")
    table = RegistryTable.of([signed(lapsed, organizations=frozenset({"shop", "base"})), registry()])
    assert report(file=FakePolicyFile(policy(registries=table))).lines[2:6] == (
        f"[+] swr {HOST} (base, shop): has not answered yet",
        f"[+] registry API {HOST} (base, shop): has not answered yet",
        f"[!] signing key old of {HOST} (base, shop): does not count: lapsed on 2027-01-14",
        f"[+] swr {HOST}: has not answered yet",
    )
