"""A flood of cold images leaves a share to other namespaces, other accounts and the images in use.

The product's own code on virtual time (``virtual.py``); SWR takes 100 ms for each call and has no limit.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from functools import partial

import pytest

from tests.simulation.virtual import START, VirtualTime, virtual_time
from tests.support.builders import registry
from tests.support.fakes import RecorderSpy
from webhook.deadlines import Deadline
from webhook.errors import Fault, LookupTimeout, Throttled
from webhook.registries import CredentialSettings, Evidence, Registry
from webhook.trust.lookup import Failed, Found, LookupRequest, LookupResult, TrustLookup
from webhook.trust.records import CallLimiter, TrustQuery, TrustRecord, TrustStatus
from webhook.trust.settings import CacheSettings, LookupSettings

REVIEW = 4.0
"""Seconds that a review may take."""


class RetryingClient:
    """Implements ``TrustSource``: every image is trusted, and every answer takes the same time."""

    def __init__(self, clock: VirtualTime, seconds: float = 0.1) -> None:
        self._clock = clock
        self.seconds = seconds
        self.calls: defaultdict[str, int] = defaultdict(lambda: 1)
        """The number of calls that an image takes, by organization."""
        self.asked: Counter[str] = Counter()

    def fetch(self, query: TrustQuery, deadline: Deadline, call_limiter: CallLimiter) -> TrustRecord:
        for _ in range(self.calls[query.organization]):
            self._call(query, deadline, call_limiter)
        return TrustRecord(TrustStatus.TRUSTED, self._clock.now)

    def _call(self, query: TrustQuery, deadline: Deadline, call_limiter: CallLimiter) -> None:
        with call_limiter.call(deadline):
            self.asked[query.organization] += 1
            if self.seconds > deadline.remaining():
                self._clock.sleep(deadline.remaining())
                raise LookupTimeout("it did not answer in time", fault=Fault.REGISTRY)
            self._clock.sleep(self.seconds)


class Cluster:
    """One replica, and namespaces that send reviews to it."""

    def __init__(self, clock: VirtualTime) -> None:
        self.clock = clock
        self.source = RetryingClient(clock)
        self.lookup = TrustLookup(self.source, CacheSettings(), LookupSettings(), RecorderSpy(), clock.time)

    def look_up(
        self, namespace: str, image: str, where: Registry | None = None
    ) -> tuple[LookupResult, float]:
        """Look up an image of the namespace's organization; return the answer and the seconds it took."""
        began = self.clock.now
        query = TrustQuery(where or registry(), namespace, image, "1")
        (answer,) = self.lookup.look_up([LookupRequest(query, None, namespace)], Deadline.after(REVIEW))
        return answer, self.clock.now - began

    def ask_now(self, namespace: str, image: str) -> LookupResult:
        """Start a lookup, and advance the clock until its answer is there."""
        answers: list[LookupResult] = []
        self.clock.spawn(lambda: answers.append(self.look_up(namespace, image)[0]))
        self.clock.run(REVIEW + 0.001)
        return answers[0]

    def flood(self, namespace: str, reviews: int = 500, where: Registry | None = None) -> None:
        """Look up new images continuously, with so many reviews at any time."""

        def go_on(number: int) -> None:
            count = 0
            while True:
                _, seconds = self.look_up(namespace, f"flood-{number}-{count}", where)
                count += 1
                if not seconds:
                    self.clock.sleep(1.0)

        for number in range(reviews):
            self.clock.spawn(partial(go_on, number))

    def each(self, seconds: float, act: Callable[[int], object]) -> None:
        """Repeat a function beside all other work."""

        def go_on() -> None:
            for count in range(1_000_000):
                self.clock.sleep(seconds)
                self.clock.spawn(partial(act, count))

        self.clock.spawn(go_on)


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """Return a replica on virtual time."""
    with virtual_time(seed=11) as clock:
        yield Cluster(clock)


def test_flood_of_one_namespace_leaves_others_their_share(cluster: Cluster) -> None:
    """A cold image of a quiet namespace is known within a second, regardless of the load of the noisy one."""
    answers: list[tuple[LookupResult, float]] = []
    cluster.flood("noisy")
    cluster.clock.run(10)
    cluster.each(0.5, lambda count: answers.append(cluster.look_up("quiet", f"new-{count}")))
    cluster.clock.run(60)
    assert len(answers) > 100
    assert {type(answer) for answer, _ in answers} == {Found}
    assert max(seconds for _, seconds in answers) < 1.0


