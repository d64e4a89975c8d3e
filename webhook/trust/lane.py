"""One registry's lane: who is asked next, by how many at once, and when not at all.

A lane has its own queue, workers and breaker, so that one account's trouble never blocks another's.
Namespaces take turns: a flood of cold images from one leaves the others their share.
"""

from __future__ import annotations

import random
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Final, Protocol

from webhook.deadlines import Deadline, spawn
from webhook.errors import LookupTimeout, RegistryUnavailable, Throttled, TrustLookupError
from webhook.trust.breaker import BreakerState, CircuitBreaker
from webhook.trust.flight import Flight
from webhook.trust.limiter import RateLimiter
from webhook.trust.records import TrustRecord, TrustSource
from webhook.trust.settings import LookupSettings

MAX_WAITING: Final = 10_000
"""Cold lookups that may queue for one registry."""

MAX_BACKGROUND: Final = 1_000
"""Refreshes that may queue for one registry; more are simply not made."""

BACKGROUND_TURN: Final = 10
"""Every so many lookups a refresh goes first, so that images in use do not all go cold."""

RETRY_PAUSE: Final = (0.05, 0.25)
"""Seconds before a call is repeated, drawn from here."""


class LaneRecorder(Protocol):
    """Is told how a lane fares."""

    def breaker_changed(self, registry: str, state: str) -> None:
        """Take note of the breaker's state."""
        ...  # pragma: no cover


class Lane:
    """Asks one registry, at most ``settings.concurrency`` questions at a time."""

    def __init__(
        self,
        name: str,
        source: TrustSource,
        limiter: RateLimiter,
        settings: LookupSettings,
        recorder: LaneRecorder,
        finish: Callable[[Flight, TrustRecord | TrustLookupError], None],
    ) -> None:
        """Ask ``source``; every flight ends by one call of ``finish``, from a worker."""
        self.limiter = limiter
        self.settings = settings
        self.breaker = CircuitBreaker()
        self._name = name
        self._source = source
        self._recorder = recorder
        self._finish = finish
        self._lock = threading.Lock()
        self._waiting: OrderedDict[str, deque[Flight]] = OrderedDict()
        self._count = 0
        self._background: deque[Flight] = deque()
        self._workers = 0
        self._served = 0
        self._reported = BreakerState.CLOSED

    def submit(self, flight: Flight) -> bool:
        """Queue a flight; ``False`` where the queue is full."""
        with self._lock:
            if flight.background:
                if len(self._background) >= MAX_BACKGROUND:
                    return False
                self._background.append(flight)
            else:
                if self._count >= MAX_WAITING:
                    return False
                self._waiting.setdefault(flight.tenant, deque()).append(flight)
                self._count += 1
            if self._workers >= self.settings.concurrency:
                return True
            self._workers += 1
        spawn(self._work, f"lane-{self._name}")
        return True

    def _work(self) -> None:
        while True:
            with self._lock:
                flight = self._next()
                if flight is None:
                    self._workers -= 1
                    return
                if flight.started:
                    # A refresh that somebody came to wait for stands in both queues.
                    continue
                flight.started = True
            try:
                outcome: TrustRecord | TrustLookupError = self._ask(flight)
            except TrustLookupError as error:
                outcome = error
            except Exception as error:  # noqa: BLE001 - whoever waits must be told, whatever it is
                outcome = RegistryUnavailable(f"asking failed: {type(error).__name__}: {error}")
            self._finish(flight, outcome)

    def _next(self) -> Flight | None:
        self._served += 1
        if self._background and (not self._count or self._served % BACKGROUND_TURN == 0):
            return self._background.popleft()
        if not self._waiting:
            return None
        tenant, flights = next(iter(self._waiting.items()))
        flight = flights.popleft()
        self._count -= 1
        if flights:
            self._waiting.move_to_end(tenant)
        else:
            del self._waiting[tenant]
        return flight

    def _ask(self, flight: Flight) -> TrustRecord:
        if not flight.wanted:
            raise LookupTimeout("nobody waits for it any more")
        deadline = Deadline.after(self.settings.timeout)
        for attempt in range(self.settings.retries + 1):
            try:
                return self._ask_once(flight, deadline)
            except RegistryUnavailable:
                pause = random.uniform(*RETRY_PAUSE)  # noqa: S311 - jitter
                if attempt == self.settings.retries or deadline.remaining() <= pause:
                    raise
                if self.breaker.state is not BreakerState.CLOSED:
                    raise
                time.sleep(pause)
        raise AssertionError  # pragma: no cover - the loop returns or raises

    def _ask_once(self, flight: Flight, deadline: Deadline) -> TrustRecord:
        if not self.breaker.admit(deadline.remaining()):
            raise RegistryUnavailable(f"{self._name} has not answered for a while and is left alone")
        try:
            record = self._source.fetch(
                flight.query,
                deadline,
                lambda until: self.limiter.wait_turn(until, background=flight.background),
            )
        except (LookupTimeout, RegistryUnavailable):
            self.breaker.fail()
            raise
        except Throttled as error:
            # Not a word on the endpoint's health, in either direction.
            self.breaker.release()
            if error.by_swr:
                self.limiter.back_off(error.retry_after)
            raise
        except TrustLookupError:
            self.breaker.succeed()
            raise
        except BaseException:
            self.breaker.release()
            raise
        else:
            self.breaker.succeed()
            self.limiter.ease()
            return record
        finally:
            state = self.breaker.state
            if state is not self._reported:
                self._reported = state
                self._recorder.breaker_changed(self._name, state.value)
