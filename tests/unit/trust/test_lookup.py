"""Lookups of images: answered from the cache, by one shared call, or failed."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from tests.support.builders import DIGEST, OTHER_DIGEST, registry
from tests.support.fakes import FakeClock, FakeTrustSource, RecorderSpy
from webhook.deadlines import Deadline, spawn
from webhook.errors import (
    Fault,
    Forbidden,
    LookupTimeout,
    MalformedAnswer,
    RegistryUnavailable,
    Throttled,
    TrustLookupError,
    Unauthorized,
)
from webhook.registries import CredentialSettings, Registry
from webhook.trust import lookup as lookup_module
from webhook.trust.breaker import FAILURES_TO_OPEN, BreakerState
from webhook.trust.lookup import Failed, Found, LookupRequest, LookupResult, Origin, TrustLookup
from webhook.trust.records import CallLimiter, TrustQuery, TrustRecord, TrustStatus
from webhook.trust.registry_queue import RETRY_PAUSE
from webhook.trust.settings import CacheSettings, LookupSettings

IMAGE = "shop/web:1.0"
GUARD = 10.0
"""Seconds after which a test that hangs fails."""

Facts = Mapping[str, TrustStatus | TrustRecord | TrustLookupError]


def question(
    image: str = IMAGE,
    pinned: str | None = None,
    tenant: str = "",
    max_age: float | None = None,
    **changes: Any,
) -> LookupRequest:
    """Return a request for ``organization/repository:tag``."""
    path, _, tag = image.rpartition(":")
    organization, _, repository = path.partition("/")
    query = TrustQuery(registry(**changes), organization, repository, tag)
    return LookupRequest(query, pinned, tenant, max_age)


class Asked:
    """A lookup with a source whose answers can be held back."""

    def __init__(
        self, entries: Facts, cache: CacheSettings | None = None, lookup: LookupSettings | None = None
    ) -> None:
        self.clock = FakeClock()
        self.source = FakeTrustSource(entries, self.clock)
        self.notes = RecorderSpy()
        self.settings = cache or CacheSettings()
        self.lookup = TrustLookup(
            self.source, self.settings, lookup or LookupSettings(retries=0), self.notes, self.clock
        )

    def look_up(self, *questions: LookupRequest, seconds: float = GUARD) -> list[LookupResult]:
        """Look up, with this much time."""
        return self.lookup.look_up(questions or (question(),), Deadline.after(seconds))

    def start(self, *questions: LookupRequest) -> threading.Thread:
        """Look up in a thread."""

        def look_up() -> None:
            self.look_up(*questions)

        return spawn(look_up, "looks up")

    def one(self, image: str = IMAGE, **changes: Any) -> str:
        """Look up one image and return the result in two words."""
        return told(self.look_up(question(image, **changes))[0])

    def hold(self) -> threading.Event:
        """Hold every call until the event is set."""
        self.source.gate = threading.Event()
        return self.source.gate

    def results(self) -> list[object]:
        """Return the source of each result, as the metric counts it."""
        return [values[0] for values in self.notes.named("cache_answered")]


def told(answer: LookupResult) -> str:
    """Return a result in words."""
    if isinstance(answer, Failed):
        return f"unknown: {answer.failure.reason}"
    return f"{answer.record.status} from {answer.origin}"


def eventually(check: Callable[[], bool]) -> None:
    """Wait until other threads have done their work."""
    guard = Deadline.after(GUARD)
    pause = threading.Event()
    while not check():
        assert not guard.expired, "waited in vain"
        pause.wait(0.002)


def test_second_lookup_is_answered_from_cache() -> None:
    """Both cause one call."""
    asked = Asked({IMAGE: TrustStatus.TRUSTED})
    assert [asked.one(), asked.one()] == ["trusted from swr", "trusted from cache"]
    assert asked.source.asked == [IMAGE]


def test_all_images_of_pod_are_looked_up_concurrently() -> None:
    """Ten images take as long as one."""
    images = [f"shop/web-{index}:1" for index in range(10)]
    asked = Asked(dict.fromkeys(images, TrustStatus.TRUSTED))
    gate = asked.hold()
    answers: list[LookupResult] = []
    thread = spawn(lambda: answers.extend(asked.look_up(*map(question, images))), "asks")
    eventually(lambda: len(asked.source.asked) == 10)
    gate.set()
    thread.join(GUARD)
    assert [told(answer) for answer in answers] == ["trusted from swr"] * 10


def test_simultaneous_lookups_of_image_share_one_call() -> None:
    """All get its result (T33)."""
    asked = Asked({IMAGE: TrustStatus.TRUSTED})
    gate = asked.hold()
    answers: list[LookupResult] = []
    threads = [spawn(lambda: answers.extend(asked.look_up()), "asks") for _ in range(200)]
    eventually(lambda: len(asked.results()) == 200)
    gate.set()
    for thread in threads:
        thread.join(GUARD)
    assert asked.source.asked == [IMAGE]
    assert [told(answer) for answer in answers] == ["trusted from swr"] * 200
    assert asked.results().count("coalesced") == 199


def test_shared_failure_is_not_cached() -> None:
    """The next lookup makes a new call: failures are never cached (T34)."""
    asked = Asked({IMAGE: RegistryUnavailable("down")})
    gate = asked.hold()
    answers: list[LookupResult] = []
    threads = [spawn(lambda: answers.extend(asked.look_up()), "asks") for _ in range(20)]
    eventually(lambda: len(asked.results()) == 20)
    gate.set()
    for thread in threads:
        thread.join(GUARD)
    assert [told(answer) for answer in answers] == ["unknown: unavailable"] * 20
    asked.source.facts[IMAGE] = TrustStatus.TRUSTED
    assert asked.one() == "trusted from swr"


def test_shared_lookup_observes_deadline_of_each_caller() -> None:
    """The first caller times out; the call continues for the second one."""
    asked = Asked({IMAGE: TrustStatus.TRUSTED})
    gate = asked.hold()
    patient: list[LookupResult] = []
    thread = spawn(lambda: patient.extend(asked.look_up()), "patient")
    eventually(lambda: asked.source.asked == [IMAGE])
    assert told(asked.look_up(seconds=0.01)[0]) == "unknown: timeout"
    gate.set()
    thread.join(GUARD)
    assert told(patient[0]) == "trusted from swr"


def test_answer_after_deadline_of_caller_is_cached() -> None:
    """A call has its own timeout, not that of its first caller."""
    asked = Asked({IMAGE: TrustStatus.TRUSTED})
    gate = asked.hold()
    assert told(asked.look_up(seconds=0.01)[0]) == "unknown: timeout"
    gate.set()
    eventually(lambda: asked.lookup.sizes == (1, 0, 0))
    assert asked.one() == "trusted from cache"


@pytest.mark.parametrize(
    ("failure", "expected"),
    [
        (LookupTimeout("late", fault=Fault.REGISTRY), "trusted from stale"),
        (RegistryUnavailable("down"), "trusted from stale"),
        (Throttled("slow down", fault=Fault.REGISTRY), "unknown: throttled"),
        (Unauthorized("expired"), "trusted from stale"),
        (Throttled("our own limit", fault=Fault.LOCAL), "unknown: throttled"),
        (Forbidden("another account's"), "unknown: forbidden"),
        (MalformedAnswer("HTML"), "unknown: malformed"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_stale_trust_is_served_only_for_failures_no_author_can_cause(
    failure: TrustLookupError, expected: str
) -> None:
    """A failure that the author of a Pod can cause by its image never leads to stale trust (T35)."""
    asked = Asked({IMAGE: TrustStatus.TRUSTED})
    asked.one()
    asked.clock.tick(61)
    asked.source.facts[IMAGE] = failure
    assert asked.one() == expected


def test_review_deadline_does_not_serve_stale_trust() -> None:
    """Fault B1: the author chooses the timeout, and SWR may be about to revoke the trust."""
    asked = Asked({IMAGE: TrustStatus.TRUSTED})
    asked.one()
    asked.clock.tick(61)
    asked.source.facts[IMAGE] = TrustStatus.UNTRUSTED
    gate = asked.hold()
    (answer,) = asked.look_up(seconds=0.05)
    assert isinstance(answer, Failed)
    assert (answer.failure.fault, answer.failure.detail) == (
        Fault.LOCAL,
        "SWR had not answered by the deadline of this review",
    )
    gate.set()
    assert asked.one().startswith("untrusted from")


def test_queued_lookup_does_not_serve_stale_trust() -> None:
    """Fault B2: an author who fills our queue chooses the lookups that are late."""
    asked = Asked({IMAGE: TrustStatus.TRUSTED}, lookup=LookupSettings(concurrency=1, retries=0))
    asked.one()
    asked.clock.tick(61)
    gate = asked.hold()
    flood = asked.start(question("shop/flood:1"))
    eventually(lambda: len(asked.source.asked) == 2)
    (answer,) = asked.look_up(seconds=0.05)
    assert isinstance(answer, Failed)
    assert (answer.failure.fault, answer.failure.detail) == (
        Fault.LOCAL,
        "the lookup was still queued at the deadline of this review",
    )
    gate.set()
    flood.join(GUARD)


def test_timeout_of_stalled_process_is_local_fault() -> None:
    """Fault B1: the answer may have arrived in time; many short stalls count like a long one."""
    lost = itertools.count(step=0.1)

    class StalledSource:
        def fetch(self, query: TrustQuery, deadline: Deadline, call_limiter: CallLimiter) -> TrustRecord:
            with call_limiter.call(deadline):
                for _ in range(9):
                    next(lost)
                raise LookupTimeout("late", fault=Fault.REGISTRY)

    lookup = TrustLookup(
        StalledSource(),
        CacheSettings(),
        LookupSettings(timeout=3.0),
        RecorderSpy(),
        lateness=lambda: next(lost),
    )
    (answer,) = lookup.look_up([question()], Deadline.after(GUARD))
    assert isinstance(answer, Failed)
    assert (answer.failure.fault, answer.failure.detail) == (
        Fault.LOCAL,
        "the event loop was blocked: late",
    )


def test_throttling_by_swr_does_not_serve_stale_trust() -> None:
    """Fault B3: an author of Pods can make the account call SWR too often, through any replica or node."""
    asked = Asked({IMAGE: TrustStatus.TRUSTED})
    asked.one()
    asked.clock.tick(61)
    asked.source.facts[IMAGE] = Throttled("429", fault=Fault.REGISTRY)
    (answer,) = asked.look_up()
    assert isinstance(answer, Failed)
    assert (answer.failure.detail, answer.failure.allows_pass) == ("429", False)


def test_answer_closes_breaker_even_if_lookup_fails() -> None:
    """Fault B4: otherwise images for which SWR fails would keep the breaker half-open, and stale trust in
    use. It is closed at once, not when the lookup ends.
    """
    states = []
    asked = Asked({IMAGE: TrustStatus.TRUSTED}, lookup=LookupSettings(retries=0))
    asked.one()
    asked.clock.tick(61)
    asked.source.facts["shop/down:1"] = RegistryUnavailable("down")
    queue = asked.lookup._queues[registry().key]
    for _ in range(FAILURES_TO_OPEN):
        asked.look_up(question("shop/down:1"))
    state_before = queue.breaker.state
    assert state_before is BreakerState.OPEN
    queue.breaker._open_until = 0.0

    class ImageFaultSource:
        def fetch(self, query: TrustQuery, deadline: Deadline, call_limiter: CallLimiter) -> TrustRecord:
            with call_limiter.call(deadline):
                call_limiter.record_answer()
                states.append(queue.breaker.state)
            raise RegistryUnavailable("about this image only", fault=Fault.IMAGE)

    queue._source = ImageFaultSource()
    asked.look_up(question("shop/choke:1"))
    assert [*states, queue.breaker.state] == [BreakerState.CLOSED] * 2


def test_cached_record_is_checked_again_after_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fault B1: an image beside many cold ones would be admitted for longer than ``cache.trusted``."""
    asked = Asked({IMAGE: TrustStatus.TRUSTED, "shop/cold:1": TrustStatus.TRUSTED})
    asked.one()
    fetch = asked.source.fetch

    def take_long(query: TrustQuery, deadline: Deadline, call_limiter: CallLimiter) -> TrustRecord:
        asked.clock.tick(45)
        return fetch(query, deadline, call_limiter)

    asked.clock.tick(20)
    monkeypatch.setattr(asked.source, "fetch", take_long)
    known, cold = asked.look_up(question(), question("shop/cold:1"))
    assert isinstance(cold, Found)
    assert isinstance(known, Failed)
    assert (known.failure.fault, known.failure.detail) == (
        Fault.LOCAL,
        "the record became too old while the review waited for other images",
    )


