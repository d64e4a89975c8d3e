"""The cache is bounded in time and size, and a record never applies to another image."""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Sequence
from typing import Any

import pytest

from tests.bypasses.full_stack import HANG_GUARD, cached_stack, run_concurrently
from tests.support.builders import DIGEST, HOST, OTHER_DIGEST, exemption, pod, policy, registry, review
from webhook.admission.review import read_review
from webhook.admission.validator import Validator
from webhook.deadlines import Deadline, spawn
from webhook.errors import RegistryUnavailable
from webhook.policy.findings import Mode
from webhook.registries import RegistryTable
from webhook.trust.lookup import LookupRequest, LookupResult
from webhook.trust.records import CallLimiter, TrustQuery, TrustRecord, TrustStatus
from webhook.trust.settings import CacheSettings, LookupSettings

IMAGE = f"{HOST}/shop/web:1"


def wait_for(condition: Any) -> None:
    """Wait until a background thread has finished its work."""
    done = threading.Event()

    def look() -> None:
        while not condition() and not done.wait(0.001):
            pass
        done.set()

    spawn(look, "wait")
    assert done.wait(HANG_GUARD)


def test_revoked_image_is_denied_after_cache_trusted() -> None:
    """A tag that is pushed again untrusted is denied after ``cache.trusted``, however often it is used
    (T28).
    """
    whole = cached_stack({"shop/web:1": TrustStatus.TRUSTED}, cache=CacheSettings(trusted=60))
    assert whole.decide(IMAGE).allowed
    whole.source.facts["shop/web:1"] = RegistryUnavailable("the refresh does not come")
    for _ in range(11):
        whole.clock.tick(5)
        assert whole.decide(IMAGE).allowed
    wait_for(lambda: not whole.lookup._pending)
    whole.source.facts["shop/web:1"] = TrustStatus.UNTRUSTED
    whole.clock.tick(5)
    decision = whole.decide(IMAGE)
    assert (decision.allowed, decision.results[0].check.finding.value) == (False, "untrusted")


def test_refresh_with_revoked_trust_takes_effect_at_once() -> None:
    """A refresh can only make a record newer (T28)."""
    whole = cached_stack({"shop/web:1": TrustStatus.TRUSTED})
    assert whole.decide(IMAGE).allowed
    whole.source.facts["shop/web:1"] = TrustStatus.UNTRUSTED
    whole.clock.tick(59)
    assert whole.decide(IMAGE).allowed
    wait_for(lambda: whole.lookup.sizes == (0, 1, 0))
    assert not whole.decide(IMAGE).allowed


def test_cached_record_does_not_apply_to_other_digest() -> None:
    """The record of a tag contains the digest that was trusted (T28, T26)."""
    fact = TrustRecord(TrustStatus.TRUSTED, 1_000_000.0, DIGEST)
    whole = cached_stack({"shop/web:1": fact})
    assert whole.decide(IMAGE).allowed
    whole.clock.tick(30)
    decision = whole.decide(f"{IMAGE}@{OTHER_DIGEST}")
    assert (decision.allowed, decision.results[0].check.finding.value) == (False, "digest-mismatch")
    assert whole.source.asked == ["shop/web:1", "shop/web:1"]


def test_newly_trusted_image_is_admitted_after_cache_refused() -> None:
    """A refusal is cached for ``cache.refused`` only (T29)."""
    whole = cached_stack({"shop/web:1": TrustStatus.UNTRUSTED})
    assert not whole.decide(IMAGE).allowed
    whole.source.facts["shop/web:1"] = TrustStatus.TRUSTED
    whole.clock.tick(9)
    assert not whole.decide(IMAGE).allowed
    whole.clock.tick(2)
    assert whole.decide(IMAGE).allowed


def test_failed_lookup_is_not_cached() -> None:
    """The next request queries SWR again (T29)."""
    whole = cached_stack({"shop/web:1": RegistryUnavailable("down")})
    assert whole.decide(IMAGE).code == 503
    whole.source.facts["shop/web:1"] = TrustStatus.TRUSTED
    assert whole.decide(IMAGE).allowed


def test_decision_of_old_policy_is_not_reused() -> None:
    """The cache holds SWR's answers, not decisions (T30)."""
    whole = cached_stack({}, exemptions=(exemption("all"),))
    assert whole.decide(IMAGE).allowed
    whole.policies.append(policy(version="v2"))
    assert not whole.decide(IMAGE).allowed
    whole.policies.append(policy(version="v3", mode=Mode.AUDIT))
    assert whole.decide(IMAGE).allowed
    whole.policies.append(policy(version="v4"))
    assert not whole.decide(IMAGE).allowed


def test_redefined_registry_starts_with_empty_cache() -> None:
    """The answers for one account do not apply to another account (T30)."""
    whole = cached_stack({"shop/web:1": TrustStatus.TRUSTED})
    assert whole.decide(IMAGE).allowed
    whole.source.facts["shop/web:1"] = TrustStatus.UNTRUSTED
    whole.policies.append(policy(registries=RegistryTable.of([registry(project_id="another")])))
    assert not whole.decide(IMAGE).allowed


