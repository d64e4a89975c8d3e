"""Simulated authors of Pods against a healthy SWR: no untrusted image is ever admitted.

The product's own code runs on virtual time (``virtual.py``), from the review to the HTTP exchange: validator,
lookup, cache, queues, rate limiter, breaker, client, tag lists. SWR answers every call well within
``lookup.timeout``, and a call above its limit with 429. It fails for one organization, the connection breaks
for another, and for a third there is no answer at all. Sometimes the answer to a control request is lost, but
not to two in a row.

Hypothesis draws the actions of authors: Pods of many names, repeated at any moment, with any timeout, from
any namespace. They use tags, invented digests of a repository whose list is long, and images for which SWR
fails.

Faults B1 to B5 and B9 were found by hand; each of them is an example here, too.
"""

from __future__ import annotations

import itertools
import json
import math
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.simulation.virtual import VirtualTime, virtual_time
from tests.support.builders import HOST, pod, policy, registry, request
from tests.support.fakes import FakeCredential, RecorderSpy
from webhook.admission.decision import Decision
from webhook.admission.validator import Validator
from webhook.deadlines import Deadline
from webhook.errors import Fault, LookupTimeout, RegistryUnavailable
from webhook.http_client.messages import HttpRequest, HttpResponse
from webhook.policy.findings import Finding
from webhook.policy.model import Policy
from webhook.registries import RegistryTable
from webhook.server.reviews import time_to_decide
from webhook.swr.fallback import PROBE
from webhook.swr.source import SwrTrustSource
from webhook.trust.lookup import TrustLookup
from webhook.trust.settings import CacheSettings, LookupSettings

LOST = "shop/lost:1"
"""An image that SWR no longer reports as trusted, although it did before."""

NEVER = "shop/never:1"
KEPT = "quiet/web:1"
CHOKE = "choke/web:1"
DIGEST = "sha256:" + "a" * 64
LONG_LIST = 13
"""Pages of the list of ``shop/large``."""

BETWEEN_LOSSES = 10.0
"""Seconds between two answers that SWR loses; with less it would be an outage."""

TRUSTED = 60.0
NAMES = itertools.count()


class HealthySwr:
    """Implements ``Transport``: a healthy SWR, in which each call takes ``seconds``."""

    def __init__(self, clock: VirtualTime, seconds: float, quota: int) -> None:
        self._clock = clock
        self._seconds = seconds
        self._quota = quota
        self._calls: Counter[int] = Counter()
        self.trusted = {LOST, KEPT}
        self.is_down = False
        self.ca_file_problem = ""
        self._losing = False
        self._lost_at = -math.inf

    def lose_control_request(self) -> None:
        """Drop the answer to the next control request, unless one was lost a moment ago."""
        self._losing = self._clock.now >= self._lost_at + BETWEEN_LOSSES

    def send(self, request: HttpRequest, deadline: Deadline) -> HttpResponse:
        _, _, _, organization, _, repository, _, *tag = request.path.strip("/").split("/")
        is_lost = self._losing and organization.startswith(PROBE)
        if is_lost:
            self._losing, self._lost_at = False, self._clock.now
        if is_lost or organization == "hang" or self._seconds > deadline.remaining():
            self._clock.sleep(deadline.remaining())
            raise LookupTimeout("it did not answer in time", fault=Fault.REGISTRY)
        self._clock.sleep(self._seconds)
        second = math.floor(self._clock.now)
        self._calls[second] += 1
        if self._calls[second] > self._quota:
            return _answer(429, {"error_code": "APIGW.0308"})
        if organization == "choke" or self.is_down:
            return _answer(500, {"error_code": "SVCSTG.SWR.5000000"})
        if organization == "cut":
            raise RegistryUnavailable("the connection broke")
        name = f"{organization}/{unquote(repository).replace('$', '/')}"
        return self._show(name, tag[0]) if tag else self._list(dict(request.query))

    def received(self, base_url: str) -> int:
        return 0

    def _show(self, name: str, tag: str) -> HttpResponse:
        image = f"{name}:{tag}"
        if image not in {LOST, NEVER, KEPT}:
            return _answer(404, {"error_code": "SVCSTG.SWR.4040115"})
        return _answer(200, {"tag": tag, "is_trusted": image in self.trusted, "digest": DIGEST})

    def _list(self, query: dict[str, str]) -> HttpResponse:
        page = int(query.get("marker", "0")) + 1
        tags = [{"tag": f"t{page}", "digest": "sha256:" + f"{page:064x}", "is_trusted": True}]
        last = page == LONG_LIST
        return _answer(200, {"tags": tags, "has_more": not last, "nextMarker": None if last else str(page)})


