"""The webhook with its real cache and its real SWR client, in this process."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.builders import ALIAS, HOST, pod, policy, registry, review
from tests.support.fakes import FakeClock, FakeTrustSource, RecorderSpy
from webhook.admission.decision import Decision
from webhook.admission.review import read_review, write_review
from webhook.admission.validator import Validator
from webhook.app.trust_service import TrustService
from webhook.deadlines import Deadline
from webhook.policy.model import Policy
from webhook.registries import CredentialSettings, Registry, RegistryTable
from webhook.telemetry.metrics import Metrics
from webhook.trust.lookup import TrustLookup
from webhook.trust.settings import LookupSettings

HANG_GUARD = 30.0
"""Seconds after which a test fails; no test takes a tenth of it."""


@dataclass(slots=True)
class CachedStack:
    """A validator with the real cache and a clock that the test advances."""

    clock: FakeClock
    source: FakeTrustSource
    lookup: TrustLookup
    validator: Validator
    policies: list[Policy]

    def decide(self, *images: str, namespace: str = "shop", uid: str = "u") -> Decision:
        """Return the decision on the creation of a Pod of these images."""
        body = review(pod(*images), namespace=namespace, uid=uid)
        return self.validator.validate(read_review(body), Deadline.after(HANG_GUARD))


def cached_stack(facts: dict[str, Any], **changes: Any) -> CachedStack:
    """Return a validator with the real cache; ``facts`` are by ``organization/repository:tag``."""
    changes.setdefault("lookup", LookupSettings(calls_per_second=1000.0, retries=0))
    clock = FakeClock()
    source = FakeTrustSource(facts, clock)
    policies = [policy(**changes)]
    lookup = TrustLookup(source, policies[0].cache, policies[0].lookup, RecorderSpy(), clock)
    return CachedStack(clock, source, lookup, Validator(lambda: policies[-1], lookup, clock=clock), policies)


@dataclass(slots=True)
class WireStack:
    """A validator that calls SWR over HTTP."""

    policy: Policy
    metrics: Metrics
    validator: Validator

    def decision(self, *images: str) -> Decision:
        """Return the decision on the creation of a Pod of these images."""
        return self.validator.validate(read_review(review(pod(*images))), Deadline.after(5.0))

    def decide(self, *images: str) -> dict[str, Any]:
        """Return the ``response`` to the creation of a Pod of these images."""
        answer: dict[str, Any] = json.loads(write_review("u", self.decision(*images)))["response"]
        return answer


def wire_stack(url: str, folder: Path, **changes: Any) -> WireStack:
    """Return a validator whose registry has its endpoint at ``url``."""
    changes.setdefault("registries", RegistryTable.of([asked_at(url, folder)]))
    changes.setdefault("lookup", LookupSettings(timeout=1.0, retries=0, calls_per_second=1000.0))
    chosen = policy(**changes)
    metrics = Metrics("test")
    trust = TrustService(chosen, metrics, {})
    return WireStack(chosen, metrics, Validator(lambda: chosen, trust.lookup))


def asked_at(url: str, folder: Path, **changes: Any) -> Registry:
    """Return a registry with its endpoint at ``url`` and the emulator's token."""
    token = folder / "token"
    token.write_text("emulator-token\n", encoding="utf-8")
    values: dict[str, Any] = {
        "hosts": (HOST, ALIAS),
        "endpoint": url,
        "iam_endpoint": url,
        "credentials": CredentialSettings("token", token_file=str(token)),
    }
    return registry(**{**values, **changes})


def run_concurrently(work: Sequence[Callable[[], None]]) -> None:
    """Run all functions at the same time and wait for all of them."""
    threads = [threading.Thread(target=job, daemon=True) for job in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(HANG_GUARD)
    assert not any(thread.is_alive() for thread in threads)
