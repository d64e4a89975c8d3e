"""One registry's lane: who is asked next, by how many at once, and when not at all.

A lane has its own queue, workers and breaker, and shares its rate with lanes of the same account only, so
that one account's trouble never blocks another's. Namespaces take turns: a flood of cold images from one
leaves the others their share (``docs/decisions/0013``).
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Final, Protocol

from webhook.deadlines import Deadline, LargeWork, spawn
from webhook.errors import Fault, LookupTimeout, RegistryUnavailable, Throttled, TrustLookupError
from webhook.trust.breaker import BreakerState, CircuitBreaker
from webhook.trust.limiter import LONGEST_BLOCK, RateLimiter
from webhook.trust.pending_lookup import PendingLookup
from webhook.trust.records import TrustRecord, TrustSource
from webhook.trust.reservation import Reservation
from webhook.trust.settings import LookupSettings

MAX_WAITING: Final = 10_000
"""Cold lookups that may queue for one registry."""

MAX_WAITING_PER_TENANT: Final = 1_000
"""Cold lookups of one namespace that may queue for one registry: its flood leaves the others places."""

MAX_BACKGROUND: Final = 1_000
"""Refreshes that may queue for one registry; more are simply not made."""

MAX_ABANDONED: Final = 100
"""Lookups that nobody waits for any more and that are ended at a stretch: less than a millisecond."""

BACKGROUND_TURN: Final = 10
"""Every so many lookups a refresh goes first, so that images in use do not all go cold."""

RETRY_PAUSE: Final = (0.05, 0.25)
"""Seconds before a call is repeated, drawn from here."""

logger = logging.getLogger(__name__)


class QueueRecorder(Protocol):
    """Is told how a lane fares."""

    def breaker_changed(self, registry: str, state: str) -> None:
        """Take note of the breaker's state."""
        ...  # pragma: no cover

    def account_blocked(self, registry: str, seconds: float) -> None:
        """Record that SWR has blocked the registry's account; no call is made for ``seconds`` from now."""
        ...  # pragma: no cover