@pytest.mark.parametrize(
    ("calls", "seconds"),
    [
        pytest.param({"quiet": 4, "noisy": 1}, 1.5, id="names that do not exist"),
        pytest.param({"quiet": 4, "noisy": 4}, 1.5, id="unsigned images"),
        pytest.param({"quiet": 8, "noisy": 1000}, 3.0, id="images with endless lists of signatures"),
    ],
)
def test_flood_leaves_others_calls_for_signatures(
    cluster: Cluster, calls: dict[str, int], seconds: float
) -> None:
    """A lookup of signatures takes several calls. Each of them waited behind the reservations of the flood,
    for 2.9 seconds, and every cold signed image of other namespaces was denied.
    """
    answers: list[tuple[LookupResult, float]] = []
    cluster.source.calls.update(calls)
    where = registry(evidence=Evidence.SIGNATURE)
    cluster.flood("noisy", where=where)
    cluster.each(0.5, lambda count: answers.append(cluster.look_up("quiet", f"new-{count}", where)))
    cluster.clock.run(60)
    assert len(answers) > 100
    assert {type(answer) for answer, _ in answers} == {Found}
    assert max(took for _, took in answers) < seconds


@pytest.mark.slow
def test_images_in_use_stay_fresh_during_flood(cluster: Cluster) -> None:
    """They have a tenth of the calls: a hundred images are refreshed early, and no review waits for them."""
    late: list[float] = []

    def use(count: int) -> None:
        _, seconds = cluster.look_up("quiet", f"used-{count % 100}")
        if cluster.clock.now > START + 60:
            late.append(seconds)

    cluster.each(0.05, use)
    cluster.clock.run(30)
    cluster.flood("noisy", 200)
    cluster.clock.run(150)
    assert len(late) > 2000
    assert max(late) == 0.0


def test_flood_does_not_cause_stale_results(cluster: Cluster) -> None:
    """An author who can use up our own limit could otherwise choose when SWR is not queried."""
    cluster.ask_now("noisy", "revoked")
    cluster.clock.run(120)
    cluster.flood("noisy", 2000)
    cluster.clock.run(10)
    answer = cluster.ask_now("noisy", "revoked")
    assert isinstance(answer, Failed)
    assert isinstance(answer.failure, Throttled)
    assert answer.failure.fault is Fault.LOCAL


def test_unresponsive_endpoint_does_not_delay_cached_answers(cluster: Cluster) -> None:
    """A thousand reviews wait for it, and as many behind them."""
    other = registry(endpoint="https://other.example.com")
    cluster.ask_now("quiet", "used")
    cluster.source.seconds = 1e9
    for index in range(1000):
        cluster.clock.spawn(partial(cluster.look_up, f"team-{index}", "cold", other))
        cluster.clock.spawn(partial(cluster.look_up, f"team-{index}", "cold"))
    cluster.clock.run(1.0)
    took: list[float] = []
    for _ in range(10):
        cluster.clock.spawn(lambda: took.append(cluster.look_up("quiet", "used")[1]))
        cluster.clock.run(0.1)
    assert took == [0.0] * 10


def test_reviews_waiting_for_unresponsive_endpoint_end_at_deadline(cluster: Cluster) -> None:
    """Every review is answered."""
    cluster.source.seconds = 1e9
    took: list[float] = []

    def look_up(index: int) -> None:
        took.append(cluster.look_up(f"team-{index}", "cold")[1])

    for index in range(1000):
        cluster.clock.spawn(partial(look_up, index))
    cluster.clock.run(REVIEW + 0.001)
    assert len(took) == 1000
    assert max(took) <= REVIEW


@pytest.mark.parametrize("trouble", ["flood", "throttled"])
def test_accounts_at_one_endpoint_do_not_affect_each_other(
    monkeypatch: pytest.MonkeyPatch, cluster: Cluster, trouble: str
) -> None:
    """Two accounts share a host: each has its own rate limit and its own pauses."""
    other = registry(credentials=CredentialSettings("token", token_file="/etc/swr/other"))
    if trouble == "flood":
        cluster.flood("noisy")
    else:
        fetch = cluster.source.fetch

        def refuse(query: TrustQuery, deadline: Deadline, call_limiter: CallLimiter) -> TrustRecord:
            if query.organization != "noisy":
                return fetch(query, deadline, call_limiter)
            with call_limiter.call(deadline):
                raise Throttled("429", retry_after=10.0, fault=Fault.REGISTRY)

        monkeypatch.setattr(cluster.source, "fetch", refuse)
        cluster.each(0.1, lambda count: cluster.look_up("noisy", f"cold-{count}"))
    answers: list[tuple[LookupResult, float]] = []
    cluster.clock.run(10)
    cluster.each(0.5, lambda count: answers.append(cluster.look_up("quiet", f"new-{count}", other)))
    cluster.clock.run(60)
    assert {type(answer) for answer, _ in answers} == {Found}
    assert max(seconds for _, seconds in answers) < 1.0
