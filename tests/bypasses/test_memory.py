"""What is remembered: bounded in time and size, one image's fact never another's."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from tests.bypasses.full_stack import HANG_GUARD, at_once, remembering
from tests.support.builders import DIGEST, HOST, OTHER_DIGEST, exemption, pod, policy, registry, review
from webhook.admission.review import read_review
from webhook.admission.validator import Validator
from webhook.deadlines import Deadline, spawn
from webhook.errors import RegistryUnavailable
from webhook.policy.findings import Mode
from webhook.registries import RegistryTable
from webhook.trust.lookup import LookupRequest
from webhook.trust.records import CallLimiter, TrustQuery, TrustRecord, TrustStatus
from webhook.trust.settings import CacheSettings, LookupSettings

IMAGE = f"{HOST}/shop/web:1"


def wait_for(condition: Any) -> None:
    """Wait for what a background thread does."""
    done = threading.Event()

    def look() -> None:
        while not condition() and not done.wait(0.001):
            pass
        done.set()

    spawn(look, "wait")
    assert done.wait(HANG_GUARD)


def test_trust_that_is_withdrawn_lives_no_longer_than_its_time() -> None:
    """A tag that is pushed again untrusted is refused after ``cache.trusted``, however often it is used (T28)."""
    whole = remembering({"shop/web:1": TrustStatus.TRUSTED}, cache=CacheSettings(trusted=60))
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


def test_a_refresh_that_hears_of_lost_trust_ends_it_at_once() -> None:
    """Use makes memory fresher, never staler (T28)."""
    whole = remembering({"shop/web:1": TrustStatus.TRUSTED})
    assert whole.decide(IMAGE).allowed
    whole.source.facts["shop/web:1"] = TrustStatus.UNTRUSTED
    whole.clock.tick(59)
    assert whole.decide(IMAGE).allowed
    wait_for(lambda: whole.lookup.sizes == (0, 1, 0))
    assert not whole.decide(IMAGE).allowed


def test_a_pinned_digest_is_never_answered_by_another_digest_in_memory() -> None:
    """The memory of a tag says which digest was trusted (T28, T26)."""
    fact = TrustRecord(TrustStatus.TRUSTED, 1_000_000.0, DIGEST)
    whole = remembering({"shop/web:1": fact})
    assert whole.decide(IMAGE).allowed
    whole.clock.tick(30)
    decision = whole.decide(f"{IMAGE}@{OTHER_DIGEST}")
    assert (decision.allowed, decision.results[0].check.finding.value) == (False, "digest-mismatch")
    assert whole.source.asked == ["shop/web:1", "shop/web:1"]


def test_an_image_that_becomes_trusted_is_admitted_within_seconds() -> None:
    """A refusal is remembered for ``cache.refused`` only (T29)."""
    whole = remembering({"shop/web:1": TrustStatus.UNTRUSTED})
    assert not whole.decide(IMAGE).allowed
    whole.source.facts["shop/web:1"] = TrustStatus.TRUSTED
    whole.clock.tick(9)
    assert not whole.decide(IMAGE).allowed
    whole.clock.tick(2)
    assert whole.decide(IMAGE).allowed


def test_a_failure_is_never_remembered() -> None:
    """The next request asks again (T29)."""
    whole = remembering({"shop/web:1": RegistryUnavailable("down")})
    assert whole.decide(IMAGE).code == 503
    whole.source.facts["shop/web:1"] = TrustStatus.TRUSTED
    assert whole.decide(IMAGE).allowed


def test_a_new_policy_is_not_answered_by_the_old_ones_decisions() -> None:
    """Memory holds what SWR said, not what was made of it (T30)."""
    whole = remembering({}, exemptions=(exemption("all"),))
    assert whole.decide(IMAGE).allowed
    whole.policies.append(policy(version="v2"))
    assert not whole.decide(IMAGE).allowed
    whole.policies.append(policy(version="v3", mode=Mode.AUDIT))
    assert whole.decide(IMAGE).allowed
    whole.policies.append(policy(version="v4"))
    assert not whole.decide(IMAGE).allowed


def test_a_registry_that_is_defined_anew_starts_without_memory() -> None:
    """What one account was told says nothing about another's (T30)."""
    whole = remembering({"shop/web:1": TrustStatus.TRUSTED})
    assert whole.decide(IMAGE).allowed
    whole.source.facts["shop/web:1"] = TrustStatus.UNTRUSTED
    whole.policies.append(policy(registries=RegistryTable.of([registry(project_id="another")])))
    assert not whole.decide(IMAGE).allowed