class RegistryQueue:
    """Asks one registry, at most ``settings.concurrency`` questions at a time."""

    def __init__(
        self,
        name: str,
        source: TrustSource,
        limiter: RateLimiter,
        settings: LookupSettings,
        recorder: QueueRecorder,
        finish: Callable[[PendingLookup, TrustRecord | TrustLookupError], None],
        lateness: Callable[[], float],
    ) -> None:
        """Ask ``source``; every flight ends by one call of ``finish``, from a worker.

        ``lateness`` returns for how many seconds this process has been held up since it began.
        """
        self.limiter = limiter
        self.settings = settings
        self.breaker = CircuitBreaker()
        self._name = name
        self._source = source
        self._recorder = recorder
        self._finish = finish
        self._lateness = lateness
        self._lock = threading.Lock()
        self._ending = LargeWork()
        """Lets one worker at a time end what is left of many that nobody waits for."""
        self._waiting: OrderedDict[str, deque[PendingLookup]] = OrderedDict()
        self._count = 0
        self._background: deque[PendingLookup] = deque()
        self._workers = 0
        self._served = 0
        self._refresh_waits = False
        self._reported = BreakerState.CLOSED

    def submit(self, pending: PendingLookup, tenant: str = "") -> bool:
        """Queue a flight for a namespace; ``False`` where its queue or all of them together are full."""
        with self._lock:
            if pending.background:
                if len(self._background) >= MAX_BACKGROUND:
                    return False
                self._background.append(pending)
            else:
                own = len(self._waiting.get(tenant, ()))
                if self._count >= MAX_WAITING or own >= MAX_WAITING_PER_TENANT:
                    return False
                self._waiting.setdefault(tenant, deque()).append(pending)
                pending.tenants.add(tenant)
                self._count += 1
        self._start_worker()
        return True

    @property
    def is_held_back(self) -> bool:
        """Whether cold lookups wait for our own limit of calls, and not for SWR."""
        return not self.limiter.is_backing_off and not self.limiter.has_token()

    def _start_worker(self) -> None:
        with self._lock:
            if self._workers >= self.settings.concurrency:
                return
            self._workers += 1
        spawn(self._work, f"lane-{self._name}")

    def _work(self) -> None:
        while (turn := self._next_reservation()) is not None:
            # The turn comes first and the choice of whose it is second: what waits, waits in the queue,
            # where namespaces take turns, and not in the rate, where a flood would be ahead of everybody.
            turn.reserve()
            pending = self._next_lookup(turn)
            if pending is not None:
                self._finish(pending, self._outcome(pending, turn))
            turn.cancel()

    def _next_reservation(self) -> Reservation | None:
        """Return what kind of lookup comes next, ``None`` where this worker has nothing to do."""
        with self._lock:
            self._served += 1
            refreshes = bool(self._background) and not self._refresh_waits
            if self._count:
                due = refreshes and self._served % BACKGROUND_TURN == 0
                if not due or not self.limiter.has_token(background=True):
                    return self._turn(background=False)
            if refreshes:
                # One waits for the rate of refreshes at a time: the others are there for cold lookups.
                self._refresh_waits = True
                return self._turn(background=True)
            self._workers -= 1
            return None

    def _turn(self, *, background: bool) -> Reservation:
        return Reservation(
            self.limiter, self.breaker, self.settings.timeout, self._lateness, background=background
        )

    def _next_lookup(self, turn: Reservation) -> PendingLookup | None:
        """Return whose turn it is, leaving out what nobody wants any more."""
        pending, is_end = self._find_lookup(turn)
        while not is_end:
            with self._ending.piece(Deadline.after(self.settings.timeout)):
                pending, is_end = self._find_lookup(turn)
        if turn.background and self._background:
            self._start_worker()
        return pending

    def _find_lookup(self, turn: Reservation) -> tuple[PendingLookup | None, bool]:
        """Return whose turn it is, and whether all were looked at that nobody wants any more."""
        abandoned: list[PendingLookup] = []
        with self._lock:
            if turn.background:
                self._refresh_waits = False
                pending = self._take(self._background, abandoned)
            else:
                pending = self._take_from_next_tenant(abandoned)
        for lost in abandoned:
            self._finish(lost, LookupTimeout("nobody waits for it any more", fault=Fault.LOCAL))
        return pending, pending is not None or len(abandoned) < MAX_ABANDONED

    def _take_from_next_tenant(self, abandoned: list[PendingLookup]) -> PendingLookup | None:
        """Return the next flight of the namespace whose turn it is; that namespace then comes last."""
        while self._waiting and len(abandoned) < MAX_ABANDONED:
            tenant, pending_lookups = next(iter(self._waiting.items()))
            before = len(pending_lookups)
            pending = self._take(pending_lookups, abandoned)
            self._count -= before - len(pending_lookups)
            if not pending_lookups:
                del self._waiting[tenant]
            elif pending is not None:
                self._waiting.move_to_end(tenant)
            if pending is not None:
                return pending
        return None

    def _take(
        self, pending_lookups: deque[PendingLookup], abandoned: list[PendingLookup]
    ) -> PendingLookup | None:
        """Return the first flight that is still to be made, marked as started.

        One flight may stand in several queues: a refresh that somebody came to wait for, an image that
        several namespaces ask about. What was started from another queue costs no turn in this one.
        """
        while pending_lookups and len(abandoned) < MAX_ABANDONED:
            pending = pending_lookups.popleft()
            if pending.started:
                continue
            pending.started = True
            if pending.wanted:
                return pending
            abandoned.append(pending)
        return None

    def _outcome(self, pending: PendingLookup, turn: Reservation) -> TrustRecord | TrustLookupError:
        try:
            return self._ask(pending, turn)
        except TrustLookupError as error:
            return error
        except Exception as error:  # noqa: BLE001 - whoever waits must be told, whatever it is
            return RegistryUnavailable(f"asking failed: {type(error).__name__}: {error}", fault=Fault.LOCAL)

    def _ask(self, pending: PendingLookup, turn: Reservation) -> TrustRecord:
        deadline = Deadline.after(self.settings.timeout)
        proven: RegistryUnavailable | None = None
        for attempt in range(self.settings.retries + 1):
            try:
                return self._ask_once(pending, turn, deadline)
            except LookupTimeout as error:
                # The time that the first attempts took is not there for the last one.
                if proven is not None and error.fault is Fault.LOCAL:
                    raise proven from None
                raise
            except RegistryUnavailable as error:
                if error.fault is Fault.REGISTRY:
                    proven = error
                pause = random.uniform(*RETRY_PAUSE)  # noqa: S311 - jitter
                last = attempt == self.settings.retries or deadline.remaining() <= pause
                if last or error.fault is Fault.LOCAL:
                    raise
                if self.breaker.state is not BreakerState.CLOSED:
                    raise
                time.sleep(pause)
        raise AssertionError  # pragma: no cover - the loop returns or raises

    def _ask_once(self, pending: PendingLookup, turn: Reservation, deadline: Deadline) -> TrustRecord:
        if not self.breaker.admit(deadline.remaining()):
            raise RegistryUnavailable(f"{self._name} has not answered for a while and is left alone")
        try:
            record = self._source.fetch(pending.query, deadline, turn)
        except TrustLookupError as error:
            self._tell_breaker(error)
            if isinstance(error, Throttled) and error.fault is Fault.REGISTRY:
                self._back_off(error)
            raise
        except BaseException:
            self.breaker.release()
            raise
        else:
            self.breaker.succeed()
            self.limiter.reset_backoff()
            return record
        finally:
            state = self.breaker.state
            if state is not self._reported:
                self._reported = state
                self._recorder.breaker_changed(self._name, state.value)

    def _back_off(self, failure: Throttled) -> None:
        """Make no call for a while, on behalf of the whole account."""
        if not failure.blocks_account:
            self.limiter.back_off(failure.retry_after)
            return
        known = self.limiter.blocked_for > 0
        seconds = self.limiter.block(failure.retry_after or LONGEST_BLOCK)
        self._recorder.account_blocked(self._name, seconds)
        if not known:
            logger.error("%s: %s; no call is made for %.0f s", self._name, failure.detail, seconds)

    def _tell_breaker(self, failure: TrustLookupError) -> None:
        """Count a failure of the endpoint, or an answer of it; anything else says nothing about it."""
        if isinstance(failure, (LookupTimeout, RegistryUnavailable)):
            if failure.fault is Fault.REGISTRY and not failure.is_counted:
                failure.is_counted = True
                self.breaker.fail()
            else:
                self.breaker.release()
        elif isinstance(failure, Throttled):
            self.breaker.release()
        else:
            self.breaker.succeed()