@pytest.mark.parametrize(
    ("trusted", "wait", "finding"),
    [(60.0, 45.0, "trusted from swr"), (5.0, 4.0, "trusted from swr"), (5.0, 20.0, "unknown: timeout")],
)
def test_fetched_record_is_checked_again_after_wait(
    monkeypatch: pytest.MonkeyPatch, trusted: float, wait: float, finding: str
) -> None:
    """Fault B1: its answer may be much older than those of the other images of a review."""
    asked = Asked(
        {IMAGE: TrustStatus.TRUSTED, "shop/cold:1": TrustStatus.TRUSTED}, cache=CacheSettings(trusted=trusted)
    )
    fetch = asked.source.fetch
    is_first_done = threading.Event()

    def take_long(query: TrustQuery, deadline: Deadline, call_limiter: CallLimiter) -> TrustRecord:
        if query.repository == "cold":
            assert is_first_done.wait(GUARD)
            asked.clock.tick(wait)
            return fetch(query, deadline, call_limiter)
        record = fetch(query, deadline, call_limiter)
        is_first_done.set()
        return record

    monkeypatch.setattr(asked.source, "fetch", take_long)
    first, cold = asked.look_up(question(), question("shop/cold:1"))
    assert [told(first), told(cold)] == [finding, "trusted from swr"]