def test_concurrent_requests_get_own_results() -> None:
    """Two hundred Pods, each with its own image: each request gets the answer for its own image (T32)."""
    facts = {
        f"shop/web:{n}": TrustRecord(
            TrustStatus.TRUSTED if n % 2 else TrustStatus.UNTRUSTED, 1_000_000.0, f"sha256:{n:064x}"
        )
        for n in range(200)
    }
    whole = cached_stack(facts)
    answers: dict[int, tuple[str, bool, str | None]] = {}

    def look_up(n: int) -> None:
        decision = whole.decide(f"{HOST}/shop/web:{n}", uid=f"uid-{n}")
        record = decision.results[0].check.record
        answers[n] = (
            decision.results[0].use.image,
            decision.allowed,
            record.digest if record is not None else None,
        )

    run_concurrently([functools.partial(look_up, n) for n in range(200)])
    assert answers == {n: (f"{HOST}/shop/web:{n}", bool(n % 2), f"sha256:{n:064x}") for n in range(200)}


def test_concurrent_lookups_of_one_image_make_one_call() -> None:
    """Five hundred Pods of one uncached image make one call (T33)."""
    whole = cached_stack({"shop/web:1": TrustStatus.TRUSTED})
    whole.source.gate = threading.Event()
    allowed: list[bool] = []
    waiting = threading.Semaphore(0)

    def look_up() -> None:
        waiting.release()
        allowed.append(whole.decide(IMAGE).allowed)

    def open_when_all_wait() -> None:
        for _ in range(500):
            waiting.acquire()
        assert whole.source.gate is not None
        whole.source.gate.set()

    run_concurrently([look_up] * 500 + [open_when_all_wait])
    assert (allowed, whole.source.asked) == ([True] * 500, ["shop/web:1"])


def test_cache_size_is_bounded() -> None:
    """An author may invent any number of tags (T34)."""
    settings = CacheSettings(max_entries=100)
    whole = cached_stack({}, cache=settings)
    whole.decide(IMAGE)
    for start in range(0, 3000, 100):
        whole.decide(*[f"{HOST}/shop/web:t{n}" for n in range(start, start + 100)])
    assert whole.lookup.sizes == (0, 100, 0)


def test_parse_and_match_caches_are_bounded() -> None:
    """The caches of parsed references and of matches are bounded, too (T34)."""
    whole = cached_stack({}, exemptions=(exemption("all"),))
    for start in range(0, 10_000, 200):
        whole.decide(*[f"a/b:{n}" for n in range(start, start + 200)], namespace=f"ns-{start}")
    evaluator = whole.validator._evaluator.get()
    assert evaluator._parse_cached.cache_info().currsize <= 4096
    assert evaluator._remembered.cache_info().currsize <= 4096
    matches = evaluator.policy._match
    assert isinstance(matches, functools._lru_cache_wrapper)
    assert matches.cache_info().currsize <= 4096


class BarrierSource:
    """A source that answers only when all calls have arrived."""

    def __init__(self, parties: int) -> None:
        self.barrier = threading.Barrier(parties)
        self.asked: list[str] = []

    def fetch(self, query: TrustQuery, deadline: Deadline, call_limiter: CallLimiter) -> TrustRecord:
        self.asked.append(query.tag or "")
        self.barrier.wait(10)
        return TrustRecord(TrustStatus.TRUSTED, 1_000_000.0, DIGEST)


def test_images_of_pod_are_looked_up_concurrently() -> None:
    """Fifty images take the time of one, and an image that is used twice is looked up once (T41)."""
    whole = cached_stack({}, lookup=LookupSettings(timeout=20, calls_per_second=1000.0))
    source = BarrierSource(50)
    whole.lookup._source = source
    images = [f"{HOST}/shop/web:{n}" for n in range(50)]
    assert whole.decide(*images, *images).allowed
    assert sorted(source.asked) == sorted(str(n) for n in range(50))


def test_review_with_hanging_lookup_is_denied_at_deadline() -> None:
    """A lookup that is not finished in time is not trusted (T40)."""
    whole = cached_stack({"shop/web:1": TrustStatus.TRUSTED}, lookup=LookupSettings(timeout=20))
    whole.source.gate = threading.Event()
    body = read_review(review(pod(IMAGE)))
    began = time.monotonic()
    decision = whole.validator.validate(body, Deadline.after(0.05))
    assert time.monotonic() - began < 4
    assert (decision.allowed, decision.code, decision.results[0].check.reason) == (False, 503, "timeout")
    whole.source.gate.set()


def test_unexpected_exception_of_source_denies() -> None:
    """An exception in a worker is a failed lookup (T43)."""

    class Broken:
        def fetch(self, query: TrustQuery, deadline: Deadline, call_limiter: CallLimiter) -> TrustRecord:
            raise ZeroDivisionError

    whole = cached_stack({})
    whole.lookup._source = Broken()
    assert (whole.decide(IMAGE).allowed, whole.decide(IMAGE).code) == (False, 503)


def test_missing_lookup_result_denies() -> None:
    """Each lookup has its own result or the request is denied (T43)."""

    class Short:
        def look_up(self, requests: Sequence[LookupRequest], deadline: Deadline) -> list[LookupResult]:
            return []

    current = policy()
    decision = Validator(lambda: current, Short()).validate(
        read_review(review(pod(IMAGE))), Deadline.after(5)
    )
    assert (decision.allowed, decision.code) == (False, 500)


@pytest.mark.parametrize("images", [[IMAGE], [f"{HOST}/shop/other:1"]])
def test_exempt_image_is_not_looked_up(images: list[str]) -> None:
    """It costs no call (T42)."""
    whole = cached_stack({}, exemptions=(exemption("shop", [f"{HOST}/shop/**"]),))
    assert whole.decide(*images).allowed
    assert whole.source.asked == []
