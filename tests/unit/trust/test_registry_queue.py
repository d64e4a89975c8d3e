"""The queue of one registry: abandoned lookups do not delay others."""

from __future__ import annotations

import gc
import logging
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import pytest

from tests.support.builders import registry
from tests.support.fakes import FakeClock, FakeTrustSource, RecorderSpy
from webhook.deadlines import Deadline
from webhook.errors import Fault, LookupTimeout, RegistryUnavailable, TrustLookupError
from webhook.trust.breaker import FAILURES_TO_OPEN, BreakerState
from webhook.trust.limiter import RateLimiter
from webhook.trust.pending_lookup import PendingLookup
from webhook.trust.records import CallLimiter, TrustQuery, TrustRecord, TrustStatus
from webhook.trust.registry_queue import MAX_ABANDONED, RegistryQueue
from webhook.trust.reservation import Reservation
from webhook.trust.settings import LookupSettings

TENANTS = 4
MANY = 2 * MAX_ABANDONED + 50


class EvictionQueue:
    """A queue without workers, and the number of lookups that were ended between two yields."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.limiter = RateLimiter(1000.0)
        source = FakeTrustSource({}, FakeClock())
        self.queue = RegistryQueue(
            "x", source, self.limiter, LookupSettings(), RecorderSpy(), lambda *_: self.end(), lambda: 0.0
        )
        monkeypatch.setattr(self.queue, "_start_worker", lambda: None)
        monkeypatch.setattr(self.queue, "_abandoning", self)
        self.stretches: list[int] = []

    def end(self) -> None:
        self.stretches[-1] += 1

    @contextmanager
    def piece(self, deadline: Deadline) -> Iterator[bool]:
        """Replace the pieces of ``LargeWork``."""
        assert deadline.remaining() > 0
        self.stretches.append(0)
        yield True

    def submit(self, name: str, tenant: str = "", *, wanted: bool = False, background: bool = False) -> None:
        """Enqueue a lookup that is still wanted, or abandoned."""
        query = TrustQuery(registry(), "shop", name, tag="1")
        pending = PendingLookup(query, background=background, waiters=int(wanted))
        assert self.queue.submit(pending, tenant)
        pending.background = False  # another caller has joined it since, and has gone again

    def next(self, *, background: bool = False) -> str:
        """Return the next lookup, ``""`` if none is left."""
        self.stretches.append(0)
        turn = Reservation(self.limiter, self.queue.breaker, 1.0, lambda: 0.0, background=background)
        pending = self.queue._next_lookup(turn)
        return pending.query.repository if pending is not None else ""


def test_abandoned_lookups_are_ended_in_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fault C3: 10,000 abandoned lookups were ended without a yield; now in pieces, one worker at a time."""
    waiting = EvictionQueue(monkeypatch)
    for tenant in range(TENANTS):
        for number in range(MANY):
            waiting.submit(f"lost{number}", f"t{tenant}")
    waiting.submit("wanted", "t2", wanted=True)
    waiting.submit("last", "t3", wanted=True)
    assert [waiting.next(), waiting.next(), waiting.next()] == ["wanted", "last", ""]
    assert sum(waiting.stretches) == TENANTS * MANY
    assert max(waiting.stretches) <= MAX_ABANDONED
    assert waiting.queue._count == 0