def test_failure_shared_by_lookups_counts_once_for_breaker() -> None:
    """Fault B4: one late list fails every lookup of a digest that it would have answered."""
    asked = Asked({IMAGE: TrustStatus.TRUSTED}, lookup=LookupSettings(retries=0))
    failure = RegistryUnavailable("the list of tags is late")

    class SharedFailureSource:
        def fetch(self, query: TrustQuery, deadline: Deadline, call_limiter: CallLimiter) -> TrustRecord:
            raise failure

    asked.one()
    queue = asked.lookup._queues[registry().key]
    queue._source = SharedFailureSource()
    for number in range(FAILURES_TO_OPEN + 1):
        asked.look_up(question(f"shop/web:{number}"))
    assert queue.breaker.state is BreakerState.CLOSED


@pytest.mark.parametrize("fault", [Fault.LOCAL, Fault.IMAGE])
@pytest.mark.parametrize("error", [LookupTimeout, RegistryUnavailable, Throttled])
def test_local_and_image_faults_do_not_open_breaker(
    error: Callable[..., TrustLookupError], fault: Fault
) -> None:
    """Fault B4: they say nothing about the endpoint. Only failures of SWR are retried."""
    asked = Asked({}, lookup=LookupSettings(calls_per_second=1000.0, retries=1))
    asked.source.facts = {f"shop/odd-{index}:1": error("x", fault=fault) for index in range(20)}
    asked.look_up(*map(question, asked.source.facts))
    is_repeated = error is RegistryUnavailable and fault is Fault.IMAGE
    assert len(asked.source.asked) == (40 if is_repeated else 20)
    asked.source.facts[IMAGE] = TrustStatus.TRUSTED
    assert asked.one() == "trusted from swr"


