"""Trust lookup: from the cache, from SWR, or from stale records while SWR is down."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from enum import StrEnum
from typing import Final

import msgspec

from webhook.deadlines import Deadline
from webhook.errors import Fault, LookupTimeout, Throttled, TrustLookupError
from webhook.recorder import Recorder
from webhook.registries import CredentialSettings, Registry
from webhook.trust.breaker import BreakerState
from webhook.trust.cache import RecordCache, is_due
from webhook.trust.key_changes import KeyChanges
from webhook.trust.limiter import RateLimiter
from webhook.trust.pending_lookup import PendingLookup
from webhook.trust.records import TrustQuery, TrustRecord, TrustSource, TrustStatus
from webhook.trust.registry_queue import RegistryQueue
from webhook.trust.replication import Key, TrustEntry
from webhook.trust.reservation import CALLS_FOR_SIGNATURES
from webhook.trust.settings import CacheSettings, LookupSettings

CURRENT_WAIT: Final = 1.0
"""Seconds to wait for the current digests of tags whose trust is cached. After that, the cached digests are
used: SWR is slow, and Pods must be created."""

YIELD_SECONDS: Final = 0.001
"""Pause between two steps of long work, so that other work runs."""


class Origin(StrEnum):
    """Where a record came from; a metric label and part of the decision log."""

    CACHE = "cache"
    SWR = "swr"
    STALE = "stale"
    """SWR could not be queried: an earlier trusted record is served stale (``cache.staleIfError``)."""


class Found(msgspec.Struct, frozen=True):
    """A record and its origin. ``failure`` is why it is served stale, if it is."""

    record: TrustRecord
    origin: Origin
    failure: TrustLookupError | None = None


class Failed(msgspec.Struct, frozen=True):
    """The lookup failed."""

    failure: TrustLookupError


LookupResult = Found | Failed


class LookupRequest(msgspec.Struct, frozen=True):
    """A query, with its context.

    ``pinned`` is the digest that the reference pins, if any. ``tenant`` is the namespace of the request:
    lookups are dequeued round-robin by tenant. ``max_age`` is the age in seconds up to which the digest of a
    cached trusted record counts as that of the tag. If the reference pins another digest, ``cache.refused``
    is a limit, too. Without ``pinned``, the digest matters only if ``max_age`` is set.
    """

    query: TrustQuery
    pinned: str | None = None
    tenant: str = ""
    max_age: float | None = None


class TrustLookup:
    """Looks images up in the cache, or by one call to SWR that all concurrent requests share.

    A call is limited by ``lookup.timeout``, not by the deadline of the first request. Each request waits
    until its own deadline. Failures are shared, but never cached.
    """

    def __init__(
        self,
        source: TrustSource,
        cache: CacheSettings,
        lookup: LookupSettings,
        recorder: Recorder,
        clock: Callable[[], float] = time.time,
        lateness: Callable[[], float] = lambda: 0.0,
        checkpoint: Callable[[], None] = lambda: None,
    ) -> None:
        """Fetch records that are not cached from ``source``; ``clock`` is in epoch seconds.

        ``lateness`` returns for how many seconds the event loop has been blocked since the start: a call
        that timed out because of that does not count against SWR. ``checkpoint`` yields to requests that
        have waited longer, because many may wake up at the same moment.
        """
        self._source = source
        self._settings = lookup
        self._recorder = recorder
        self._clock = clock
        self._lateness = lateness
        self._checkpoint = checkpoint
        self._lock = threading.Lock()
        self._cache = RecordCache(cache, clock)
        self._pending: dict[Key, PendingLookup] = {}
        self._queues: dict[str, RegistryQueue] = {}
        self._limiters: dict[tuple[str, CredentialSettings], RateLimiter] = {}

    def look_up(self, requests: Sequence[LookupRequest], deadline: Deadline) -> list[LookupResult]:
        """Return the results in the order of the requests, by the deadline.

        Does not raise ``TrustLookupError``: a failure is a ``Failed``.
        """
        results: list[LookupResult | None] = []
        waiting: list[tuple[int, LookupRequest, PendingLookup, bool]] = []
        with self._lock:
            now = self._clock()
            for index, request in enumerate(requests):
                key = request.query.key
                record = self._cache.get(key)
                if record is not None and self._is_usable(record, request, now):
                    results.append(Found(record, Origin.CACHE))
                    self._recorder.cache_answered("hit")
                    if is_due(record, self._cache.settings, now) and key not in self._pending:
                        self._recorder.cache_answered("refresh")
                        self._launch(key, PendingLookup(request.query, background=True))
                    continue
                results.append(None)
                # A record that proves trust, and whose digest alone is too old.
                is_known = record is not None and request.pinned is None
                waiting.append((index, request, self._join(key, request), is_known))
        soon = min(deadline, Deadline.after(CURRENT_WAIT)) if waiting else deadline
        for index, request, pending, is_known in waiting:
            end = soon if is_known else deadline
            results[index] = self._await(request, pending, end, is_known=is_known)
        found = [result for result in results if result is not None]
        return self._drop_outdated(requests, found) if waiting else found

    def _drop_outdated(
        self, requests: Sequence[LookupRequest], results: Sequence[LookupResult]
    ) -> list[LookupResult]:
        """Return the results after a wait, without records that have become too old meanwhile.

        Otherwise a Pod with many uncached images could use the record of another one for longer than
        ``trusted``.
        """
        with self._lock:
            now = self._clock()
            return [
                self._renew(request, result, now) for request, result in zip(requests, results, strict=True)
            ]

    def _renew(self, request: LookupRequest, result: LookupResult, now: float) -> LookupResult:
        if isinstance(result, Failed) or result.origin is Origin.STALE:
            return result
        # A record that this request has fetched may be as old as a lookup takes, regardless of ``trusted``.
        lookup_time = self._settings.timeout if result.origin is Origin.SWR else 0.0
        if now - result.record.fetched_at <= max(self._cache.settings.trusted, lookup_time):
            return result
        record = self._cache.get(request.query.key)
        if record is not None and self._is_usable(record, request, now):
            return Found(record, Origin.CACHE)
        detail = "the record became too old while the review waited for other images"
        return Failed(LookupTimeout(detail, fault=Fault.LOCAL))

    def configure(self, cache: CacheSettings, lookup: LookupSettings) -> None:
        """Change the settings; records stay as far as the new settings allow.

        May take long for a large cache, but does not block other work. For one caller at a time.
        """
        if cache != self._cache.settings:
            self._run(self._cache.configure(cache))
        with self._lock:
            if lookup != self._settings:
                self._settings = lookup
                self._queues.clear()
                for limiter in self._limiters.values():
                    limiter.change_rate(lookup.calls_per_second)

    def _run(self, steps: Iterator[None]) -> None:
        while self._take(steps):
            time.sleep(YIELD_SECONDS)

    def _take(self, steps: Iterator[None]) -> bool:
        """Take one step; return whether more may follow."""
        with self._lock:
            return next(steps, self) is None

    def retain(self, registries: Collection[Registry], changes: KeyChanges | None = None) -> None:
        """Remove the records and queues of registries whose configuration has changed.

        After ``changes`` of signing keys, records that are still proved stay, and so does the queue with its
        circuit breaker. May take long for a large cache, as ``configure`` does.
        """
        changes = changes or {}
        if changes:
            self._run(self._cache.carry_over(changes))
        keys = {registry.key for registry in registries}
        with self._lock:
            self._cache.retain(keys)
            for former, change in changes.items():
                if former not in keys and former in self._queues:
                    self._queues.setdefault(change.key, self._queues.pop(former))
            for key in [key for key in self._queues if key not in keys]:
                del self._queues[key]

    def warm(self, queries: Sequence[TrustQuery]) -> None:
        """Enqueue background lookups, as far as the queues have room."""
        with self._lock:
            for query in queries:
                if self._cache.get(query.key) is None and query.key not in self._pending:
                    self._launch(query.key, PendingLookup(query, background=True))

    def keys(self) -> list[Key]:
        """Return the keys of all entries that other replicas may need."""
        with self._lock:
            return self._cache.keys()

    def export_entries(self, keys: Sequence[Key]) -> list[TrustEntry]:
        """Return the entries of these keys for other replicas."""
        with self._lock:
            return [entry for key in keys if (entry := self._cache.export_entry(key)) is not None]

    def import_entries(self, entries: Iterable[TrustEntry]) -> None:
        """Import entries of other replicas: trust, to be served stale, and revocations."""
        with self._lock:
            for entry in entries:
                self._cache.import_entry(entry)

    @property
    def sizes(self) -> tuple[int, int, int]:
        """The numbers of trusted, refused and imported records."""
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
            limiter = self._limiters.get(registry.caller)
        return limiter.blocked_for if limiter is not None else 0.0

    def _is_usable(self, record: TrustRecord, request: LookupRequest, now: float) -> bool:
        if record.status is not TrustStatus.TRUSTED:
            return True
        longest = math.inf if request.max_age is None else request.max_age
        if request.pinned is not None:
            if record.digest == request.pinned:
                return True
            longest = min(longest, self._cache.settings.refused)
        return now - record.fetched_at < longest

    def _join(self, key: Key, request: LookupRequest) -> PendingLookup:
        pending = self._pending.get(key)
        if pending is None:
            pending = PendingLookup(request.query, waiters=1)
            self._recorder.cache_answered("miss")
            self._launch(key, pending, request.tenant)
            return pending
        pending.waiters += 1
        self._recorder.cache_answered("coalesced")
        if not pending.started and request.tenant not in pending.tenants:
            # Also enqueue it for the second tenant: the queue of the first may be long.
            pending.background = False
            self._queue_for(request.query.registry).submit(pending, request.tenant)
        return pending

    def _launch(self, key: Key, pending: PendingLookup, tenant: str = "") -> None:
        self._pending[key] = pending
        if not self._queue_for(pending.query.registry).submit(pending, tenant):
            del self._pending[key]
            pending.end(Throttled("too many lookups are waiting already", fault=Fault.LOCAL))

    def _await(
        self, request: LookupRequest, pending: PendingLookup, deadline: Deadline, *, is_known: bool
    ) -> LookupResult:
        """Wait for a lookup; with ``is_known``, the cached record is used if it fails or takes too long."""
        answered = pending.wait(deadline.remaining())
        self._checkpoint()
        with self._lock:
            pending.waiters -= 1
            record, failure = pending.value, pending.error
            if record is not None:
                return Found(record, Origin.SWR)
            cached = self._cache.get(request.query.key) if is_known else None
            if cached is not None:
                self._recorder.cache_answered("outdated")
                return Found(cached, Origin.CACHE)
            if not isinstance(failure, TrustLookupError) or not answered:
                failure = self._explain_wait(pending)
            stale_record = self._stale_record(request, failure)
        if stale_record is None:
            return Failed(failure)
        self._recorder.cache_answered("stale")
        return Found(stale_record, Origin.STALE, failure)

    def _explain_wait(self, pending: PendingLookup) -> TrustLookupError:
        """Return why a lookup had not ended by the deadline of one request.

        It is never the registry's fault. The author of a Pod chooses when a request comes, how long it may
        wait and what is queued before it. Only the call itself can show that SWR does not respond.
        """
        if pending.started:
            return LookupTimeout("SWR had not answered by the deadline of this review", fault=Fault.LOCAL)
        queue = self._queues.get(pending.query.registry.key)
        if queue is not None and queue.is_rate_limited:
            return Throttled("our own rate limit is exceeded", fault=Fault.LOCAL)
        return LookupTimeout("the lookup was still queued at the deadline of this review", fault=Fault.LOCAL)

    def _stale_record(self, request: LookupRequest, failure: TrustLookupError) -> TrustRecord | None:
        """Return an earlier trusted record if it may be served stale after this failure."""
        if not failure.allows_stale:
            return None
        record = self._cache.get_stale(request.query.key)
        if record is not None and request.pinned not in (None, record.digest):
            return None
        return record

    def _queue_for(self, registry: Registry) -> RegistryQueue:
        queue = self._queues.get(registry.key)
        if queue is None:
            caller = registry.caller
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
                CALLS_FOR_SIGNATURES if registry.needs_signature else 1,
            )
            self._queues[registry.key] = queue
        return queue

    def _finish(self, pending: PendingLookup, outcome: TrustRecord | TrustLookupError) -> None:
        with self._lock:
            if isinstance(outcome, TrustRecord):
                self._cache.put(pending.query.key, outcome)
            if self._pending.get(pending.query.key) is pending:
                del self._pending[pending.query.key]
        if isinstance(outcome, TrustRecord) and outcome.status is TrustStatus.TRUSTED:
            self._recorder.record_trusted(pending.query.registry.name)
        pending.end(outcome)