def test_abandoned_refreshes_are_ended_in_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fault C3: the same for refreshes that reviews have joined."""
    waiting = EvictionQueue(monkeypatch)
    for number in range(MANY):
        waiting.submit(f"lost{number}", background=True)
    waiting.submit("wanted", wanted=True, background=True)
    assert waiting.next(background=True) == "wanted"
    assert waiting.stretches == [MAX_ABANDONED, MAX_ABANDONED, MANY - 2 * MAX_ABANDONED]


def test_namespace_keeps_its_place_while_abandoned_lookups_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """A namespace with many abandoned lookups must not come last because of them."""
    waiting = EvictionQueue(monkeypatch)
    for number in range(MAX_ABANDONED):
        waiting.submit(f"lost{number}", "first")
    waiting.submit("first", "first", wanted=True)
    waiting.submit("second", "second", wanted=True)
    assert [waiting.next(), waiting.next()] == ["first", "second"]


def test_opening_and_closing_of_breaker_are_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    """A failed probe opens the breaker again, which is no news."""
    source = FakeTrustSource({"shop/web:1": RegistryUnavailable("connection refused")}, FakeClock())
    limiter, settings = RateLimiter(1000.0), LookupSettings(retries=0)
    queue = RegistryQueue("swr.test", source, limiter, settings, RecorderSpy(), lambda *_: None, lambda: 0.0)

    def look_up() -> str:
        pending = PendingLookup(TrustQuery(registry(), "shop", "web", tag="1"), background=False, waiters=1)
        reservation = Reservation(queue.limiter, queue.breaker, 1.0, lambda: 0.0, background=False)
        return str(queue._outcome(pending, reservation))

    def logged() -> list[tuple[int, str]]:
        found = [(record.levelno, record.getMessage()) for record in caplog.records]
        caplog.clear()
        return found

    caplog.set_level(logging.INFO, logger="webhook.trust.registry_queue")
    for _ in range(FAILURES_TO_OPEN - 1):
        look_up()
    assert logged() == []
    look_up()
    assert logged() == [
        (
            logging.WARNING,
            "swr.test: the circuit breaker is open after repeated failures: connection refused",
        )
    ]

    assert look_up() == "swr.test did not answer repeatedly; the circuit breaker is open"
    failures = [
        RegistryUnavailable("no file descriptor", fault=Fault.LOCAL),
        RegistryUnavailable("connection refused"),
    ]
    for failure in failures:  # the first one leaves the breaker half open, the second one opens it again
        source.facts = {"shop/web:1": failure}
        queue.breaker._open_until = 0.0
        assert look_up() == str(failure)
    assert len(source.asked) == FAILURES_TO_OPEN + 2
    assert logged() == []

    source.facts = {"shop/web:1": TrustStatus.TRUSTED}
    queue.breaker._open_until = 0.0
    look_up()
    look_up()
    assert logged() == [(logging.INFO, "swr.test: the circuit breaker is closed: lookups are answered again")]


def fail_once(failure: TrustLookupError, *, earlier_failures: int) -> RegistryQueue:
    """Return a queue after failures of the registry, the pause of the breaker and a lookup that fails so."""
    source = FakeTrustSource({"shop/web:1": failure}, FakeClock())
    limiter, settings = RateLimiter(1000.0), LookupSettings(retries=0)
    queue = RegistryQueue("swr.test", source, limiter, settings, RecorderSpy(), lambda *_: None, lambda: 0.0)
    for _ in range(earlier_failures):
        queue.breaker.fail()
    queue.breaker._open_until = 0.0
    pending = PendingLookup(TrustQuery(registry(), "shop", "web", tag="1"), background=False, waiters=1)
    reservation = Reservation(queue.limiter, queue.breaker, 1.0, lambda: 0.0, background=False)
    assert queue._outcome(pending, reservation) is failure
    return queue


@pytest.mark.parametrize(
    ("failure", "state"),
    [
        (LookupTimeout("slow name", fault=Fault.IMAGE), BreakerState.CLOSED),
        (RegistryUnavailable("name that fails", fault=Fault.IMAGE), BreakerState.CLOSED),
        (LookupTimeout("too little time", fault=Fault.LOCAL), BreakerState.HALF_OPEN),
        (LookupTimeout("no answer", fault=Fault.REGISTRY), BreakerState.OPEN),
    ],
)
def test_probe_of_image_that_fails_closes_breaker(failure: TrustLookupError, state: BreakerState) -> None:
    """Fault B4: a lookup of signatures may end at the first of two endpoints, and says nothing about the other.

    Slow names of an author could otherwise be the only probes.
    """
    queue = fail_once(failure, earlier_failures=FAILURES_TO_OPEN)
    assert queue.breaker.state is state


def test_images_that_fail_do_not_keep_breaker_closed() -> None:
    """The second of two endpoints may be down while the first one answers about others."""
    failure = LookupTimeout("slow name", fault=Fault.IMAGE)
    queue = fail_once(failure, earlier_failures=FAILURES_TO_OPEN - 1)
    queue.breaker.fail()
    assert queue.breaker.state is BreakerState.OPEN


class _Content:
    """Stands for a manifest of a megabyte; bytes have no weak references."""


class _FailingSource:
    """Implements ``TrustSource``: fails after it has read something."""

    def __init__(self) -> None:
        self.read: list[weakref.ref[_Content]] = []

    def fetch(self, query: TrustQuery, deadline: Deadline, call_limiter: CallLimiter) -> TrustRecord:
        del query, deadline, call_limiter
        self._remember(_Content())
        try:
            self._fail(_Content())
        except LookupTimeout as error:
            failure = RegistryUnavailable(error.detail, fault=Fault.IMAGE)
            raise failure from None

    def _remember(self, content: _Content) -> None:
        self.read.append(weakref.ref(content))

    def _fail(self, content: _Content) -> NoReturn:
        self._remember(content)
        raise LookupTimeout("late", fault=Fault.IMAGE)


def test_failed_lookup_keeps_nothing_that_was_read() -> None:
    """A failure refers to what its traceback shows, in a cycle: 250 MiB until the garbage was collected."""
    source = _FailingSource()
    limiter, settings = RateLimiter(1000.0), LookupSettings(retries=0)
    queue = RegistryQueue("swr.test", source, limiter, settings, RecorderSpy(), lambda *_: None, lambda: 0.0)
    pending = PendingLookup(TrustQuery(registry(), "shop", "web", tag="1"), waiters=1)
    reservation = Reservation(queue.limiter, queue.breaker, 1.0, lambda: 0.0, background=False)
    gc.disable()
    try:
        failure = queue._outcome(pending, reservation)
        assert str(failure) == "late"
        assert [content() for content in source.read] == [None, None]
    finally:
        gc.enable()
