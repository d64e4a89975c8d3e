"""The report behind the probes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.support.builders import HOST, NOW, policy, registry
from webhook.errors import Problem
from webhook.policy.model import Policy
from webhook.registries import RegistryTable
from webhook.server.health import Health, Report
from webhook.telemetry.metrics import Metrics

DAY = 86400.0


@dataclass
class FakeCertificate:
    not_after: float = NOW + 30 * DAY
    problem: str = ""
    requires_client: bool = False


@dataclass
class FakePolicyFile:
    current: Policy = field(default_factory=policy)
    problems: tuple[Problem, ...] = ()


class FakeConnection:
    """A TLS connection, as far as the certificate of its client goes."""

    def __init__(self, certificate: dict[str, Any]) -> None:
        self._certificate = certificate

    def getpeercert(self) -> dict[str, Any]:
        return self._certificate


def health(
    certificate: FakeCertificate | None = None,
    file: FakePolicyFile | None = None,
    metrics: Metrics | None = None,
) -> Health:
    """Return a health of fakes, with 3 trusted and 1 refused image in memory."""
    parts: Any = (certificate or FakeCertificate(), file or FakePolicyFile())
    return Health(*parts, lambda: (3, 1, 2), metrics or Metrics("test"), clock=lambda: NOW)


def test_a_healthy_replica_is_ready() -> None:
    """The whole report."""
    assert health().report() == Report(
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
def test_only_an_ended_certificate_makes_a_replica_unready(
    left: float, expected_ready: bool, expected_line: str
) -> None:
    """Fault E12: the report names the date; ``355414.3 days left`` was unreadable.

    Nobody can reach a replica whose certificate has ended; another one may have a newer one.
    """
    report = health(FakeCertificate(not_after=NOW + left)).report()
    assert (report.ready, report.lines[0]) == (expected_ready, expected_line)


def test_what_is_wrong_on_disk_is_told_and_changes_nothing() -> None:
    """The last good pair and policy serve on."""
    report = health(
        FakeCertificate(problem="the key is not that of the certificate"),
        FakePolicyFile(problems=(Problem("mode", "must be enforce, warn or audit"), Problem("", "is empty"))),
    ).report()
    assert report == Report(
        True,
        (
            "[+] certificate: valid until 2027-02-14T08:00:00Z (30 days)",
            "[!] certificate: the key is not that of the certificate",
            "[+] policy: v1, mode enforce",
            "[!] policy file: mode: must be enforce, warn or audit",
            "[!] policy file: is empty",
            f"[+] swr {HOST}: has not answered yet",
            "[+] credential token: in use",
            "[+] cache: 3 trusted, 1 refused, 2 recalled",
        ),
    )


def test_swr_being_down_is_told_and_leaves_the_replica_ready() -> None:
    """A gate that closes because SWR is down would take its memory of trusted images away."""
    metrics = Metrics("test")
    metrics.breaker_changed(HOST, "open")
    report = health(metrics=metrics).report()
    assert report.ready
    assert report.lines[2] == f"[!] swr {HOST}: has not answered yet, left alone after failures"


def test_blocked_account_is_shown_until_the_pause_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fault D6: the probe says for how long; the replica stays ready."""
    metrics = Metrics("test")
    monkeypatch.setattr("webhook.telemetry.metrics.time.time", lambda: NOW - 42)
    metrics.account_blocked(HOST, 1842.0)
    report = health(metrics=metrics).report()
    line = f"[!] swr {HOST}: has not answered yet, SWR has blocked the account: no calls for 1800 s"
    assert (report.ready, report.lines[2]) == (True, line)
    metrics.account_blocked(HOST, 42.0)
    assert health(metrics=metrics).report().lines[2] == f"[+] swr {HOST}: has not answered yet"


def test_use_of_tag_lists_is_shown() -> None:
    """Fault D5: it needs another right, and larger answers."""
    metrics = Metrics("test")
    metrics.tag_source_changed(HOST, "list")
    line = f"[+] swr {HOST}: has not answered yet, tag lists are used: it does not offer the call for one tag"
    assert health(metrics=metrics).report().lines[2] == line
    metrics.tag_source_changed(HOST, "tag")
    assert health(metrics=metrics).report().lines[2] == f"[+] swr {HOST}: has not answered yet"


def test_the_last_answer_of_swr_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """In seconds, by the metric that operators watch."""
    metrics = Metrics("test")
    monkeypatch.setattr("webhook.telemetry.metrics.time.time", lambda: NOW - 42)
    metrics.record_call(HOST, "200", 0.1)
    assert health(metrics=metrics).report().lines[2] == f"[+] swr {HOST}: last answered 42 s ago"


@pytest.mark.parametrize(
    ("until", "expected"),
    [
        (NOW + 412, "[!] credential token: rests for 412 s more after a failed authentication"),
        (NOW - 1, "[+] credential token: in use"),
        (0.0, "[+] credential token: in use"),
    ],
)
def test_a_resting_credential_is_told_and_leaves_the_replica_ready(until: float, expected: str) -> None:
    """Earlier answers stand in meanwhile; the other replicas have the same credential."""
    metrics = Metrics("test")
    metrics.credential_paused("token", until)
    report = health(metrics=metrics).report()
    assert (report.ready, report.lines[3]) == (True, expected)


def test_gauges_are_brought_up_to_date() -> None:
    """The sizes of the cache, as they are when somebody looks."""
    metrics = Metrics("test")
    health(metrics=metrics).refresh()
    sizes = [
        metrics.registry.get_sample_value("swr_trust_cache_entries", {"kind": kind})
        for kind in ("trusted", "refused", "recalled")
    ]
    assert sizes == [3, 1, 2]


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, False),
        ({"gunicorn.socket": FakeConnection({})}, False),
        ({"gunicorn.socket": FakeConnection({"subject": ((("commonName", "kube-apiserver"),),)})}, True),
        # What a client writes into headers is no certificate.
        ({"HTTP_X_CLIENT_CERT": "kube-apiserver", "SSL_CLIENT_VERIFY": "SUCCESS"}, False),
    ],
)
def test_a_client_certificate_is_that_of_the_connection(environ: dict[str, Any], expected: bool) -> None:
    """OpenSSL has checked it against the authority by then; that there is one is what remains."""
    assert health(FakeCertificate(requires_client=True)).admits_caller(environ) is expected
    assert health().admits_caller(environ)


def test_ca_file_that_cannot_be_used_is_visible() -> None:
    """Fault D2: the replica stays ready with the last good one."""
    metrics = Metrics("test")
    using = policy(registries=RegistryTable.of([registry(ca_file="/etc/ca.pem")]))
    metrics.conditions.ca_file_rejected("/etc/ca.pem", "no certificate in PEM")
    report = health(file=FakePolicyFile(using), metrics=metrics).report()
    assert report.ready
    assert "[!] caFile /etc/ca.pem: no certificate in PEM; the last good one stays" in report.lines
    metrics.conditions.ca_file_loaded("/etc/ca.pem")
    assert not any(
        "caFile" in line for line in health(file=FakePolicyFile(using), metrics=metrics).report().lines
    )