def test_requests_at_the_same_time_do_not_mix() -> None:
    """Two hundred Pods, each with its own image: everybody gets the answer to their own question (T32)."""
    facts = {
        f"shop/web:{n}": TrustRecord(
            TrustStatus.TRUSTED if n % 2 else TrustStatus.UNTRUSTED, 1_000_000.0, f"sha256:{n:064x}"
        )
        for n in range(200)
    }
    whole = remembering(facts)
    answers: dict[int, tuple[str, bool, str | None]] = {}

    def look_up(n: int) -> None:
        decision = whole.decide(f"{HOST}/shop/web:{n}", uid=f"uid-{n}")
        record = decision.results[0].check.record
        answers[n] = (
            decision.results[0].use.image,
            decision.allowed,
            record.digest if record is not None else None,
        )

    at_once([lambda n=n: look_up(n) for n in range(200)])
    assert answers == {n: (f"{HOST}/shop/web:{n}", bool(n % 2), f"sha256:{n:064x}") for n in range(200)}


def test_a_crowd_asks_once() -> None:
    """Five hundred Pods of one image that nobody knows yet are one call (T33)."""
    whole = remembering({"shop/web:1": TrustStatus.TRUSTED})
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

    at_once([look_up] * 500 + [open_when_all_wait])
    assert (allowed, whole.source.asked) == ([True] * 500, ["shop/web:1"])


def test_memory_does_not_grow_with_what_is_asked() -> None:
    """However many tags somebody invents (T34)."""
    settings = CacheSettings(max_entries=100)
    whole = remembering({}, cache=settings)
    whole.decide(IMAGE)
    for start in range(0, 3000, 100):
        whole.decide(*[f"{HOST}/shop/web:t{n}" for n in range(start, start + 100)])
    assert whole.lookup.sizes == (0, 100, 0)


def test_what_is_remembered_of_images_and_namespaces_is_bounded() -> None:
    """So are the readings of image strings and what matches them (T34)."""
    whole = remembering({}, exemptions=(exemption("all"),))
    for start in range(0, 10_000, 200):
        whole.decide(*[f"a/b:{n}" for n in range(start, start + 200)], namespace=f"ns-{start}")
    evaluator = whole.validator._evaluator
    assert evaluator is not None
    assert evaluator._parse_cached.cache_info().currsize <= 4096
    assert evaluator.policy._match.cache_info().currsize <= 4096


class Together:
    """A source that answers nobody before all have asked."""

    def __init__(self, parties: int) -> None:
        self.barrier = threading.Barrier(parties)
        self.asked: list[str] = []

    def fetch(self, query: TrustQuery, deadline: Deadline, call_limiter: CallLimiter) -> TrustRecord:
        self.asked.append(query.tag or "")
        self.barrier.wait(10)
        return TrustRecord(TrustStatus.TRUSTED, 1_000_000.0, DIGEST)


def test_the_images_of_a_pod_are_asked_about_all_at_once() -> None:
    """Fifty images take the time of one, and one that is used twice is asked about once (T41)."""
    whole = remembering({}, lookup=LookupSettings(timeout=20, calls_per_second=1000.0))
    source = Together(50)
    whole.lookup._source = source
    images = [f"{HOST}/shop/web:{n}" for n in range(50)]
    assert whole.decide(*images, *images).allowed
    assert sorted(source.asked) == sorted(str(n) for n in range(50))


def test_a_review_is_answered_in_time_whatever_the_lookup_does() -> None:
    """Not in time is not trusted (T40)."""
    whole = remembering({"shop/web:1": TrustStatus.TRUSTED}, lookup=LookupSettings(timeout=20))
    whole.source.gate = threading.Event()
    body = read_review(review(pod(IMAGE)))
    began = time.monotonic()
    decision = whole.validator.validate(body, Deadline.after(0.05))
    assert time.monotonic() - began < 4
    assert (decision.allowed, decision.code, decision.results[0].check.reason) == (False, 503, "timeout")
    whole.source.gate.set()


def test_a_source_that_fails_in_a_way_nobody_foresaw_denies() -> None:
    """An exception in a worker is an answer that is not known (T43)."""

    class Broken:
        def fetch(self, query: TrustQuery, deadline: Deadline, call_limiter: CallLimiter) -> TrustRecord:
            raise ZeroDivisionError

    whole = remembering({})
    whole.lookup._source = Broken()
    assert (whole.decide(IMAGE).allowed, whole.decide(IMAGE).code) == (False, 503)


def test_an_answer_too_few_denies() -> None:
    """Each question has its own answer or the request is refused (T43)."""

    class Short:
        def look_up(self, questions: list[LookupRequest], deadline: Deadline) -> list[Any]:
            return []

    current = policy()
    decision = Validator(lambda: current, Short()).validate(
        read_review(review(pod(IMAGE))), Deadline.after(5)
    )
    assert (decision.allowed, decision.code) == (False, 500)


@pytest.mark.parametrize("images", [[IMAGE], [f"{HOST}/shop/other:1"]])
def test_an_exempt_image_needs_no_swr(images: list[str]) -> None:
    """Not a single call (T42)."""
    whole = remembering({}, exemptions=(exemption("shop", [f"{HOST}/shop/**"]),))
    assert whole.decide(*images).allowed
    assert whole.source.asked == []
