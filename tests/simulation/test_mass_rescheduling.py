"""A node group is lost: 80 replicas, 1,000 Pods at once, and an SWR that allows 50 calls per second.

The product's own code runs on virtual time (``virtual.py``), from the review to the call: validator, lookup,
cache, single flight, queues, rate limiter, back-off, breaker. Only the call itself is simulated.

The model leaves out the API server and the network before the webhook, the webhook's own processing time, and
TLS and connections to SWR. It leaves out the traffic of running images, which refreshes them, and nodes that
pull. It leaves out a controller that creates Pods in growing batches, which sends fewer reviews at once than
here. It leaves out the retries of kubectl and client-go before a controller sees the error, which are the
same pause. SWR's limit is a window of a second; calls above it are rejected at once and cost no quota. The
documentation of SWR does not say whether its limit is like this. Replicas start with empty caches and without
a snapshot.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Iterator
from functools import partial

import pytest

from tests.simulation.virtual import START, VirtualTime, virtual_time
from tests.support.builders import HOST, pod, policy, request
from tests.support.fakes import RecorderSpy
from webhook.admission.validator import Validator
from webhook.deadlines import Deadline
from webhook.errors import Fault, Throttled
from webhook.server.reviews import time_to_decide
from webhook.trust.lookup import TrustLookup
from webhook.trust.records import CallLimiter, TrustQuery, TrustRecord, TrustStatus
from webhook.trust.settings import CacheSettings, LookupSettings

REPLICAS = 80
PODS = 1000
QUOTA = 50
LIMIT = 300.0
"""Seconds within which all Pods must be admitted."""


class Quota:
    """Implements ``TrustSource``: an SWR with so many answers per second, and a 429 for each further call."""

    def __init__(self, clock: VirtualTime, per_second: int, retry_after: float | None) -> None:
        self._clock = clock
        self._per_second = per_second
        self._retry_after = retry_after
        self.answered: Counter[int] = Counter()

    def fetch(self, query: TrustQuery, deadline: Deadline, call_limiter: CallLimiter) -> TrustRecord:
        with call_limiter.call(deadline):
            self._clock.sleep(random.uniform(0.01, 0.03))
            second = math.floor(self._clock.now)
            if self.answered[second] >= self._per_second:
                raise Throttled("429", retry_after=self._retry_after, fault=Fault.REGISTRY)
            self.answered[second] += 1
            self._clock.sleep(random.uniform(0.03, 0.2))
        return TrustRecord(TrustStatus.TRUSTED, self._clock.now, "sha256:" + "a" * 64)


class RetryingPods:
    """Pods that are retried, each time at another replica, until they are created."""

    def __init__(self, clock: VirtualTime, source: Quota, replicas: int) -> None:
        self._clock = clock
        self.admitted: list[float] = []
        rules, lookup = policy(), LookupSettings()
        self._gates = [
            Validator(lambda: rules, TrustLookup(source, CacheSettings(), lookup, RecorderSpy(), clock.time))
            for _ in range(replicas)
        ]

    def create(self, images: list[str]) -> None:
        """Retry as a controller does: after the pause in the answer, while a retry may succeed."""
        while True:
            deadline = Deadline.after(time_to_decide("timeout=5s"))
            began = self._clock.now
            decision = random.choice(self._gates).validate(request(pod(*images)), deadline)
            assert self._clock.now - began <= time_to_decide("timeout=5s") + 0.001
            if decision.allowed:
                self.admitted.append(self._clock.now - START)
                return
            assert decision.code in (429, 503), decision.message
            assert 1 <= decision.retry_after_seconds <= 5
            self._clock.sleep(decision.retry_after_seconds)


@pytest.fixture
def clock() -> Iterator[VirtualTime]:
    """Return a virtual clock for all lookups and waits."""
    with virtual_time(seed=7) as clock:
        yield clock


@pytest.mark.slow
@pytest.mark.parametrize(
    ("distinct", "each", "retry_after"),
    [(1000, 1, None), (100, 1, 2.0), (300, 3, 30.0)],
    ids=["all different", "deployments", "three images, long pauses"],
)
def test_1000_pods_are_admitted_within_five_minutes(
    clock: VirtualTime, distinct: int, each: int, retry_after: float | None
) -> None:
    """For any number of shared images, and any Retry-After of SWR.

    It takes half a minute to a minute and a half. If the pauses of all replicas ended together, most Pods
    would still wait after five minutes: SWR's quota would be unused, and then exceeded.
    """
    source = Quota(clock, QUOTA, retry_after)
    crowd = RetryingPods(clock, source, REPLICAS)
    for index in range(PODS):
        images = [f"{HOST}/shop/web-{(index * each + part) % distinct}:1" for part in range(each)]
        clock.spawn(partial(crowd.create, images))
    clock.run(LIMIT)
    assert len(crowd.admitted) == PODS
