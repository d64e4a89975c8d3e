"""The records in memory: bounded, each kept by its own age, trusted and refused apart.

What this process heard from SWR answers for a while and stands in for longer. What other processes
heard, and wrote into the snapshot, only ever stands in: SWR is asked wherever it can be.

Not thread-safe: even reading reorders a cachetools cache. ``TrustLookup`` holds one lock around it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator
from typing import Any, TypeVar

from cachetools import Cache, TLRUCache

from webhook.trust.facts import FUTURE, Fact, Key
from webhook.trust.records import TrustRecord, TrustStatus
from webhook.trust.settings import CacheSettings

_Kept = TypeVar("_Kept")


class RecordCache:
    """Records by the key of their query.

    A trusted record answers for ``trusted`` seconds and may stand in for ``stale_if_error``
    seconds, both counted from SWR's answer and never pushed out by hits. A refusal answers for
    ``refused`` seconds and erases trust at once; that it was heard is remembered for
    ``stale_if_error`` seconds, so that no older trust of another replica comes back. A flood of
    refusals evicts refusals only, and none that ended trust.
    """

    def __init__(self, settings: CacheSettings, clock: Callable[[], float]) -> None:
        """Hold at most ``settings.max_entries`` of each; ``clock`` is in epoch seconds."""
        self._clock = clock
        self.settings = settings
        self._make_stores()

    def get(self, key: Key) -> TrustRecord | None:
        """Return the record that answers now, or ``None``."""
        record = _find(self._trusted, key)
        if record is not None:
            return record if self._is_fresh(record, self.settings.trusted) else None
        record = _find(self._refused, key)
        if record is not None and self._is_fresh(record, self.settings.refused):
            return record
        return None

    def get_stand_in(self, key: Key) -> TrustRecord | None:
        """Return the trusted record that may stand in while SWR cannot be asked, or ``None``."""
        own, recalled = self._trusted.get(key), self._recalled.get(key)
        for record in (recalled, own):
            if record is not None and self._is_fresh(record, self._longest(self.settings.trusted)):
                return record
        return None

    def put(self, key: Key, record: TrustRecord) -> None:
        """Keep what SWR said, unless something newer is there already.

        What seems to come from the future, because the clock was set back, is not newer: it must
        not outlive what SWR says now.
        """
        known = self._trusted.get(key) or self._refused.get(key)
        if known is not None and record.fetched_at < known.fetched_at <= self._clock() + FUTURE:
            return
        if record.status is TrustStatus.TRUSTED:
            self._refused.pop(key, None)
            self._lost.pop(key, None)
            self._trusted[key] = record
        else:
            had_trust = self._trusted.pop(key, None) is not None
            had_trust = self._recalled.pop(key, None) is not None or had_trust
            if had_trust:
                self._lost[key] = record.fetched_at
            self._refused[key] = record
        self._recalled.pop(key, None)

    def recall(self, fact: Fact) -> None:
        """Take in what another process heard, as far as it is not contradicted here."""
        age = self._clock() - fact.at
        if not -FUTURE <= age < self.settings.stale_if_error:
            return
        if fact.trusted:
            self._recall_trust(fact)
        else:
            self._recall_loss(fact)

    def keys(self) -> list[Key]:
        """Return the keys of all that another process may want to know, some twice; see ``fact``."""
        return [*_keys(self._trusted), *_keys(self._recalled), *_keys(self._lost)]

    def fact(self, key: Key) -> Fact | None:
        """Return what another process may want to know of an image; is no use of it."""
        lost = _peek(self._lost, key)
        if lost is not None:
            return Fact(key, math.ceil(lost), trusted=False)
        record = _peek(self._recalled, key) or _peek(self._trusted, key)
        if record is None:
            return None
        return Fact(key, math.floor(record.fetched_at), trusted=True, digest=record.digest)

    def configure(self, settings: CacheSettings) -> None:
        """Go on under other settings, keeping what still counts under them.

        Only where something is to be kept for longer, or another number of records, all of it is
        filed anew: that takes a tenth of a second for ten thousand.
        """
        before, self.settings = self.settings, settings
        if settings.max_entries == before.max_entries and all(
            getattr(settings, name) <= getattr(before, name)
            for name in ("trusted", "refused", "stale_if_error")
        ):
            return
        old = [*self._trusted.items(), *self._refused.items()]
        recalled, lost = list(self._recalled.items()), list(self._lost.items())
        self._make_stores()
        for key, record in old:
            self.put(key, record)
        for key, record in recalled:
            self._recalled[key] = record
        for key, at in lost:
            self._lost[key] = at

    def retain(self, registries: Collection[str]) -> None:
        """Forget the records of registries whose keys are not listed."""
        for store in (self._trusted, self._refused, self._recalled, self._lost):
            for key in [key for key in _keys(store) if key[0] not in registries]:
                store.pop(key, None)

    @property
    def sizes(self) -> tuple[int, int, int]:
        """How many trusted and refused records there are, and how many of other processes."""
        return len(self._trusted), len(self._refused), len(self._recalled)

    def _recall_trust(self, fact: Fact) -> None:
        key = fact.key
        refused = _peek(self._refused, key)
        refused_at = refused.fetched_at if refused is not None else -math.inf
        heard = max(_peek(self._lost, key) or -math.inf, refused_at)
        if heard >= fact.at - FUTURE:
            # Somebody believes it still: that it was refused must reach them.
            self._lost[key] = heard
            return
        known = _peek(self._recalled, key) or _peek(self._trusted, key)
        if known is None or known.fetched_at < fact.at:
            self._lost.pop(key, None)
            self._recalled[key] = TrustRecord(TrustStatus.TRUSTED, fact.at, fact.digest)

    def _recall_loss(self, fact: Fact) -> None:
        key = fact.key
        for store in (self._trusted, self._recalled):
            record = _peek(store, key)
            if record is not None and record.fetched_at > fact.at + FUTURE:
                return
            store.pop(key, None)
        self._lost[key] = max(fact.at, _peek(self._lost, key) or 0.0)

    def _longest(self, life: float) -> float:
        """Return for how long a record is kept that answers for ``life`` seconds."""
        return max(life, self.settings.stale_if_error)

    def _is_fresh(self, record: TrustRecord, life: float) -> bool:
        return -FUTURE <= self._clock() - record.fetched_at < life

    def _make_stores(self) -> None:
        self._trusted: TLRUCache[Key, TrustRecord] = self._store(self._end_of_trusted)
        self._refused: TLRUCache[Key, TrustRecord] = self._store(self._end_of_refused)
        self._recalled: TLRUCache[Key, TrustRecord] = self._store(self._end_of_recalled)
        self._lost: TLRUCache[Key, float] = self._store(self._end_of_loss)

    def _store(self, end: Callable[[Key, _Kept, float], float]) -> TLRUCache[Key, _Kept]:
        return TLRUCache(maxsize=self.settings.max_entries, ttu=end, timer=self._clock)

    def _end_of_trusted(self, key: Key, record: TrustRecord, now: float) -> float:
        del key, now
        return record.fetched_at + self._longest(self.settings.trusted)

    def _end_of_refused(self, key: Key, record: TrustRecord, now: float) -> float:
        del key, now
        return record.fetched_at + self._longest(self.settings.refused)

    def _end_of_recalled(self, key: Key, record: TrustRecord, now: float) -> float:
        del key, now
        return record.fetched_at + self.settings.stale_if_error

    def _end_of_loss(self, key: Key, at: float, now: float) -> float:
        del key, now
        return at + FUTURE + self.settings.stale_if_error


def _find(store: TLRUCache[Key, TrustRecord], key: Key) -> TrustRecord | None:
    """Return what is kept under a key, looking once: cachetools' ``get`` looks twice."""
    try:
        return store[key]
    except KeyError:
        return None


def is_due(record: TrustRecord, settings: CacheSettings, now: float) -> bool:
    """Whether a trusted record that was just used should be refreshed ahead of its end.

    The point lies between 60 and 90 % of its life and differs from record to record, so that what
    was learnt together is not asked again together.
    """
    if record.status is not TrustStatus.TRUSTED:
        return False
    spread = math.modf(record.fetched_at * 1000.0)[0]
    return now - record.fetched_at >= settings.trusted * (0.6 + 0.3 * abs(spread))


def _peek(store: TLRUCache[Key, _Kept], key: Key) -> _Kept | None:
    """Return what is kept without counting it as used."""
    return Cache.__getitem__(store, key) if key in store else None


def _keys(store: TLRUCache[Key, Any]) -> Iterator[Key]:
    """Return the keys of what is kept, and of what has ended and was not swept out yet: quickly."""
    return Cache[Key, Any].__iter__(store)