def _answer(status: int, body: object) -> HttpResponse:
    return HttpResponse(status, {}, json.dumps(body).encode())


@dataclass(frozen=True)
class Limits:
    """The operator's settings, the time of a call to SWR, and SWR's calls per second."""

    calls_per_second: float = 50.0
    concurrency: int = 128
    seconds: float = 0.1
    quota: int = 200
    lenient: bool = False
    organizations: frozenset[str] = frozenset()


class SwrEnvironment:
    """One replica, its authors and their decisions."""

    def __init__(self, clock: VirtualTime, limits: Limits) -> None:
        self.clock = clock
        self.swr = HealthySwr(clock, limits.seconds, limits.quota)
        lookup = LookupSettings(concurrency=limits.concurrency, calls_per_second=limits.calls_per_second)
        self.policy: Policy = policy(
            digest_only="resolve",
            on_lookup_failure="allow" if limits.lenient else "deny",
            cache=CacheSettings(trusted=TRUSTED),
            lookup=lookup,
            registries=RegistryTable.of([registry(organizations=limits.organizations)]),
        )
        source = SwrTrustSource(self._open_transport, lambda *_: FakeCredential(), RecorderSpy())
        self.lookup = TrustLookup(source, self.policy.cache, lookup, RecorderSpy(), clock.time)
        self.validator = Validator(lambda: self.policy, self.lookup, clock=clock.time)
        self.lost_at = math.inf
        self.decisions: list[tuple[float, tuple[str, ...], Decision]] = []

    def _open_transport(self, *, ca_file: str | None, proxy: str | None) -> HealthySwr:
        return self.swr

    def create(self, *images: str, namespace: str = "shop", timeout: int = 10) -> None:
        """Create a Pod as a dry run, and check the decision when it is there."""
        review = request(pod(*(f"{HOST}/{image}" for image in images)), namespace=namespace, dryRun=True)

        def decide() -> None:
            deadline = Deadline.after(time_to_decide(f"timeout={timeout}s"))
            decision = self.validator.validate(review, deadline)
            self.decisions.append((self.clock.now, images, decision))

        self.clock.spawn(decide)

    def lose_trust(self) -> None:
        """Admit LOST and KEPT, then revoke the trust in LOST and let its record become stale."""
        self.create(LOST)
        self.create(KEPT, namespace="quiet")
        self.clock.run(10.0)
        assert [decision.allowed for _, _, decision in self.decisions] == [True, True]
        self.swr.trusted.discard(LOST)
        self.lost_at = self.clock.now
        self.clock.run(TRUSTED + 1.0)

    def check(self) -> None:
        """Assert that no image was admitted that SWR did not trust then or within ``cache.trusted``."""
        for at, images, decision in self.decisions:
            if not decision.allowed:
                continue
            assert set(images) <= {LOST, KEPT}, (images, decision.annotations)
            if LOST in images:
                assert at <= self.lost_at + TRUSTED, (at - self.lost_at, decision.annotations)


@contextmanager
def world(limits: Limits) -> Iterator[SwrEnvironment]:
    """Return a replica on virtual time."""
    with virtual_time(seed=5) as clock:
        yield SwrEnvironment(clock, limits)


def new_names(count: int, organization: str = "shop") -> list[str]:
    """Return names that have not been looked up."""
    return [f"{organization}/n{next(NAMES)}:1" for _ in range(count)]


def new_digests(count: int, repository: str = "shop/large") -> list[str]:
    """Return invented digests of a repository, by default of one whose list takes long to read."""
    return [f"{repository}@sha256:{next(NAMES):064x}" for _ in range(count)]


Action = tuple[Any, ...]
"""The actions of an author, by name with their arguments. ``flood``: Pods, names each, namespace.
``digests``: how many, repository. ``choke``: organization, names. ``lose`` is not an author's, but one may
wait for it. ``try``: image, how often, pause between, timeout, names before it, namespace. ``wait``:
seconds.
"""