def test_stale_result_names_its_failure() -> None:
    """For the annotation, the log and the metric."""
    asked = Asked({IMAGE: TrustStatus.TRUSTED})
    asked.one()
    asked.clock.tick(61)
    failure = asked.source.facts[IMAGE] = RegistryUnavailable("down")
    (answer,) = asked.look_up()
    assert answer == Found(TrustRecord(TrustStatus.TRUSTED, 1_000_000.0, DIGEST), Origin.STALE, failure)
    assert asked.results() == ["miss", "miss", "stale"]


def test_stale_record_ages_from_last_answer_of_swr() -> None:
    """Use does not extend its time."""
    asked = Asked({IMAGE: TrustStatus.TRUSTED}, CacheSettings(stale_if_error=300))
    asked.one()
    asked.source.facts[IMAGE] = RegistryUnavailable("down")
    seen = []
    for _ in range(6):
        asked.clock.tick(60)
        seen.append(asked.one())
    assert seen == ["trusted from stale"] * 4 + ["unknown: unavailable"] * 2


@pytest.mark.parametrize("refusal", [TrustStatus.UNTRUSTED, TrustStatus.MISSING])
def test_refusal_is_not_served_stale_and_deletes_stale_trust(refusal: TrustStatus) -> None:
    """An image that lost its trust is not trusted again in the next outage."""
    asked = Asked({IMAGE: TrustStatus.TRUSTED})
    asked.one()
    asked.clock.tick(61)
    asked.source.facts[IMAGE] = refusal
    assert asked.one() == f"{refusal} from swr"
    asked.clock.tick(11)
    asked.source.facts[IMAGE] = RegistryUnavailable("down")
    assert asked.one() == "unknown: unavailable"


