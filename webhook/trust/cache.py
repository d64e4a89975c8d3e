"""Cache of trust records, bounded by number and age.

Records that this process fetched are first fresh and may later be served stale. Records that other
replicas fetched are only ever served stale.

Not thread-safe: even reading reorders a cachetools cache. ``TrustLookup`` holds a lock around it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from typing import Any, Final, TypeVar

from cachetools import Cache, TLRUCache

from webhook.trust.key_changes import KeyChange, KeyChanges
from webhook.trust.records import TrustRecord, TrustStatus
from webhook.trust.replication import MAX_CLOCK_SKEW, Key, TrustEntry
from webhook.trust.settings import CacheSettings

_Kept = TypeVar("_Kept")
_Store = TLRUCache[Key, Any]
_Stores = tuple[_Store, _Store, _Store, _Store]
"""The stores of trusted, refused and imported records, and of tombstones."""

BATCH_SIZE: Final = 200
"""Records that are moved without a pause: some milliseconds."""


class RecordCache:
    """Trust records by query key.

    A trusted record is fresh for ``trusted`` seconds and may be served stale for ``stale_if_error``
    seconds, both counted from SWR's response, not from the last hit. A refusal is fresh for ``refused``
    seconds and deletes the trusted record. A tombstone keeps the time of the refusal for
    ``stale_if_error`` seconds, so that an older trusted record of another replica is not imported.
    Trusted records, refusals and tombstones have separate size limits.
    """

    def __init__(self, settings: CacheSettings, clock: Callable[[], float]) -> None:
        """Hold at most ``settings.max_entries`` of each; ``clock`` is in epoch seconds."""
        self._clock = clock
        self.settings = settings
        self._touched: set[Key] | None = None
        """The keys that changed while records are moved to new stores, ``None`` if they are not."""
        self._set_stores(self._make_stores())

    def get(self, key: Key) -> TrustRecord | None:
        """Return the fresh record, or ``None``."""
        record = _find(self._trusted, key)
        if record is not None:
            return record if self._is_fresh(record, self.settings.trusted) else None
        record = _find(self._refused, key)
        if record is not None and not record.superseded and self._is_fresh(record, self.settings.refused):
            return record
        return None

    def get_stale(self, key: Key) -> TrustRecord | None:
        """Return the trusted record that may be served stale, or ``None``."""
        own, imported = self._trusted.get(key), self._imported.get(key)
        for record in (imported, own):
            if record is not None and self._is_fresh(record, self._longest(self.settings.trusted)):
                return record
        return None

    def put(self, key: Key, record: TrustRecord) -> None:
        """Keep a record, unless there is a newer one.

        A record from the future, as after the clock was set back, is not newer: it must not outlive what
        SWR responds now.
        """
        self._touch(key)
        known = self._trusted.get(key) or self._refused.get(key)
        if known is not None and record.fetched_at < known.fetched_at <= self._clock() + MAX_CLOCK_SKEW:
            return
        if record.status is TrustStatus.TRUSTED:
            self._refused.pop(key, None)
            self._tombstones.pop(key, None)
            self._trusted[key] = record
        else:
            had_trust = self._trusted.pop(key, None) is not None
            had_trust = self._imported.pop(key, None) is not None or had_trust
            if had_trust:
                self._tombstones[key] = record.fetched_at
            self._refused[key] = record
        self._imported.pop(key, None)

    def import_entry(self, entry: TrustEntry) -> None:
        """Import an entry of another replica, unless a record of this process contradicts it."""
        age = self._clock() - entry.at
        if not -MAX_CLOCK_SKEW <= age < self.settings.stale_if_error:
            return
        self._touch(entry.key)
        if entry.trusted:
            self._import_trust(entry)
        else:
            self._import_refusal(entry)

    def keys(self) -> list[Key]:
        """Return the keys of all entries that other replicas may need, some of them twice."""
        return [*_keys(self._trusted), *_keys(self._imported), *_keys(self._tombstones)]

    def export_entry(self, key: Key) -> TrustEntry | None:
        """Return the entry for other replicas; does not count as a use of the record."""
        refused_at = _peek(self._tombstones, key)
        if refused_at is not None:
            return TrustEntry(key, math.ceil(refused_at), trusted=False)
        record = _peek(self._imported, key) or _peek(self._trusted, key)
        if record is None:
            return None
        return TrustEntry(key, math.floor(record.fetched_at), trusted=True, digest=record.digest)

    def configure(self, settings: CacheSettings) -> Iterator[None]:
        """Change the settings, keeping the records that they allow; a batch at each step.

        Records are moved to new stores only if a time or the number of records grows or changes. The
        cache can be used between two steps; what changes meanwhile is moved at the end.
        """
        before, self.settings = self.settings, settings
        if settings.max_entries == before.max_entries and all(
            getattr(settings, name) <= getattr(before, name)
            for name in ("trusted", "refused", "stale_if_error")
        ):
            return
        for store in self._stores:
            while _evict(store, settings.max_entries):
                yield
        yield from self._rebuild({})

    def carry_over(self, changes: KeyChanges) -> Iterator[None]:
        """Move what stays valid after a change of signing keys to new keys; a batch at each step.

        Trusted records keep their age. Refusals do not answer under the new key. They and tombstones only
        prevent the import of older trust, which another replica carries over, too. Imported records name no
        signers and are dropped. The cache can be used between two steps, under the old keys, and all moves
        take effect at the end.
        """
        yield from self._rebuild(changes)

    def retain(self, registries: Collection[str]) -> None:
        """Forget the records of registries whose keys are not listed."""
        for store in self._stores:
            for key in [key for key in _keys(store) if key[0] not in registries]:
                self._touch(key)
                store.pop(key, None)

    def _rebuild(self, changes: KeyChanges) -> Iterator[None]:
        """Move all entries to new stores, those of changed registries to their new keys."""
        old, new = self._stores, RecordCache(self.settings, self._clock)
        keys = list(dict.fromkeys(key for store in old for key in _keys(store)))
        # Those under a new key already are copied first, because others are merged into them.
        keys.sort(key=lambda key: key[0] in changes)
        self._touched = set()
        try:
            for start in range(0, len(keys), BATCH_SIZE):
                for key in keys[start : start + BATCH_SIZE]:
                    self._move(key, new, changes)
                yield
            for key in self._touched:
                self._move(key, new, changes)
            sources = {change.key: former for former, change in changes.items()}
            for key in self._touched:
                if key[0] in sources:
                    self._move((sources[key[0]], *key[1:]), new, changes)
            self._set_stores(new._stores)
        finally:
            self._touched = None

    def _move(self, key: Key, target: RecordCache, changes: KeyChanges) -> None:
        change = changes.get(key[0])
        if change is None:
            _copy(key, self._stores, target._stores)
        else:
            self._carry(key, target, change)

    def _carry(self, key: Key, target: RecordCache, change: KeyChange) -> None:
        """Merge what is known under ``key`` into what is known under the new key of its registry."""
        new_key = (change.key, *key[1:])
        refused_at = _peek(self._tombstones, key)
        if refused_at is not None:
            target._import_refusal(TrustEntry(new_key, math.ceil(refused_at), trusted=False))
        refused = _peek(self._refused, key)
        if refused is not None:
            target.put(new_key, replace(refused, superseded=True))
        trusted = _peek(self._trusted, key)
        carried = change.carry_record(trusted) if trusted is not None else None
        if carried is not None:
            last_refusal = _peek(target._tombstones, new_key) or -math.inf
            if last_refusal < carried.fetched_at - MAX_CLOCK_SKEW:
                target.put(new_key, carried)

    @property
    def sizes(self) -> tuple[int, int, int]:
        """The numbers of trusted, refused and imported records."""
        return len(self._trusted), len(self._refused), len(self._imported)

    def _import_trust(self, entry: TrustEntry) -> None:
        key = entry.key
        refused = _peek(self._refused, key)
        refused_at = refused.fetched_at if refused is not None else -math.inf
        last_refusal = max(_peek(self._tombstones, key) or -math.inf, refused_at)
        if last_refusal >= entry.at - MAX_CLOCK_SKEW:
            if refused is None or not refused.superseded:
                # Another replica still trusts the image and must import the refusal.
                self._tombstones[key] = last_refusal
            return
        known = _peek(self._imported, key) or _peek(self._trusted, key)
        if known is None or known.fetched_at < entry.at:
            self._tombstones.pop(key, None)
            self._imported[key] = TrustRecord(TrustStatus.TRUSTED, entry.at, entry.digest)

    def _import_refusal(self, entry: TrustEntry) -> None:
        key = entry.key
        for store in (self._trusted, self._imported):
            record = _peek(store, key)
            if record is not None and record.fetched_at > entry.at + MAX_CLOCK_SKEW:
                return
            store.pop(key, None)
        self._tombstones[key] = max(entry.at, _peek(self._tombstones, key) or 0.0)

    def _longest(self, life: float) -> float:
        """Return for how long a record is kept that is fresh for ``life`` seconds."""
        return max(life, self.settings.stale_if_error)

    def _is_fresh(self, record: TrustRecord, life: float) -> bool:
        return -MAX_CLOCK_SKEW <= self._clock() - record.fetched_at < life

    def _touch(self, key: Key) -> None:
        if self._touched is not None:
            self._touched.add(key)

    @property
    def _stores(self) -> _Stores:
        return self._trusted, self._refused, self._imported, self._tombstones

    def _set_stores(self, stores: _Stores) -> None:
        self._trusted: TLRUCache[Key, TrustRecord] = stores[0]
        self._refused: TLRUCache[Key, TrustRecord] = stores[1]
        self._imported: TLRUCache[Key, TrustRecord] = stores[2]
        self._tombstones: TLRUCache[Key, float] = stores[3]

    def _make_stores(self) -> _Stores:
        return (
            self._store(self._end_of_trusted),
            self._store(self._end_of_refused),
            self._store(self._end_of_imported),
            self._store(self._end_of_tombstone),
        )

    def _store(self, end: Callable[[Key, _Kept, float], float]) -> TLRUCache[Key, _Kept]:
        return TLRUCache(maxsize=self.settings.max_entries, ttu=end, timer=self._clock)

    def _end_of_trusted(self, key: Key, record: TrustRecord, now: float) -> float:
        del key, now
        return record.fetched_at + self._longest(self.settings.trusted)

    def _end_of_refused(self, key: Key, record: TrustRecord, now: float) -> float:
        del key, now
        return record.fetched_at + self._longest(self.settings.refused)

    def _end_of_imported(self, key: Key, record: TrustRecord, now: float) -> float:
        del key, now
        return record.fetched_at + self.settings.stale_if_error

    def _end_of_tombstone(self, key: Key, at: float, now: float) -> float:
        del key, now
        return at + MAX_CLOCK_SKEW + self.settings.stale_if_error


def _find(store: TLRUCache[Key, TrustRecord], key: Key) -> TrustRecord | None:
    """Return the record of a key by one access; cachetools' ``get`` makes two."""
    try:
        return store[key]
    except KeyError:
        return None