def act(there: SwrEnvironment, action: Action) -> None:
    """Do one action of an author."""
    match action:
        case ("flood", pods, names, namespace):
            for _ in range(pods):
                there.create(*new_names(names), namespace=namespace)
        case ("digests", count, repository):
            there.create(*new_digests(count, repository))
        case ("choke", organization, count):
            for name in new_names(count, organization):
                there.create(name)
        case ("try", image, times, pause, timeout, names, namespace):
            for _ in range(times):
                there.create(*new_names(names), image, namespace=namespace, timeout=timeout)
                there.clock.run(pause)
        case ("lose",):
            there.swr.lose_control_request()
        case ("wait", seconds):
            there.clock.run(seconds)
        case _:
            raise AssertionError(action)


NAMESPACES = st.sampled_from(["shop", "other", "third"])
ACTIONS = st.one_of(
    st.tuples(st.just("flood"), st.integers(1, 6), st.integers(1, 100), NAMESPACES),
    st.tuples(st.just("digests"), st.integers(1, 12), st.sampled_from(["shop/large", "hang/web"])),
    st.tuples(st.just("choke"), st.sampled_from(["choke", "cut", "hang"]), st.integers(1, 20)),
    st.tuples(
        st.just("try"),
        st.sampled_from([LOST, LOST, NEVER, CHOKE]),
        st.integers(1, 20),
        st.sampled_from([0.0, 0.05, 0.3, 1.0, 3.1]),
        st.integers(1, 10),
        st.sampled_from([0, 0, 1, 50]),
        NAMESPACES,
    ),
    st.just(("lose",)),
    st.tuples(st.just("wait"), st.sampled_from([0.1, 1.0, 5.0, 30.0])),
)
LIMITED = frozenset({"choke", "cut", "hang", "quiet", "shop"})
"""The organizations of a policy that names all of them: SWR does not answer about the first three."""

LIMITS = st.builds(
    Limits,
    calls_per_second=st.sampled_from([2.0, 10.0, 50.0]),
    concurrency=st.sampled_from([1, 4, 16, 128]),
    seconds=st.sampled_from([0.02, 0.3, 1.0]),
    quota=st.sampled_from([20, 70, 200]),
    lenient=st.booleans(),
    organizations=st.sampled_from([frozenset(), LIMITED]),
)

TRY_AT_ANY_MOMENT: Action = ("try", LOST, 20, 0.3, 2, 0, "shop")
B1 = Limits(calls_per_second=10.0, seconds=0.4), [("flood", 1, 50, "shop"), TRY_AT_ANY_MOMENT]
B2 = Limits(concurrency=16, seconds=0.4), [("flood", 1, 100, "shop"), TRY_AT_ANY_MOMENT]
B3 = (
    Limits(calls_per_second=10.0, lenient=True),
    [("flood", 3, 100, "shop"), ("try", NEVER, 3, 1.0, 5, 0, "shop")],
)
B4 = (
    Limits(seconds=0.3),
    [("digests", 9, "shop/large"), ("wait", 3.1)] * 2 + [("try", LOST, 10, 0.3, 10, 0, "shop")],
)
B3_BY_QUOTA = (
    Limits(quota=20, lenient=True),
    [("flood", 1, 60, "shop"), ("try", NEVER, 10, 0.3, 5, 0, "shop"), ("try", LOST, 10, 0.3, 5, 0, "shop")],
)
B4_BY_FAILURE = (
    Limits(lenient=True),
    [("choke", "choke", 20), ("try", LOST, 3, 0.3, 10, 0, "shop"), ("try", CHOKE, 1, 0.3, 10, 0, "shop")],
)
B4_BY_BREAK = Limits(), [("choke", "cut", 20), ("try", LOST, 3, 0.3, 10, 0, "shop")]
B4_BY_EACH_OTHER = (
    Limits(organizations=LIMITED),
    [("choke", "cut", 12), ("choke", "choke", 12), ("try", LOST, 3, 0.3, 10, 0, "shop")],
)
B4_BY_SILENCE = Limits(), [("choke", "hang", 12), ("wait", 3.1), ("try", LOST, 20, 0.1, 10, 0, "shop")]
B4_BY_ONE_SILENCE = Limits(lenient=True), [("choke", "hang", 1), ("wait", 4.0)]
B4_BY_A_LOSS = (
    Limits(),
    [
        ("lose",),
        ("choke", "hang", 12),
        *[("wait", 0.1), ("choke", "hang", 1)] * 40,
        ("try", LOST, 20, 0.1, 10, 0, "shop"),
    ],
)
B4_BY_ONE_LOSS = Limits(lenient=True), [("lose",), ("choke", "hang", 1), ("wait", 4.0)]
B4_BY_ONE_LIST = (
    Limits(lenient=True),
    [("digests", 12, "hang/web"), ("wait", 3.1), ("try", LOST, 20, 0.1, 10, 0, "shop")],
)