def test_pinned_digest_other_than_cached_is_looked_up_again() -> None:
    """The tag may have moved a moment ago; at most once per ``cache.refused``."""
    asked = Asked({IMAGE: TrustStatus.TRUSTED})
    asked.one()
    asked.clock.tick(20)
    assert asked.one(pinned=DIGEST) == "trusted from cache"
    assert [asked.one(pinned=OTHER_DIGEST) for _ in range(5)] == [
        "trusted from swr",
        *["trusted from cache"] * 4,
    ]
    assert len(asked.source.asked) == 2


def test_pinned_digest_other_than_cached_is_looked_up_again_after_max_age() -> None:
    """The webhook may have pinned the digest of a tag that was pushed again a moment ago."""
    asked = Asked({IMAGE: TrustStatus.TRUSTED})
    asked.one()
    asked.clock.tick(3)
    assert asked.one(pinned=DIGEST, max_age=2.0) == "trusted from cache"
    assert [asked.one(pinned=OTHER_DIGEST, max_age=2.0) for _ in range(3)] == [
        "trusted from swr",
        *["trusted from cache"] * 2,
    ]


def test_refusal_by_cached_digest_is_never_older_than_other_refusals() -> None:
    """``cache.pinned`` can be an hour. A record as old must not deny the digest of the last push."""
    asked = Asked({IMAGE: TrustStatus.TRUSTED})
    asked.one()
    asked.clock.tick(9.9)
    assert asked.one(pinned=OTHER_DIGEST, max_age=3600.0) == "trusted from cache"
    asked.clock.tick(0.1)
    assert asked.one(pinned=OTHER_DIGEST, max_age=3600.0) == "trusted from swr"


def test_tag_is_looked_up_again_if_its_digest_must_be_current() -> None:
    """The digest is written into a Pod, and the record may be older than the last push of the tag."""
    asked = Asked({IMAGE: TrustStatus.TRUSTED})
    asked.one()
    asked.clock.tick(1.9)
    assert asked.one(max_age=2.0) == "trusted from cache"
    asked.clock.tick(0.1)
    assert [asked.one(max_age=max_age) for max_age in (None, 2.0, 2.0)] == [
        "trusted from cache",
        "trusted from swr",
        "trusted from cache",
    ]


def test_refusal_answers_requests_for_current_digest() -> None:
    """There is no digest to write."""
    asked = Asked({IMAGE: TrustStatus.UNTRUSTED})
    asked.one()
    asked.clock.tick(5)
    assert asked.one(max_age=2.0) == "untrusted from cache"


@pytest.mark.parametrize(
    "failure",
    [
        RegistryUnavailable("down"),
        Throttled("our own rate limit", fault=Fault.LOCAL),
        Unauthorized("not accepted"),
    ],
)
def test_cached_digest_is_used_if_current_one_cannot_be_had(failure: TrustLookupError) -> None:
    """The record still proves trust, whatever the cause of the failure."""
    asked = Asked({IMAGE: TrustStatus.TRUSTED})
    asked.one()
    asked.clock.tick(5)
    asked.source.facts[IMAGE] = failure
    assert asked.one(max_age=2.0) == "trusted from cache"
    assert asked.one(pinned=OTHER_DIGEST, max_age=2.0) == f"unknown: {failure.reason}"


def test_cached_digest_is_used_if_current_one_takes_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """SWR is slow, and Pods must be created; the answer is cached when it comes."""
    monkeypatch.setattr(lookup_module, "CURRENT_WAIT", 0.02)
    asked = Asked({IMAGE: TrustStatus.TRUSTED})
    asked.one()
    asked.clock.tick(5)
    gate = asked.hold()
    assert asked.one(max_age=2.0) == "trusted from cache"
    gate.set()
    eventually(lambda: not asked.lookup._pending)
    assert asked.one(max_age=2.0) == "trusted from cache"
    assert len(asked.source.asked) == 2
    assert asked.results() == ["miss", "miss", "outdated", "hit"]


