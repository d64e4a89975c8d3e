"""Work queue of one registry.

Each registry has its own queue, workers and circuit breaker, so an outage of one does not block the others.
Registries of the same account share a rate limiter. Lookups are dequeued round-robin by namespace
(``docs/decisions/0013``).
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Final

from webhook.deadlines import Deadline, LargeWork, spawn
from webhook.errors import (
    Fault,
    LookupTimeout,
    RegistryUnavailable,
    Throttled,
    TrustLookupError,
    forget_variables,
)
from webhook.recorder import Recorder
from webhook.trust.breaker import BreakerState, CircuitBreaker
from webhook.trust.limiter import LONGEST_BLOCK, RateLimiter
from webhook.trust.pending_lookup import PendingLookup
from webhook.trust.records import TrustRecord, TrustSource
from webhook.trust.reservation import Reservation
from webhook.trust.settings import LookupSettings

MAX_WAITING: Final = 10_000
"""Lookups that may be queued for one registry."""

MAX_WAITING_PER_TENANT: Final = 1_000
"""Lookups of one namespace that may be queued for one registry; the rest is left for other namespaces."""

MAX_BACKGROUND: Final = 1_000
"""Background lookups that may be queued for one registry; more are dropped."""

MAX_ABANDONED: Final = 100
"""Lookups without waiters that are ended without a pause: less than a millisecond."""

BACKGROUND_INTERVAL: Final = 10
"""Every tenth lookup may be a background one, so that records of images in use are refreshed."""

RETRY_PAUSE: Final = (0.05, 0.25)
"""Range of the pause before a retry, in seconds."""

logger = logging.getLogger(__name__)


class RegistryQueue:
    """Makes lookups in one registry, at most ``settings.concurrency`` at a time."""

    def __init__(
        self,
        name: str,
        source: TrustSource,
        limiter: RateLimiter,
        settings: LookupSettings,
        recorder: Recorder,
        finish: Callable[[PendingLookup, TrustRecord | TrustLookupError], None],
        lateness: Callable[[], float],
        calls: int = 1,
    ) -> None:
        """Fetch from ``source``; a worker calls ``finish`` once for each lookup.

        ``lateness`` returns for how many seconds the event loop has been blocked since the start. ``calls``
        are those that a lookup usually takes.
        """
        self.limiter = limiter
        self.settings = settings
        self.breaker = CircuitBreaker()
        self._name = name
        self._source = source
        self._recorder = recorder
        self._finish = finish
        self._lateness = lateness
        self._calls = calls
        self._lock = threading.Lock()
        self._abandoning = LargeWork()
        """Lets one worker at a time end lookups without waiters."""
        self._waiting: OrderedDict[str, deque[PendingLookup]] = OrderedDict()
        self._count = 0
        self._background: deque[PendingLookup] = deque()
        self._workers = 0
        self._served = 0
        self._refresh_waits = False
        self._reported = BreakerState.CLOSED

    def submit(self, pending: PendingLookup, tenant: str = "") -> bool:
        """Enqueue a lookup for a namespace; return ``False`` if its queue or the whole queue is full."""
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
    def is_rate_limited(self) -> bool:
        """Whether lookups wait for our own rate limit, not for SWR."""
        return not self.limiter.is_backing_off and not self.limiter.has_token()

    def _start_worker(self) -> None:
        with self._lock:
            if self._workers >= self.settings.concurrency:
                return
            self._workers += 1
        spawn(self._work, f"lookups-{self._name}")

    def _work(self) -> None:
        while (reservation := self._next_reservation()) is not None:
            # Take tokens first and choose the lookup afterwards. So lookups wait in the queue, where
            # namespaces are served round-robin. In the rate limiter, many lookups of one namespace would
            # precede all others.
            reservation.reserve()
            pending = self._next_lookup(reservation)
            if pending is not None:
                self._finish(pending, self._outcome(pending, reservation))
            reservation.cancel()

    def _next_reservation(self) -> Reservation | None:
        """Return a reservation for the next kind of lookup, ``None`` if there is no work."""
        with self._lock:
            self._served += 1
            refreshes = bool(self._background) and not self._refresh_waits
            if self._count:
                due = refreshes and self._served % BACKGROUND_INTERVAL == 0
                if not due or not self.limiter.has_token(background=True):
                    return self._make_reservation(background=False)
            if refreshes:
                # Only one worker waits for the background rate; the others serve requests.
                self._refresh_waits = True
                return self._make_reservation(background=True)
            self._workers -= 1
            return None

    def _make_reservation(self, *, background: bool) -> Reservation:
        return Reservation(
            self.limiter,
            self.breaker,
            self.settings.timeout,
            self._lateness,
            background=background,
            calls=self._calls,
        )

    def _next_lookup(self, reservation: Reservation) -> PendingLookup | None:
        """Return the next lookup that is still needed."""
        pending, is_end = self._find_lookup(reservation)
        while not is_end:
            with self._abandoning.piece(Deadline.after(self.settings.timeout)):
                pending, is_end = self._find_lookup(reservation)
        if reservation.background and self._background:
            self._start_worker()
        return pending

    def _find_lookup(self, reservation: Reservation) -> tuple[PendingLookup | None, bool]:
        """Return the next lookup, and whether the search for it has ended."""
        abandoned: list[PendingLookup] = []
        with self._lock:
            if reservation.background:
                self._refresh_waits = False
                pending = self._take(self._background, abandoned)
            else:
                pending = self._take_from_next_tenant(abandoned)
        for unwanted in abandoned:
            self._finish(unwanted, LookupTimeout("no review waits for it any longer", fault=Fault.LOCAL))
        return pending, pending is not None or len(abandoned) < MAX_ABANDONED

    def _take_from_next_tenant(self, abandoned: list[PendingLookup]) -> PendingLookup | None:
        """Return the next lookup of the first namespace, and move that namespace to the end."""
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
        """Return the first lookup that has not been started, and mark it as started.

        A lookup may be in several queues: a background one that a request has joined, or one that several
        namespaces need. If it was started from another queue, it does not count in this one.
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

    def _outcome(self, pending: PendingLookup, reservation: Reservation) -> TrustRecord | TrustLookupError:
        try:
            return self._fetch(pending, reservation)
        except TrustLookupError as error:
            forget_variables(error)
            return error
        except Exception as error:  # noqa: BLE001 - waiters must get a result
            forget_variables(error)
            return RegistryUnavailable(
                f"the lookup failed: {type(error).__name__}: {error}", fault=Fault.LOCAL
            )

    def _fetch(self, pending: PendingLookup, reservation: Reservation) -> TrustRecord:
        deadline = Deadline.after(self.settings.timeout)
        proven: RegistryUnavailable | None = None
        retries = self.settings.retries
        while True:
            try:
                return self._fetch_once(pending, reservation, deadline)
            except LookupTimeout as error:
                # The last attempt had less time, because of the earlier ones.
                if proven is not None and error.fault is Fault.LOCAL:
                    raise proven from None
                raise
            except RegistryUnavailable as error:
                if proven is not None and error.fault is Fault.IMAGE:
                    # The registry failed before and answers again. It recovered between this call and its
                    # control requests, perhaps: only a call that begins now shows a fault of the image.
                    retries = max(retries, 1)
                proven = error if error.fault is Fault.REGISTRY else None
                pause = random.uniform(*RETRY_PAUSE)  # noqa: S311 - jitter
                is_last = retries == 0 or deadline.remaining() <= pause
                if is_last or error.fault is Fault.LOCAL:
                    raise
                if self.breaker.state is not BreakerState.CLOSED:
                    raise
                time.sleep(pause)
                retries -= 1

    def _fetch_once(
        self, pending: PendingLookup, reservation: Reservation, deadline: Deadline
    ) -> TrustRecord:
        if not self.breaker.admit(deadline.remaining()):
            raise RegistryUnavailable(f"{self._name} did not answer repeatedly; the circuit breaker is open")
        cause = ""
        try:
            record = self._source.fetch(pending.query, deadline, reservation)
        except TrustLookupError as error:
            cause = error.detail
            self._update_breaker(error, reservation)
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
            self._report_breaker(cause)

    def _report_breaker(self, cause: str) -> None:
        """Record a changed state of the circuit breaker; log that it opened or closed, but not each probe.

        ``cause`` is the failure that changed it.
        """
        state, before = self.breaker.state, self._reported
        if state is before:
            return
        self._reported = state
        self._recorder.breaker_changed(self._name, state.value)
        if before is BreakerState.CLOSED:
            logger.warning("%s: the circuit breaker is open after repeated failures: %s", self._name, cause)
        elif state is BreakerState.CLOSED:
            logger.info("%s: the circuit breaker is closed: lookups are answered again", self._name)

    def _back_off(self, failure: Throttled) -> None:
        """Back off for all registries of the account."""
        if not failure.blocks_account:
            self.limiter.back_off(failure.retry_after)
            return
        known = self.limiter.blocked_for > 0
        seconds = self.limiter.block(failure.retry_after or LONGEST_BLOCK)
        self._recorder.account_blocked(self._name, seconds)
        if not known:
            logger.error("%s: %s; no call is made for %.0f s", self._name, failure.detail, seconds)

    def _update_breaker(self, failure: TrustLookupError, reservation: Reservation) -> None:
        """Record in the circuit breaker whether the endpoint responded, if the failure shows it."""
        if isinstance(failure, (LookupTimeout, RegistryUnavailable)):
            if failure.fault is Fault.REGISTRY and not failure.is_counted:
                failure.is_counted = True
                self.breaker.fail()
            elif failure.fault is Fault.IMAGE and reservation.is_probe:
                # Of several endpoints, the probe may have reached only the first. The author of its image may
                # know that this one is slow about it, and must not keep the breaker open.
                self.breaker.succeed()
            else:
                self.breaker.release()
        elif isinstance(failure, Throttled):
            self.breaker.release()
        else:
            self.breaker.succeed()
