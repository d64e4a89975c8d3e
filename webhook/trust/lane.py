"""One registry's lane: who is asked next, by how many at once, and when not at all.

A lane has its own queue, workers and breaker, and shares its rate with lanes of the same account only, so
that one account's trouble never blocks another's. Namespaces take turns: a flood of cold images from one
leaves the others their share (``docs/decisions/0013``).
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
        self._refresh_waits = False
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
        self._staff()
        return True

    @property
    def is_held_back(self) -> bool:
        """Whether cold lookups wait for our own limit of calls, and not for SWR."""
        return not self.limiter.is_silent and not self.limiter.has_turn()

    def _staff(self) -> None:
        with self._lock:
            if self._workers >= self.settings.concurrency:
                return
            self._workers += 1
        spawn(self._work, f"lane-{self._name}")

    def _work(self) -> None:
        while (turn := self._next_turn()) is not None:
            # The turn comes first and the choice of whose it is second: what waits, waits in the queue,
            # where namespaces take turns, and not in the rate, where a flood would be ahead of everybody.
            turn.reserve(self.breaker)
            flight = self._next_flight(turn)
            if flight is not None:
                self._finish(flight, self._outcome(flight, turn))
            turn.give_back()

    def _next_turn(self) -> _Turn | None:
        """Return what kind of lookup comes next, ``None`` where this worker has nothing to do."""
        with self._lock:
            self._served += 1
            refreshes = bool(self._background) and not self._refresh_waits
            if self._count:
                due = refreshes and self._served % BACKGROUND_TURN == 0
                if not due or not self.limiter.has_turn(background=True):
                    return _Turn(self.limiter, background=False)
            if refreshes:
                # One waits for the rate of refreshes at a time: the others are there for cold lookups.
                self._refresh_waits = True
                return _Turn(self.limiter, background=True)
            self._workers -= 1
            return None

    def _next_flight(self, turn: _Turn) -> Flight | None:
        """Return whose turn it is, leaving out what nobody wants any more."""
        while True:
            with self._lock:
                if turn.background:
                    self._refresh_waits = False
                flight = self._pop(background=turn.background)
                if flight is None:
                    return None
                if flight.started:
                    # A refresh that somebody came to wait for stands in both queues.
                    continue
                flight.started = True
            if flight.wanted:
                break
            self._finish(flight, LookupTimeout("nobody waits for it any more"))
        if turn.background and self._background:
            self._staff()
        return flight

    def _pop(self, *, background: bool) -> Flight | None:
        if background:
            return self._background.popleft() if self._background else None
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

    def _outcome(self, flight: Flight, turn: _Turn) -> TrustRecord | TrustLookupError:
        try:
            return self._ask(flight, turn)
        except TrustLookupError as error:
            return error
        except Exception as error:  # noqa: BLE001 - whoever waits must be told, whatever it is
            return RegistryUnavailable(f"asking failed: {type(error).__name__}: {error}")

    def _ask(self, flight: Flight, turn: _Turn) -> TrustRecord:
        deadline = Deadline.after(self.settings.timeout)
        for attempt in range(self.settings.retries + 1):
            try:
                return self._ask_once(flight, turn, deadline)
            except RegistryUnavailable:
                pause = random.uniform(*RETRY_PAUSE)  # noqa: S311 - jitter
                if attempt == self.settings.retries or deadline.remaining() <= pause:
                    raise
                if self.breaker.state is not BreakerState.CLOSED:
                    raise
                time.sleep(pause)
        raise AssertionError  # pragma: no cover - the loop returns or raises

    def _ask_once(self, flight: Flight, turn: _Turn, deadline: Deadline) -> TrustRecord:
        if not self.breaker.admit(deadline.remaining()):
            raise RegistryUnavailable(f"{self._name} has not answered for a while and is left alone")
        try:
            record = self._source.fetch(flight.query, deadline, turn.wait)
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


class _Turn:
    """A place in the rate of calls, taken before it is known whose call it will be."""

    def __init__(self, limiter: RateLimiter, *, background: bool) -> None:
        self._limiter = limiter
        self._reserved = False
        self.background = background

    def reserve(self, breaker: CircuitBreaker) -> None:
        """Wait for the turn, unless there is going to be no call: then nobody should wait to hear so."""
        if breaker.state is BreakerState.CLOSED and not self._limiter.is_silent:
            self._limiter.reserve(background=self.background)
            self._reserved = True

    def wait(self, deadline: Deadline) -> None:
        """Wait until one more call may be made: the first one by the turn, any other by one of its own."""
        reserved, self._reserved = self._reserved, False
        self._limiter.wait_turn(deadline, background=self.background, reserved=reserved)

    def give_back(self) -> None:
        """Give the turn back if there was no call."""
        if self._reserved:
            self._reserved = False
            self._limiter.give_back(background=self.background)