@pytest.mark.slow
@settings(max_examples=200, suppress_health_check=list(HealthCheck), deadline=None, derandomize=True)
@given(LIMITS, st.lists(ACTIONS, min_size=1, max_size=6))
@example(*B1)
@example(*B2)
@example(*B3)
@example(*B4)
@example(*B3_BY_QUOTA)
@example(*B4_BY_FAILURE)
@example(*B4_BY_BREAK)
@example(*B4_BY_EACH_OTHER)
@example(*B4_BY_SILENCE)
@example(*B4_BY_ONE_SILENCE)
@example(*B4_BY_A_LOSS)
@example(*B4_BY_ONE_LOSS)
@example(*B4_BY_ONE_LIST)
def test_author_cannot_get_untrusted_image_admitted(limits: Limits, actions: list[Action]) -> None:
    """Faults B1 to B4: floods, timing, names, digests and namespaces have no effect, even under a lenient
    policy.
    """
    with world(limits) as there:
        there.lose_trust()
        for action in actions:
            act(there, action)
        there.clock.run(15.0)
        there.check()


def test_digests_of_long_list_do_not_open_breaker() -> None:
    """Fault B4: a failure that depends on the image's repository says nothing about the endpoint."""
    with world(Limits(seconds=0.3)) as there:
        there.lose_trust()
        for _ in range(3):
            for digest in new_digests(9):
                there.create(digest)
            there.clock.run(3.1)
        before = len(there.decisions)
        there.create(KEPT, namespace="quiet", timeout=5)
        there.create("other/new:1", namespace="other", timeout=5)
        there.clock.run(5.0)
        kept, new = sorted(there.decisions[before:], key=lambda item: item[1] != (KEPT,))[:2]
        assert kept[2].allowed
        assert "tag does not exist" in new[2].message


@pytest.mark.parametrize("organization", ["choke", "hang"])
def test_failing_image_names_do_not_prolong_outage(organization: str) -> None:
    """Fault B4: after a real outage every probe of the breaker could be one of them."""
    with world(Limits(lenient=True)) as there:
        there.lose_trust()
        there.swr.is_down = True
        act(there, ("choke", organization, 20))
        there.clock.run(10.0)
        there.swr.is_down = False
        there.clock.run(25.0)
        there.decisions.clear()
        for _ in range(20):
            act(there, ("choke", organization, 1))
            there.clock.run(0.5)
            there.create(LOST)
            there.create(NEVER)
        there.clock.run(10.0)
        there.check()


def test_image_shared_with_long_pod_is_answered_by_own_namespace_queue() -> None:
    """Fault B5: a lookup that is joined waits in the queue of each namespace, not only in that of the
    first.
    """
    with world(Limits(calls_per_second=10)) as there:
        for _ in range(5):
            there.create(*new_names(100), timeout=30)
        there.clock.run(0.01)
        there.create(*new_names(99), KEPT, namespace="noisy", timeout=30)
        there.clock.run(0.5)
        there.create(KEPT, namespace="quiet", timeout=10)
        there.clock.run(8.0)
        assert [decision.allowed for _, images, decision in there.decisions if images == (KEPT,)] == [True]


def test_flood_of_one_namespace_does_not_fill_queue() -> None:
    """Fault B9: each namespace has a limit below the one for all."""
    quiet = new_names(5, "quiet")
    with world(Limits(calls_per_second=2)) as there:
        for _ in range(120):
            there.create(*new_names(100), timeout=30)
        there.clock.run(1.0)
        there.create(*quiet, namespace="quiet", timeout=30)
        there.clock.run(29.0)
        (decision,) = [decision for _, images, decision in there.decisions if images == tuple(quiet)]
        assert {item.check.finding for item in decision.results} == {Finding.MISSING}
