"""First calls to registries: which are called, when, and what a failure does."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import pytest

from tests.support.builders import enterprise_registry, policy, registry
from tests.support.process_stats import wait_until
from webhook.app.preconnecting import MAX_CONCURRENT, Preconnector, RegistryClient
from webhook.deadlines import Deadline
from webhook.errors import RegistryUnavailable, TrustLookupError
from webhook.registries import Registry, RegistryTable, SignatureSettings
from webhook.trust.records import CallLimiter


@dataclass
class FakeClient:
    """Implements ``RegistryClient``, and records its calls."""

    name: str
    log: list[str] = field(default_factory=list)
    failure: TrustLookupError | None = None

    def preconnect(self, deadline: Deadline, call_limiter: CallLimiter) -> None:
        del call_limiter
        self.log.append(f"{self.name} for {deadline.remaining():.0f} s")
        if self.failure is not None:
            raise self.failure


class Crowd:
    """Implements ``RegistryClient``: answers no call before ``answer`` is set."""

    def __init__(self) -> None:
        self.answer = threading.Event()
        self.arrived = self.largest = 0
        self._waiting = 0

    def preconnect(self, deadline: Deadline, call_limiter: CallLimiter) -> None:
        del deadline, call_limiter
        self.arrived += 1
        self._waiting += 1
        self.largest = max(self.largest, self._waiting)
        assert self.answer.wait(30)
        self._waiting -= 1


class Calls:
    """A preconnector whose calls are recorded."""

    def __init__(self, failure: TrustLookupError | None = None) -> None:
        self._failure = failure
        self._log: list[str] = []
        self._expected = 0
        self._preconnector = Preconnector(self._clients)

    def _clients(self, registry: Registry) -> Sequence[RegistryClient]:
        services = ["tags", "manifests"] if registry.needs_signature else ["tags"]
        self._expected += len(services)
        return [FakeClient(f"{registry.name} {service}", self._log, self._failure) for service in services]

    def of(self, *registries: Registry) -> list[str]:
        """Return the calls for a policy with these registries."""
        self._log.clear()
        self._expected = 0
        self._preconnector.connect(policy(registries=RegistryTable.of(registries)))
        assert wait_until(lambda: len(self._log) == self._expected)
        return sorted(self._log)


NORTH = registry()
SOUTH = registry(hosts=("swr.cn-south-1.myhuaweicloud.com",), region="cn-south-1")
SIGNED = enterprise_registry(signatures=SignatureSettings(()))


def test_each_service_of_each_registry_is_called_once() -> None:
    """Tag details and signatures are two services with two connections."""
    calls = Calls()
    assert calls.of(NORTH, SIGNED) == [
        f"{SIGNED.name} manifests for 3 s",
        f"{SIGNED.name} tags for 3 s",
        f"{NORTH.name} tags for 3 s",
    ]


def test_changed_policy_calls_new_registries_only() -> None:
    """Every call counts in what SWR allows, and policies are changed while reviews arrive."""
    calls = Calls()
    calls.of(NORTH)
    assert calls.of(NORTH) == []
    assert calls.of(NORTH, SOUTH) == [f"{SOUTH.name} tags for 3 s"]
    changed = replace(SOUTH, credentials=replace(SOUTH.credentials, token_file="/etc/swr/other"))
    assert calls.of(NORTH, changed) == [f"{SOUTH.name} tags for 3 s"]


def test_changed_signing_key_calls_no_registry() -> None:
    """It changes neither the connection nor the credential."""
    calls = Calls()
    calls.of(SIGNED)
    assert calls.of(replace(SIGNED, signatures=SignatureSettings((), threshold=2))) == []


def test_calls_at_the_same_time_are_bounded() -> None:
    """A policy with many registries of one account would use up its rate at once."""
    crowd = Crowd()
    registries = [registry(hosts=(f"{number}.example.com",)) for number in range(MAX_CONCURRENT * 2)]
    Preconnector(lambda _: [crowd]).connect(policy(registries=RegistryTable.of(registries)))
    assert wait_until(lambda: crowd.arrived == MAX_CONCURRENT)
    crowd.answer.set()
    assert wait_until(lambda: crowd.arrived == MAX_CONCURRENT * 2)
    assert crowd.largest == MAX_CONCURRENT


def test_failure_is_logged_and_ends_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """Whoever watches a rollout sees a wrong secret before the first Pod is denied."""
    with caplog.at_level(logging.WARNING):
        Calls(RegistryUnavailable("SWR answered 503")).of(NORTH)
        assert wait_until(lambda: bool(caplog.messages))
    assert caplog.messages == [f"{NORTH.name} cannot be used yet: SWR answered 503"]