def test_wait_for_current_digests_is_one_for_all_images(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Pod of forty images would otherwise wait forty times as long."""
    monkeypatch.setattr(lookup_module, "CURRENT_WAIT", 0.1)
    images = [f"shop/web:{number}" for number in range(40)]
    asked = Asked(dict.fromkeys(images, TrustStatus.TRUSTED))
    asked.look_up(*map(question, images))
    asked.clock.tick(5)
    gate = asked.hold()
    began = time.monotonic()
    results = asked.look_up(*(question(image, max_age=2.0) for image in images))
    took = time.monotonic() - began
    gate.set()
    assert {told(result) for result in results} == {"trusted from cache"}
    assert took < 2


def test_stale_record_does_not_cover_another_digest() -> None:
    """SWR's earlier digest of the tag says nothing about the pinned digest."""
    asked = Asked({IMAGE: TrustStatus.TRUSTED})
    asked.one()
    asked.clock.tick(61)
    asked.source.facts[IMAGE] = RegistryUnavailable("down")
    assert asked.one(pinned=DIGEST) == "trusted from stale"
    assert asked.one(pinned=OTHER_DIGEST) == "unknown: unavailable"


def test_image_in_use_is_refreshed_before_record_expires() -> None:
    """In the background, by one call, while requests are answered from the cache."""
    asked = Asked({IMAGE: TrustStatus.TRUSTED})
    asked.one()
    asked.clock.tick(56)
    gate = asked.hold()
    assert [asked.one() for _ in range(10)] == ["trusted from cache"] * 10
    gate.set()
    eventually(lambda: len(asked.source.asked) == 2)
    eventually(lambda: not asked.lookup._pending)
    asked.clock.tick(30)
    assert asked.one() == "trusted from cache"


def test_failed_refresh_keeps_cached_record() -> None:
    """The cached record stays valid to its end."""
    asked = Asked({IMAGE: TrustStatus.TRUSTED})
    asked.one()
    asked.clock.tick(56)
    asked.source.facts[IMAGE] = RegistryUnavailable("down")
    asked.one()
    eventually(lambda: not asked.lookup._pending)
    assert asked.one() == "trusted from cache"


def test_refusal_by_refresh_takes_effect_at_once() -> None:
    """It does not wait for the end of the old record."""
    asked = Asked({IMAGE: TrustStatus.TRUSTED})
    asked.one()
    asked.clock.tick(56)
    asked.source.facts[IMAGE] = TrustStatus.UNTRUSTED
    asked.one()
    eventually(lambda: not asked.lookup._pending)
    assert asked.one() == "untrusted from cache"


def test_unresponsive_registry_does_not_block_another() -> None:
    """Each has its own queue, workers and breaker."""
    asked = Asked({IMAGE: TrustStatus.TRUSTED}, lookup=LookupSettings(concurrency=2, retries=0))
    gate = asked.hold()
    stuck = [asked.start(question(f"shop/stuck-{index}:1")) for index in range(20)]
    eventually(lambda: len(asked.source.asked) == 2)
    asked.source.gate = None
    assert asked.one(endpoint="https://other.example.com") == "trusted from swr"
    gate.set()
    for thread in stuck:
        thread.join(GUARD)


def test_unresponsive_endpoint_does_not_delay_cached_answers() -> None:
    """A thousand reviews wait for it."""
    asked = Asked({IMAGE: TrustStatus.TRUSTED}, lookup=LookupSettings(concurrency=2, retries=0))
    asked.one()
    gate = asked.hold()
    stuck = [asked.start(question(f"shop/stuck-{index}:1")) for index in range(100)]
    eventually(lambda: asked.results().count("miss") == 101)
    assert asked.one() == "trusted from cache"
    gate.set()
    for thread in stuck:
        thread.join(GUARD)


def test_flood_of_one_namespace_leaves_others_their_share() -> None:
    """Lookups are dequeued round-robin by namespace."""
    images = [f"shop/flood-{index}:1" for index in range(50)]
    asked = Asked({IMAGE: TrustStatus.TRUSTED}, lookup=LookupSettings(concurrency=1, retries=0))
    gate = asked.hold()
    flood = asked.start(*(question(image, tenant="noisy") for image in images))
    eventually(lambda: len(asked.source.asked) == 1 and asked.results().count("miss") == 50)
    quiet = asked.start(question(tenant="quiet"))
    eventually(lambda: asked.results().count("miss") == 51)
    gate.set()
    for thread in (flood, quiet):
        thread.join(GUARD)
    assert IMAGE in asked.source.asked[:3]


def test_exception_in_trust_source_is_lookup_failure() -> None:
    """All waiting callers get the failure, for any exception."""

    class CrashingSource(FakeTrustSource):
        def fetch(self, *values: Any) -> TrustRecord:
            raise ZeroDivisionError("a mistake of ours")

    lookup = TrustLookup(
        CrashingSource({}, FakeClock()), CacheSettings(), LookupSettings(retries=0), RecorderSpy()
    )
    (answer,) = lookup.look_up([question()], Deadline.after(GUARD))
    assert told(answer) == "unknown: unavailable"


def test_unavailable_registry_is_retried_up_to_limit() -> None:
    """As often as the policy allows."""
    asked = Asked({IMAGE: RegistryUnavailable("reset")}, lookup=LookupSettings(retries=2))
    assert asked.one() == "unknown: unavailable"
    assert asked.source.asked == [IMAGE] * 3


def test_local_timeout_of_retry_does_not_hide_registry_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first attempt was SWR's failure, so that stale trust is served."""
    asked = Asked({IMAGE: TrustStatus.TRUSTED}, lookup=LookupSettings(retries=1))
    asked.one()
    asked.clock.tick(61)
    failures = iter([RegistryUnavailable("down"), LookupTimeout("too little was left", fault=Fault.LOCAL)])

    def fail(query: TrustQuery, deadline: Deadline, call_limiter: CallLimiter) -> TrustRecord:
        raise next(failures)

    monkeypatch.setattr(asked.source, "fetch", fail)
    assert asked.one() == "trusted from stale"


@pytest.mark.parametrize(
    ("retries", "faults", "told_as", "calls"),
    [
        (1, [Fault.REGISTRY, Fault.IMAGE], "trusted from swr", 3),
        (1, [Fault.REGISTRY, Fault.IMAGE, Fault.IMAGE], "unknown: unavailable", 3),
        (1, [Fault.REGISTRY, Fault.IMAGE, Fault.REGISTRY], "trusted from stale", 3),
        (2, [Fault.REGISTRY, Fault.IMAGE, Fault.IMAGE], "unknown: unavailable", 3),
        (2, [Fault.REGISTRY, Fault.REGISTRY, Fault.IMAGE], "trusted from swr", 4),
        (1, [Fault.IMAGE, Fault.IMAGE], "unknown: unavailable", 2),
        (0, [Fault.IMAGE], "unknown: unavailable", 1),
    ],
)
def test_registry_that_recovers_during_attempt_gets_another(
    monkeypatch: pytest.MonkeyPatch, retries: int, faults: list[Fault], told_as: str, calls: int
) -> None:
    """Its call failed and its control requests did not, which does not show a fault of the image yet."""
    asked = Asked({IMAGE: TrustStatus.TRUSTED}, lookup=LookupSettings(retries=retries))
    asked.one()
    asked.clock.tick(61)
    failures = iter(faults)
    made: list[Fault | None] = []
    fetch = asked.source.fetch

    def fail(query: TrustQuery, deadline: Deadline, call_limiter: CallLimiter) -> TrustRecord:
        made.append(next(failures, None))
        if made[-1] is None:
            return fetch(query, deadline, call_limiter)
        raise RegistryUnavailable("reset", fault=made[-1])

    monkeypatch.setattr(asked.source, "fetch", fail)
    assert asked.one() == told_as
    assert len(made) == calls


@pytest.mark.parametrize("failure", [Unauthorized("no"), Forbidden("no"), MalformedAnswer("?")])
def test_permanent_failures_are_not_retried(failure: TrustLookupError) -> None:
    """In particular a failed authentication: five of them lock an account."""
    asked = Asked({IMAGE: failure}, lookup=LookupSettings(retries=3))
    asked.one()
    assert asked.source.asked == [IMAGE]


def test_blocked_account_is_not_called_and_admits_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """Fault D6: all registries of the account wait, also with other settings; other accounts do not."""
    asked = Asked({IMAGE: TrustStatus.TRUSTED}, CacheSettings(trusted=60))
    other = CredentialSettings("token", token_file="/etc/swr/another")
    asked.one()
    asked.clock.tick(61)
    asked.source.facts = dict.fromkeys(
        (IMAGE, "shop/api:1", "shop/db:1"),
        Throttled("blocked", fault=Fault.REGISTRY, retry_after=1800, blocks_account=True),
    )
    assert [asked.one(), asked.one()] == ["unknown: throttled"] * 2
    asked.lookup.configure(asked.settings, LookupSettings(retries=0, calls_per_second=10))
    (answer,) = asked.look_up(question("shop/api:1", project_id="p2"))
    assert isinstance(answer, Failed)
    assert str(answer.failure) == "SWR has blocked the account"
    assert asked.source.asked == [IMAGE] * 2
    assert asked.one("shop/db:1", credentials=other) == "unknown: throttled"
    assert asked.source.asked == [IMAGE] * 2 + ["shop/db:1"]
    ((name, seconds), _) = asked.notes.named("account_blocked")
    assert name == "swr.cn-north-4.myhuaweicloud.com"
    assert isinstance(seconds, float)
    assert 1800 <= seconds <= 1980
    logged = [
        record.getMessage() for record in caplog.records if record.name == "webhook.trust.registry_queue"
    ]
    assert len(logged) == 2
    assert logged[0] == f"swr.cn-north-4.myhuaweicloud.com: blocked; no call is made for {seconds:.0f} s"


def test_records_survive_policy_change_with_same_registry() -> None:
    """They are dropped if the registry differs."""
    asked = Asked({IMAGE: TrustStatus.TRUSTED})
    asked.one()
    asked.lookup.retain([registry()])
    asked.lookup.configure(CacheSettings(trusted=120), LookupSettings(retries=0))
    assert asked.one() == "trusted from cache"
    changed: Registry = registry(project_id="another")
    asked.lookup.retain([changed])
    assert asked.one(project_id="another") == "trusted from swr"


def test_warm_up_looks_up_uncached_images_in_background() -> None:
    """Each image once, and no request waits."""
    asked = Asked({IMAGE: TrustStatus.TRUSTED, "shop/api:1": TrustStatus.TRUSTED})
    asked.one()
    asked.lookup.warm([question().query, question("shop/api:1").query, question("shop/api:1").query])
    eventually(lambda: asked.lookup.sizes == (2, 0, 0))
    assert sorted(asked.source.asked) == ["shop/api:1", IMAGE]


@pytest.mark.slow
def test_full_queue_throttles_at_once() -> None:
    """Every growing structure is bounded."""
    asked = Asked({}, lookup=LookupSettings(concurrency=1, retries=0))
    gate = asked.hold()
    from webhook.trust import registry_queue as queue

    images = [question(f"shop/many:{index}") for index in range(queue.MAX_WAITING + 10)]
    answers: list[LookupResult] = []
    thread = spawn(lambda: answers.extend(asked.look_up(*images, seconds=0.05)), "asks")
    thread.join(GUARD)
    gate.set()
    assert [told(answer) for answer in answers].count("unknown: throttled") >= 8


def test_breaker_opens_after_consecutive_failures_of_endpoint() -> None:
    """The metric shows it, and further lookups fail without a call."""
    asked = Asked({})
    asked.source.facts = {f"shop/web:{index}": RegistryUnavailable("down") for index in range(20)}
    answers = [asked.one(f"shop/web:{index}") for index in range(20)]
    assert answers == ["unknown: unavailable"] * 20
    assert len(asked.source.asked) == 8
    assert asked.notes.named("breaker_changed") == [("swr.cn-north-4.myhuaweicloud.com", "open")]


def test_open_breaker_skips_pause_before_retry(monkeypatch: pytest.MonkeyPatch) -> None:
    """The breaker would not allow the retry."""
    asked = Asked({}, lookup=LookupSettings(retries=1))
    asked.source.facts = {f"shop/web:{index}": RegistryUnavailable("down") for index in range(5)}
    pauses: list[float] = []
    sleep = time.sleep

    def record(seconds: float) -> None:
        """Record the pauses before retries. Others may sleep at the same time."""
        if seconds < RETRY_PAUSE[0]:
            sleep(seconds)
        else:
            pauses.append(seconds)

    monkeypatch.setattr("webhook.trust.registry_queue.time.sleep", record)
    for index in range(4):
        asked.one(f"shop/web:{index}")
    assert len(asked.source.asked) == 8
    pauses.clear()
    assert asked.one("shop/web:4") == "unknown: unavailable"
    assert pauses == []


def test_lookup_without_call_uses_no_token() -> None:
    """While a credential is paused or the circuit breaker is open, other lookups can use the rate."""

    class PausedSource(FakeTrustSource):
        def fetch(self, *values: Any) -> TrustRecord:
            raise Unauthorized("the credential rests")

    settings = LookupSettings(retries=0, calls_per_second=0.1)
    lookup = TrustLookup(PausedSource({}, FakeClock()), CacheSettings(), settings, RecorderSpy())
    answers = [
        told(lookup.look_up([question(f"shop/web:{index}")], Deadline.after(GUARD))[0]) for index in range(20)
    ]
    assert answers == ["unknown: unauthorized"] * 20
