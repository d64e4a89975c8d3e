"""Trust lookup: what is cached, what is asked, what stands in while SWR is down."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from enum import StrEnum
from typing import Final, Protocol

import msgspec

from webhook.deadlines import Deadline
from webhook.errors import Fault, LookupTimeout, Throttled, TrustLookupError
from webhook.registries import CredentialSettings, Registry
from webhook.trust.breaker import BreakerState
from webhook.trust.cache import RecordCache, is_due
from webhook.trust.limiter import RateLimiter
from webhook.trust.pending_lookup import PendingLookup
from webhook.trust.records import TrustQuery, TrustRecord, TrustSource, TrustStatus
from webhook.trust.registry_queue import QueueRecorder, RegistryQueue
from webhook.trust.replication import Key, TrustEntry
from webhook.trust.settings import CacheSettings, LookupSettings

YIELD_SECONDS: Final = 0.001
"""Seconds between two steps of long work, for everybody else."""


class Origin(StrEnum):
    """Where an answer came from; a metric label and part of the decision log."""

    CACHE = "cache"
    SWR = "swr"
    STALE = "stale"
    """SWR could not be asked: an earlier trusted answer stands in (``cache.staleIfError``)."""


class Found(msgspec.Struct, frozen=True):
    """A record, and where it came from. ``failure`` is why a stale one had to stand in."""

    record: TrustRecord
    origin: Origin
    failure: TrustLookupError | None = None


class Failed(msgspec.Struct, frozen=True):
    """The lookup failed."""

    failure: TrustLookupError


LookupResult = Found | Failed


class LookupRequest(msgspec.Struct, frozen=True):
    """A query on behalf of somebody.

    ``pinned`` is the digest that the reference pins, if any: a cached record that holds another
    digest never answers it, unless it was fetched less than ``cache.refused`` seconds ago.
    ``tenant`` is the namespace that asks: cold lookups are shared out fairly among tenants.
    """

    query: TrustQuery
    pinned: str | None = None
    tenant: str = ""


class TrustRecorder(QueueRecorder, Protocol):
    """Metrics of lookups."""

    def record_trusted(self, registry: str) -> None:
        """Record that SWR marked an image of this registry as trusted."""
        ...  # pragma: no cover

    def cache_answered(self, result: str) -> None:
        """Take note of a question: ``hit``, ``miss``, ``coalesced``, ``stale`` or ``refresh``."""
        ...  # pragma: no cover


class TrustLookup:
    """Answers questions about images from memory, or by one call shared by all who ask.

    A call runs under ``lookup.timeout``, never under the deadline of whoever asked first; each
    who asks waits no longer than its own deadline. Failures are shared, too, and never kept.
    """

    def __init__(
        self,
        source: TrustSource,
        cache: CacheSettings,
        lookup: LookupSettings,
        recorder: TrustRecorder,
        clock: Callable[[], float] = time.time,
        lateness: Callable[[], float] = lambda: 0.0,
        take_turn: Callable[[], None] = lambda: None,
    ) -> None:
        """Ask ``source`` for what is not in memory; ``clock`` is in epoch seconds.

        ``lateness`` returns for how many seconds this process has been held up since it began; a call
        that it cost its time says nothing of SWR. Nothing holds up a process that serves nobody.
        ``take_turn`` lets others go first who wait for longer: many may be woken at the same moment.
        """
        self._source = source
        self._settings = lookup
        self._recorder = recorder
        self._clock = clock
        self._lateness = lateness
        self._take_turn = take_turn
        self._lock = threading.Lock()
        self._cache = RecordCache(cache, clock)
        self._pending: dict[Key, PendingLookup] = {}
        self._queues: dict[str, RegistryQueue] = {}
        self._limiters: dict[tuple[str, CredentialSettings], RateLimiter] = {}

    def look_up(self, questions: Sequence[LookupRequest], deadline: Deadline) -> list[LookupResult]:
        """Answer all questions at once, in order, none later than the deadline.

        Never raises ``TrustLookupError``: a failure is an ``Failed``.
        """
        answers: list[LookupResult | None] = []
        waiting: list[tuple[int, LookupRequest, PendingLookup]] = []
        with self._lock:
            now = self._clock()
            for index, question in enumerate(questions):
                key = question.query.key
                record = self._cache.get(key)
                if record is not None and self._is_answer(record, question, now):
                    answers.append(Found(record, Origin.CACHE))
                    self._recorder.cache_answered("hit")
                    if is_due(record, self._cache.settings, now) and key not in self._pending:
                        self._recorder.cache_answered("refresh")
                        self._launch(key, PendingLookup(question.query, background=True))
                    continue
                answers.append(None)
                waiting.append((index, question, self._join(key, question)))
        for index, question, pending in waiting:
            answers[index] = self._await(question, pending, deadline)
        found = [answer for answer in answers if answer is not None]
        return self._look_again(questions, found) if waiting else found

    def _look_again(
        self, questions: Sequence[LookupRequest], answers: Sequence[LookupResult]
    ) -> list[LookupResult]:
        """Return the answers as they are after a wait: what is too old to be used by now is known no more.

        Else who names many cold images beside one would see that one admitted for longer than ``trusted``.
        """
        with self._lock:
            now = self._clock()
            return [
                self._renew(question, answer, now)
                for question, answer in zip(questions, answers, strict=True)
            ]

    def _renew(self, question: LookupRequest, answer: LookupResult, now: float) -> LookupResult:
        if isinstance(answer, Failed) or answer.origin is Origin.STALE:
            return answer
        # What this review has asked itself may be as old as a lookup takes, however short ``trusted`` is.
        asked = self._settings.timeout if answer.origin is Origin.SWR else 0.0
        if now - answer.record.fetched_at <= max(self._cache.settings.trusted, asked):
            return answer
        record = self._cache.get(question.query.key)
        if record is not None and self._is_answer(record, question, now):
            return Found(record, Origin.CACHE)
        detail = "what SWR had said became too old while other images of this review were waited for"
        return Failed(LookupTimeout(detail, fault=Fault.LOCAL))

    def configure(self, cache: CacheSettings, lookup: LookupSettings) -> None:
        """Go on under other settings; what is known stays as far as it counts under them.

        Takes a while where much is known, and holds nobody up. For one caller at a time.
        """
        if cache != self._cache.settings:
            steps = self._cache.configure(cache)
            while self._take(steps):
                time.sleep(YIELD_SECONDS)
        with self._lock:
            if lookup != self._settings:
                self._settings = lookup
                self._queues.clear()
                for limiter in self._limiters.values():
                    limiter.change_rate(lookup.calls_per_second)

    def _take(self, steps: Iterator[None]) -> bool:
        """Take a step; return whether more may follow."""
        with self._lock:
            return next(steps, self) is None

    def retain(self, registries: Collection[Registry]) -> None:
        """Forget all about registries that are no longer configured as they were."""
        keys = {registry.key for registry in registries}
        with self._lock:
            self._cache.retain(keys)
            for key in [key for key in self._queues if key not in keys]:
                del self._queues[key]

    def warm(self, queries: Sequence[TrustQuery]) -> None:
        """Ask about images in the background, as far as the queue takes them."""
        with self._lock:
            for query in queries:
                if self._cache.get(query.key) is None and query.key not in self._pending:
                    self._launch(query.key, PendingLookup(query, background=True))

    def keys(self) -> list[Key]:
        """Return the keys of all that another process may want to know."""
        with self._lock:
            return self._cache.keys()

    def export_entries(self, keys: Sequence[Key]) -> list[TrustEntry]:
        """Return what another process may want to know of these images."""
        with self._lock:
            return [entry for key in keys if (entry := self._cache.export_entry(key)) is not None]

    def import_entries(self, entries: Iterable[TrustEntry]) -> None:
        """Take in what other processes heard: trust to stand in, and the loss of trust."""
        with self._lock:
            for entry in entries:
                self._cache.import_entry(entry)

    @property
    def sizes(self) -> tuple[int, int, int]:
        """How many trusted and refused records are in memory, and how many of other processes."""
        with self._lock:
            return self._cache.sizes

    def is_breaker_open(self, registry: Registry) -> bool:
        """Return whether a registry is not called because it did not answer."""
        with self._lock:
            queue = self._queues.get(registry.key)
        return queue is not None and queue.breaker.state is not BreakerState.CLOSED

    def blocked_for(self, registry: Registry) -> float:
        """Return the seconds for which SWR has blocked the account of a registry, 0.0 if it has not."""
        with self._lock:
            limiter = self._limiters.get((registry.endpoint, registry.credentials))
        return limiter.blocked_for if limiter is not None else 0.0

    def _is_answer(self, record: TrustRecord, question: LookupRequest, now: float) -> bool:
        if question.pinned is None or record.status is not TrustStatus.TRUSTED:
            return True
        if record.digest == question.pinned:
            return True
        return now - record.fetched_at < self._cache.settings.refused

    def _join(self, key: Key, question: LookupRequest) -> PendingLookup:
        pending = self._pending.get(key)
        if pending is None:
            pending = PendingLookup(question.query, waiters=1)
            self._recorder.cache_answered("miss")
            self._launch(key, pending, question.tenant)
            return pending
        pending.waiters += 1
        self._recorder.cache_answered("coalesced")
        if not pending.started and question.tenant not in pending.tenants:
            # Whoever joins waits in its own queue: the first one's may be as long as its author likes.
            pending.background = False
            self._queue_for(question.query.registry).submit(pending, question.tenant)
        return pending

    def _launch(self, key: Key, pending: PendingLookup, tenant: str = "") -> None:
        self._pending[key] = pending
        if not self._queue_for(pending.query.registry).submit(pending, tenant):
            del self._pending[key]
            pending.failure = Throttled("too many lookups are waiting already", fault=Fault.LOCAL)
            pending.done.set()

    def _await(self, question: LookupRequest, pending: PendingLookup, deadline: Deadline) -> LookupResult:
        answered = pending.done.wait(deadline.remaining())
        self._take_turn()
        with self._lock:
            pending.waiters -= 1
            record, failure = pending.record, pending.failure
            if record is not None:
                return Found(record, Origin.SWR)
            if failure is None or not answered:
                failure = self._explain_wait(pending)  # the call may still succeed: nothing is known of SWR
            stale_record = self._stale_record(question, failure)
        if stale_record is None:
            return Failed(failure)
        self._recorder.cache_answered("stale")
        return Found(stale_record, Origin.STALE, failure)

    def _explain_wait(self, pending: PendingLookup) -> TrustLookupError:
        """Return why a flight was not over by the deadline of one review.

        Never the registry's fault: when a review comes, how long it may wait and what queues before it
        are its author's choice. Only the call itself can say that SWR does not answer.
        """
        if pending.started:
            return LookupTimeout(
                "SWR had not answered when the time of this review was over", fault=Fault.LOCAL
            )
        queue = self._queues.get(pending.query.registry.key)
        if queue is not None and queue.is_held_back:
            return Throttled("our own limit of calls is used up", fault=Fault.LOCAL)
        return LookupTimeout(
            "the lookup was still in the queue when the time of this review was over", fault=Fault.LOCAL
        )

    def _stale_record(self, question: LookupRequest, failure: TrustLookupError) -> TrustRecord | None:
        """Return an earlier trusted record where the failure is such that it may stand in."""
        if not failure.allows_stale:
            return None
        record = self._cache.get_stale(question.query.key)
        if record is not None and question.pinned not in (None, record.digest):
            return None
        return record

    def _queue_for(self, registry: Registry) -> RegistryQueue:
        queue = self._queues.get(registry.key)
        if queue is None:
            caller = (registry.endpoint, registry.credentials)
            limiter = self._limiters.get(caller)
            if limiter is None:
                limiter = self._limiters[caller] = RateLimiter(self._settings.calls_per_second)
            queue = RegistryQueue(
                registry.name,
                self._source,
                limiter,
                self._settings,
                self._recorder,
                self._finish,
                self._lateness,
            )
            self._queues[registry.key] = queue
        return queue

    def _finish(self, pending: PendingLookup, outcome: TrustRecord | TrustLookupError) -> None:
        with self._lock:
            if isinstance(outcome, TrustRecord):
                self._cache.put(pending.query.key, outcome)
                pending.record = outcome
            else:
                pending.failure = outcome
            if self._pending.get(pending.query.key) is pending:
                del self._pending[pending.query.key]
        if pending.record is not None and pending.record.status is TrustStatus.TRUSTED:
            self._recorder.record_trusted(pending.query.registry.name)
        pending.done.set()
