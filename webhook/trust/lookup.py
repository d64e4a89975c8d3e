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
from webhook.trust.cache import RecordCache, is_due
from webhook.trust.facts import Fact, Key
from webhook.trust.flight import Flight
from webhook.trust.lane import Lane, LaneRecorder
from webhook.trust.limiter import RateLimiter
from webhook.trust.records import TrustQuery, TrustRecord, TrustSource, TrustStatus
from webhook.trust.settings import CacheSettings, LookupSettings

BREATH: Final = 0.001
"""Seconds between two steps of long work, for everybody else."""


class Origin(StrEnum):
    """Where an answer came from; a metric label and part of the decision log."""

    CACHE = "cache"
    SWR = "swr"
    STALE = "stale"
    """SWR could not be asked: an earlier trusted answer stands in (``cache.staleIfError``)."""


class Known(msgspec.Struct, frozen=True):
    """A record, and where it came from. ``failure`` is why a stale one had to stand in."""

    record: TrustRecord
    origin: Origin
    failure: TrustLookupError | None = None


class Unknown(msgspec.Struct, frozen=True):
    """The lookup failed."""

    failure: TrustLookupError


Answer = Known | Unknown


class Question(msgspec.Struct, frozen=True):
    """A query on behalf of somebody.

    ``pinned`` is the digest that the reference pins, if any: a cached record that holds another
    digest never answers it, unless it was fetched less than ``cache.refused`` seconds ago.
    ``tenant`` is the namespace that asks: cold lookups are shared out fairly among tenants.
    """

    query: TrustQuery
    pinned: str | None = None
    tenant: str = ""