def is_due(record: TrustRecord, settings: CacheSettings, now: float) -> bool:
    """Return whether a trusted record that was just used should be refreshed."""
    return record.status is TrustStatus.TRUSTED and is_ending(record.fetched_at, settings.trusted, now)


def is_ending(since: float, life: float, now: float) -> bool:
    """Return whether something that is used for ``life`` seconds from ``since`` on is to be renewed ahead.

    That is between 60 and 90 % of its life and differs between things, so that those that were fetched
    together are not renewed together. Times are in epoch seconds.
    """
    spread = math.modf(since * 1000.0)[0]
    return now - since >= life * (0.6 + 0.3 * abs(spread))


def _peek(store: TLRUCache[Key, _Kept], key: Key) -> _Kept | None:
    """Return the value without counting it as used."""
    return Cache.__getitem__(store, key) if key in store else None


def _evict(store: _Store, limit: int) -> bool:
    """Evict a batch of what was not used for longest, down to a limit; return whether more may follow.

    Copying to a smaller store would keep what was added last, not what was used last.
    """
    with store.timer:
        store.expire()
        for _ in range(min(BATCH_SIZE, len(store) - limit)):
            store.popitem()
    return len(store) > limit


def _copy(key: Key, old: _Stores, new: _Stores) -> None:
    """Copy the values of a key from the old stores to the new ones."""
    for source, target in zip(old, new, strict=True):
        kept = _peek(source, key)
        if kept is not None:
            target[key] = kept
        elif key in target:
            del target[key]


def _keys(store: TLRUCache[Key, Any]) -> Iterator[Key]:
    """Return all keys quickly, also those of expired values that were not removed yet."""
    return Cache[Key, Any].__iter__(store)
