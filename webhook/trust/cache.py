"""The records in memory: bounded, each kept by its own age, trusted and refused apart.

Not thread-safe: even reading reorders a cachetools cache. ``TrustLookup`` holds one lock around it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from typing import Final

from cachetools import TLRUCache

from webhook.trust.records import TrustRecord, TrustStatus
from webhook.trust.settings import CacheSettings

Key = tuple[str, str, str, str]
"""``TrustQuery.key``; its first part is the registry's."""

FUTURE: Final = 5.0
"""Seconds by which a record may seem to come from the future before it is not believed."""


class RecordCache:
    """Records by the key of their query.

    A trusted record answers for ``trusted`` seconds and may stand in for ``stale_if_error``
    seconds, both counted from SWR's answer and never pushed out by hits. A refusal answers for
    ``refused`` seconds and erases trust at once. A flood of refusals evicts refusals only.
    """

    def __init__(self, settings: CacheSettings, clock: Callable[[], float]) -> None:
        """Hold at most ``settings.max_entries`` of each; ``clock`` is in epoch seconds."""
        self._clock = clock
        self.settings = settings
        self._trusted: TLRUCache[Key, TrustRecord] = self._store(self._end_of_trusted)
        self._refused: TLRUCache[Key, TrustRecord] = self._store(self._end_of_refused)

    def get(self, key: Key) -> TrustRecord | None:
        """Return the record that answers now, or ``None``."""
        record = self._trusted.get(key)
        if record is not None:
            age = self._clock() - record.fetched_at
            return record if -FUTURE <= age < self.settings.trusted else None
        record = self._refused.get(key)
        if record is not None and self._clock() - record.fetched_at >= -FUTURE:
            return record
        return None

    def get_stand_in(self, key: Key) -> TrustRecord | None:
        """Return the trusted record that may stand in while SWR cannot be asked, or ``None``."""
        record = self._trusted.get(key)
        if record is None or self._clock() - record.fetched_at < -FUTURE:
            return None
        return record

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
            self._trusted[key] = record
        else:
            self._trusted.pop(key, None)
            self._refused[key] = record

    def trusted_records(self) -> list[tuple[Key, TrustRecord]]:
        """Return every trusted record that may still stand in."""
        return list(self._trusted.items())

    def configure(self, settings: CacheSettings) -> None:
        """Go on under other settings, keeping what still counts under them."""
        old = [*self._trusted.items(), *self._refused.items()]
        self.settings = settings
        self._trusted = self._store(self._end_of_trusted)
        self._refused = self._store(self._end_of_refused)
        for key, record in old:
            self.put(key, record)

    def retain(self, registries: Collection[str]) -> None:
        """Forget the records of registries whose keys are not listed."""
        for store in (self._trusted, self._refused):
            for key in [key for key in store if key[0] not in registries]:
                store.pop(key, None)

    @property
    def sizes(self) -> tuple[int, int]:
        """How many trusted and how many refused records there are."""
        return len(self._trusted), len(self._refused)

    def _store(self, end: Callable[[Key, TrustRecord, float], float]) -> TLRUCache[Key, TrustRecord]:
        return TLRUCache(maxsize=self.settings.max_entries, ttu=end, timer=self._clock)

    def _end_of_trusted(self, key: Key, record: TrustRecord, now: float) -> float:
        del key, now
        return record.fetched_at + max(self.settings.trusted, self.settings.stale_if_error)

    def _end_of_refused(self, key: Key, record: TrustRecord, now: float) -> float:
        del key, now
        return record.fetched_at + self.settings.refused


def is_due(record: TrustRecord, settings: CacheSettings, now: float) -> bool:
    """Whether a trusted record that was just used should be refreshed ahead of its end.

    The point lies between 60 and 90 % of its life and differs from record to record, so that what
    was learnt together is not asked again together.
    """
    if record.status is not TrustStatus.TRUSTED:
        return False
    spread = math.modf(record.fetched_at * 1000.0)[0]
    return now - record.fetched_at >= settings.trusted * (0.6 + 0.3 * abs(spread))