class TrustRecorder(LaneRecorder, Protocol):
    """Is told how questions were answered."""

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
        self._flights: dict[Key, Flight] = {}
        self._lanes: dict[str, Lane] = {}
        self._limiters: dict[tuple[str, CredentialSettings], RateLimiter] = {}

    def ask(self, questions: Sequence[Question], deadline: Deadline) -> list[Answer]:
        """Answer all questions at once, in order, none later than the deadline.

        Never raises ``TrustLookupError``: a failure is an ``Unknown``.
        """
        answers: list[Answer | None] = []
        waiting: list[tuple[int, Question, Flight]] = []
        with self._lock:
            now = self._clock()
            for index, question in enumerate(questions):
                key = question.query.key
                record = self._cache.get(key)
                if record is not None and self._is_answer(record, question, now):
                    answers.append(Known(record, Origin.CACHE))
                    self._recorder.cache_answered("hit")
                    if is_due(record, self._cache.settings, now) and key not in self._flights:
                        self._recorder.cache_answered("refresh")
                        self._launch(key, Flight(question.query, background=True))
                    continue
                answers.append(None)
                waiting.append((index, question, self._join(key, question)))
        for index, question, flight in waiting:
            answers[index] = self._await(question, flight, deadline)
        found = [answer for answer in answers if answer is not None]
        return self._look_again(questions, found) if waiting else found

    def _look_again(self, questions: Sequence[Question], answers: Sequence[Answer]) -> list[Answer]:
        """Return the answers as they are after a wait: what is too old to be used by now is known no more.

        Else who names many cold images beside one would see that one admitted for longer than ``trusted``.
        """
        with self._lock:
            now = self._clock()
            return [
                self._renew(question, answer, now)
                for question, answer in zip(questions, answers, strict=True)
            ]

    def _renew(self, question: Question, answer: Answer, now: float) -> Answer:
        if isinstance(answer, Unknown) or answer.origin is Origin.STALE:
            return answer
        # What this review has asked itself may be as old as a lookup takes, however short ``trusted`` is.
        asked = self._settings.timeout if answer.origin is Origin.SWR else 0.0
        if now - answer.record.fetched_at <= max(self._cache.settings.trusted, asked):
            return answer
        record = self._cache.get(question.query.key)
        if record is not None and self._is_answer(record, question, now):
            return Known(record, Origin.CACHE)
        detail = "what SWR had said became too old while other images of this review were waited for"
        return Unknown(LookupTimeout(detail, fault=Fault.LOCAL))

    def configure(self, cache: CacheSettings, lookup: LookupSettings) -> None:
        """Go on under other settings; what is known stays as far as it counts under them.

        Takes a while where much is known, and holds nobody up. For one caller at a time.
        """
        if cache != self._cache.settings:
            steps = self._cache.configure(cache)
            while self._take(steps):
                time.sleep(BREATH)
        with self._lock:
            if lookup != self._settings:
                self._settings = lookup
                self._lanes.clear()
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
            for key in [key for key in self._lanes if key not in keys]:
                del self._lanes[key]

    def warm(self, queries: Sequence[TrustQuery]) -> None:
        """Ask about images in the background, as far as the queue takes them."""
        with self._lock:
            for query in queries:
                if self._cache.get(query.key) is None and query.key not in self._flights:
                    self._launch(query.key, Flight(query, background=True))

    def keys(self) -> list[Key]:
        """Return the keys of all that another process may want to know."""
        with self._lock:
            return self._cache.keys()

    def facts(self, keys: Sequence[Key]) -> list[Fact]:
        """Return what another process may want to know of these images."""
        with self._lock:
            return [fact for key in keys if (fact := self._cache.fact(key)) is not None]

    def recall(self, facts: Iterable[Fact]) -> None:
        """Take in what other processes heard: trust to stand in, and the loss of trust."""
        with self._lock:
            for fact in facts:
                self._cache.recall(fact)

    @property
    def sizes(self) -> tuple[int, int, int]:
        """How many trusted and refused records are in memory, and how many of other processes."""
        with self._lock:
            return self._cache.sizes

    def _is_answer(self, record: TrustRecord, question: Question, now: float) -> bool:
        if question.pinned is None or record.status is not TrustStatus.TRUSTED:
            return True
        if record.digest == question.pinned:
            return True
        return now - record.fetched_at < self._cache.settings.refused

    def _join(self, key: Key, question: Question) -> Flight:
        flight = self._flights.get(key)
        if flight is None:
            flight = Flight(question.query, waiters=1)
            self._recorder.cache_answered("miss")
            self._launch(key, flight, question.tenant)
            return flight
        flight.waiters += 1
        self._recorder.cache_answered("coalesced")
        if not flight.started and question.tenant not in flight.tenants:
            # Whoever joins waits in its own queue: the first one's may be as long as its author likes.
            flight.background = False
            self._lane(question.query.registry).submit(flight, question.tenant)
        return flight

    def _launch(self, key: Key, flight: Flight, tenant: str = "") -> None:
        self._flights[key] = flight
        if not self._lane(flight.query.registry).submit(flight, tenant):
            del self._flights[key]
            flight.failure = Throttled("too many lookups are waiting already", fault=Fault.LOCAL)
            flight.done.set()

    def _await(self, question: Question, flight: Flight, deadline: Deadline) -> Answer:
        answered = flight.done.wait(deadline.remaining())
        self._take_turn()
        with self._lock:
            flight.waiters -= 1
            record, failure = flight.record, flight.failure
            if record is not None:
                return Known(record, Origin.SWR)
            if failure is None or not answered:
                failure = self._explain_wait(flight)  # the call may still succeed: nothing is known of SWR
            stand_in = self._stand_in(question, failure)
        if stand_in is None:
            return Unknown(failure)
        self._recorder.cache_answered("stale")
        return Known(stand_in, Origin.STALE, failure)

    def _explain_wait(self, flight: Flight) -> TrustLookupError:
        """Return why a flight was not over by the deadline of one review.

        Never the registry's fault: when a review comes, how long it may wait and what queues before it
        are its author's choice. Only the call itself can say that SWR does not answer.
        """
        if flight.started:
            return LookupTimeout(
                "SWR had not answered when the time of this review was over", fault=Fault.LOCAL
            )
        lane = self._lanes.get(flight.query.registry.key)
        if lane is not None and lane.is_held_back:
            return Throttled("our own limit of calls is used up", fault=Fault.LOCAL)
        return LookupTimeout(
            "the lookup was still in the queue when the time of this review was over", fault=Fault.LOCAL
        )

    def _stand_in(self, question: Question, failure: TrustLookupError) -> TrustRecord | None:
        """Return an earlier trusted record where the failure is such that it may stand in."""
        if not failure.allows_stale:
            return None
        record = self._cache.get_stand_in(question.query.key)
        if record is not None and question.pinned not in (None, record.digest):
            return None
        return record

    def _lane(self, registry: Registry) -> Lane:
        lane = self._lanes.get(registry.key)
        if lane is None:
            caller = (registry.endpoint, registry.credentials)
            limiter = self._limiters.get(caller)
            if limiter is None:
                limiter = self._limiters[caller] = RateLimiter(self._settings.calls_per_second)
            lane = Lane(
                registry.name,
                self._source,
                limiter,
                self._settings,
                self._recorder,
                self._finish,
                self._lateness,
            )
            self._lanes[registry.key] = lane
        return lane

    def _finish(self, flight: Flight, outcome: TrustRecord | TrustLookupError) -> None:
        with self._lock:
            if isinstance(outcome, TrustRecord):
                self._cache.put(flight.query.key, outcome)
                flight.record = outcome
            else:
                flight.failure = outcome
            if self._flights.get(flight.query.key) is flight:
                del self._flights[flight.query.key]
        flight.done.set()
