"""Virtual time that advances only when all greenlets wait: many processes in one thread, reproducibly.

Each thread is a greenlet. It runs until it sleeps or waits; then the clock jumps to the next wake-up. The
code under test is the product's. Only its ``time`` and ``threading`` are replaced, and it holds no lock while
it waits.
"""

from __future__ import annotations

import functools
import heapq
import itertools
import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from greenlet import getcurrent, greenlet

from webhook.swr.client import SwrClient
from webhook.swr.fallback import TagDetail
from webhook.swr.organizations import Organizations
from webhook.swr.tag_lists import TagLists
from webhook.trust.breaker import CircuitBreaker
from webhook.trust.limiter import RateLimiter

START = 1_000_000.0


class VirtualTime:
    """A clock with all its pending wake-ups; also replaces the module ``time``."""

    def __init__(self) -> None:
        self.now = START
        self._queue: list[tuple[float, int, Callable[[], object]]] = []
        self._order = itertools.count()
        self._hub = getcurrent()

    def time(self) -> float:
        """Return the seconds since the epoch."""
        return self.now

    monotonic = time

    def sleep(self, seconds: float) -> None:
        """Let other greenlets run until so much time has passed."""
        self._at(seconds, getcurrent().switch)
        self._hub.switch()

    def spawn(self, work: Callable[[], object], name: str = "") -> None:
        """Start a greenlet."""
        self._at(0.0, lambda: greenlet(work, self._hub).switch())

    def run(self, seconds: float) -> None:
        """Advance the clock by so much time, and run everything that is due."""
        ends = self.now + seconds
        while self._queue and self._queue[0][0] <= ends:
            self.now, _, happen = heapq.heappop(self._queue)
            happen()
        self.now = ends

    def event(self) -> VirtualEvent:
        """Return an event on this clock."""
        return VirtualEvent(self)

    def install(self, patch: pytest.MonkeyPatch, seed: int) -> None:
        """Put all lookups, waits and limits on this clock; draw the same random numbers in each run."""
        limiter = functools.partial(RateLimiter, clock=self.monotonic, sleep=self.sleep)
        breaker = functools.partial(CircuitBreaker, clock=self.monotonic)
        patch.setattr("webhook.deadlines.time", self)
        patch.setattr("webhook.deadlines.threading", VirtualThreading(self))
        patch.setattr("webhook.admission.validator.time", self)
        for name, kind in (
            ("TagLists", TagLists),
            ("Organizations", Organizations),
            ("TagDetail", TagDetail),
        ):
            patch.setattr(f"webhook.swr.client.{name}", functools.partial(kind, clock=self.monotonic))
        patch.setattr("webhook.http_client.silence.time", self)
        patch.setattr("webhook.http_client.silence.spawn", self.spawn)
        patch.setattr("webhook.http_client.silence.threading", VirtualThreading(self))
        patch.setattr("webhook.trust.registry_queue.time", self)
        patch.setattr("webhook.trust.registry_queue.spawn", self.spawn)
        patch.setattr("webhook.trust.registry_queue.CircuitBreaker", breaker)
        patch.setattr("webhook.trust.lookup.RateLimiter", limiter)
        patch.setattr("webhook.trust.limiter.threading", VirtualThreading(self))
        patch.setattr("webhook.single_flight.threading", VirtualThreading(self))
        patch.setattr("webhook.swr.tag_lists.threading", VirtualThreading(self))
        patch.setattr("webhook.swr.source.SwrClient", functools.partial(SwrClient, clock=self.time))
        random.seed(seed)

    def _at(self, seconds: float, happen: Callable[[], object]) -> None:
        heapq.heappush(self._queue, (self.now + seconds, next(self._order), happen))


class VirtualThreading:
    """The module ``threading`` on a virtual clock, as far as lookups need it."""

    Lock = staticmethod(threading.Lock)  # no greenlet waits while it holds one

    def __init__(self, clock: VirtualTime) -> None:
        self._clock = clock

    def Event(self) -> VirtualEvent:  # noqa: N802 - the name in threading
        """Return an event."""
        return self._clock.event()

    def BoundedSemaphore(self, count: int) -> VirtualSemaphore:  # noqa: N802 - the name in threading
        """Return a semaphore."""
        return VirtualSemaphore(self._clock, count)


class VirtualSemaphore:
    """``threading.BoundedSemaphore`` on a virtual clock."""

    def __init__(self, clock: VirtualTime, count: int) -> None:
        self._clock = clock
        self._count = count
        self._changed = clock.event()

    def acquire(self, timeout: float) -> bool:
        ends = self._clock.now + timeout
        while not self._count:
            if self._clock.now >= ends:
                return False
            self._changed.wait(ends - self._clock.now)
        self._count -= 1
        return True

    def release(self) -> None:
        self._count += 1
        changed, self._changed = self._changed, self._clock.event()
        changed.set()


class VirtualEvent:
    """``threading.Event`` on a virtual clock."""

    def __init__(self, clock: VirtualTime) -> None:
        self._clock = clock
        self._set = False
        self._waiting: dict[int, greenlet] = {}
        self._tickets = itertools.count()

    def is_set(self) -> bool:
        return self._set

    def set(self) -> None:
        self._set = True
        for ticket in list(self._waiting):
            self._clock._at(0.0, functools.partial(self._wake, ticket))

    def wait(self, timeout: float) -> bool:
        if not self._set:
            ticket = next(self._tickets)
            self._waiting[ticket] = getcurrent()
            self._clock._at(timeout, functools.partial(self._wake, ticket))
            self._clock._hub.switch()
        return self._set

    def _wake(self, ticket: int) -> None:
        waiting = self._waiting.pop(ticket, None)
        if waiting is not None:
            waiting.switch()


@contextmanager
def virtual_time(seed: int) -> Iterator[VirtualTime]:
    """Yield a virtual clock that all lookups and waits use; random numbers are those of ``seed``."""
    before = random.getstate()
    try:
        with pytest.MonkeyPatch.context() as patch:
            clock = VirtualTime()
            clock.install(patch, seed=seed)
            yield clock
    finally:
        random.setstate(before)
