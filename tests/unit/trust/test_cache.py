"""The cache of trust records: freshness, staleness, eviction and imported entries."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.support.fakes import FakeClock
from webhook.trust.cache import BATCH_SIZE, RecordCache, is_due
from webhook.trust.records import TrustRecord, TrustStatus
from webhook.trust.replication import MAX_CLOCK_SKEW, Key, TrustEntry
from webhook.trust.settings import CacheSettings

SETTINGS = CacheSettings(trusted=60, refused=10, stale_if_error=3600, max_entries=100)
KEY: Key = ("registry", "shop", "web", ":1.0")


class CacheWithClock:
    """A cache with a clock."""

    def __init__(self, settings: CacheSettings = SETTINGS) -> None:
        self.clock = FakeClock()
        self.cache = RecordCache(settings, self.clock)

    def put(self, status: TrustStatus, key: Key = KEY, age: float = 0.0) -> TrustRecord:
        """Store a record of this age."""
        record = TrustRecord(status, self.clock.now - age)
        self.cache.put(key, record)
        return record

    def import_entry(self, age: float = 0.0, key: Key = KEY, *, trusted: bool = True) -> None:
        """Import an entry of another replica with an answer of this age."""
        self.cache.import_entry(TrustEntry(key, int(self.clock.now - age), trusted))

    def configure(self, settings: CacheSettings) -> None:
        """Change the settings of the running cache."""
        for _ in self.cache.configure(settings):
            pass

    @property
    def state(self) -> str:
        """Return what the cache has for the image: ``answers``, ``stands in`` or ``nothing``."""
        if self.cache.get(KEY) is not None:
            return "answers"
        return "stands in" if self.cache.get_stale(KEY) is not None else "nothing"


@pytest.mark.parametrize(
    ("status", "age", "expected"),
    [
        (TrustStatus.TRUSTED, 0, "answers"),
        (TrustStatus.TRUSTED, 59.9, "answers"),
        (TrustStatus.TRUSTED, 60, "stands in"),
        (TrustStatus.TRUSTED, 3599, "stands in"),
        (TrustStatus.TRUSTED, 3600, "nothing"),
        (TrustStatus.UNTRUSTED, 9.9, "answers"),
        (TrustStatus.UNTRUSTED, 10, "nothing"),
        (TrustStatus.MISSING, 9.9, "answers"),
        (TrustStatus.MISSING, 10, "nothing"),
        (TrustStatus.TRUSTED, -MAX_CLOCK_SKEW - 1, "nothing"),
        (TrustStatus.UNTRUSTED, -MAX_CLOCK_SKEW - 1, "nothing"),
        (TrustStatus.TRUSTED, -MAX_CLOCK_SKEW + 1, "answers"),
    ],
)
def test_record_age_determines_fresh_stale_or_expired(status: TrustStatus, age: float, expected: str) -> None:
    """Trusted records and refusals have their own times; only trusted ones are served stale."""
    kept = CacheWithClock()
    kept.put(status, age=age)
    assert kept.state == expected


def test_cache_hits_do_not_extend_freshness() -> None:
    """An image that is used every second is looked up again after its time (T28)."""
    kept = CacheWithClock()
    kept.put(TrustStatus.TRUSTED)
    for _ in range(60):
        assert kept.state == "answers"
        kept.clock.tick(1)
    assert kept.state == "stands in"


@pytest.mark.parametrize("refusal", [TrustStatus.UNTRUSTED, TrustStatus.MISSING])
def test_refusal_deletes_trusted_record(refusal: TrustStatus) -> None:
    """Once its own time is over no record is left that could be served stale."""
    kept = CacheWithClock()
    kept.put(TrustStatus.TRUSTED)
    kept.put(refusal)
    record = kept.cache.get(KEY)
    assert record is not None
    assert record.status is refusal
    kept.clock.tick(10)
    assert kept.state == "nothing"


def test_trusted_record_replaces_refusal() -> None:
    """An image that was just marked as trusted is admitted."""
    kept = CacheWithClock()
    kept.put(TrustStatus.UNTRUSTED)
    kept.put(TrustStatus.TRUSTED)
    assert kept.cache.sizes == (1, 0, 0)


def test_older_answer_does_not_replace_newer_record() -> None:
    """Two calls may end in another order than that of their answers."""
    kept = CacheWithClock()
    kept.put(TrustStatus.UNTRUSTED)
    kept.put(TrustStatus.TRUSTED, age=5)
    record = kept.cache.get(KEY)
    assert record is not None
    assert record.status is TrustStatus.UNTRUSTED


def test_trusted_record_from_the_future_is_replaced_by_any_answer() -> None:
    """Any answer replaces a record from the future, which is never used again."""
    kept = CacheWithClock()
    kept.put(TrustStatus.TRUSTED)
    kept.clock.tick(-1000)
    kept.put(TrustStatus.UNTRUSTED)
    kept.clock.tick(1001)
    assert kept.state == "nothing"


def test_refusals_beyond_limit_evict_refusals_only() -> None:
    """Missing tags must not evict a record that may be served stale."""
    kept = CacheWithClock()
    kept.put(TrustStatus.TRUSTED)
    for index in range(1000):
        kept.put(TrustStatus.MISSING, ("registry", "shop", "web", f":no-{index}"))
    assert kept.cache.sizes == (1, 100, 0)
    assert kept.state == "answers"


def test_trusted_records_are_limited_to_max_entries() -> None:
    """A million distinct references use no more memory than ``maxEntries`` of them."""
    kept = CacheWithClock()
    for index in range(1000):
        kept.put(TrustStatus.TRUSTED, ("registry", "shop", "web", f":{index}"))
    assert kept.cache.sizes == (100, 0, 0)


def test_changed_cache_settings_keep_valid_records() -> None:
    """A reload of the policy causes no lookup."""
    kept = CacheWithClock()
    kept.put(TrustStatus.TRUSTED, age=100)
    kept.configure(CacheSettings(trusted=300, refused=10, stale_if_error=3600, max_entries=100))
    assert kept.state == "answers"
    kept.configure(CacheSettings(trusted=50, refused=10, stale_if_error=0, max_entries=100))
    assert kept.state == "nothing"


LONGER = CacheSettings(trusted=300, refused=100, stale_if_error=7200, max_entries=1000)


@pytest.mark.parametrize(
    ("meanwhile", "expected"),
    [
        (lambda kept: None, "answers"),
        (lambda kept: kept.put(TrustStatus.UNTRUSTED), "refuses"),
        (lambda kept: kept.import_entry(trusted=False, age=-1), "nothing"),
        (lambda kept: kept.cache.retain({"other"}), "nothing"),
        (lambda kept: kept.cache.get(KEY), "answers"),
    ],
    ids=["nothing", "a refusal", "a loss elsewhere", "another definition", "use"],
)
@pytest.mark.parametrize("steps", [0, 1, 2, 3])
def test_changes_during_cache_reconfiguration_take_effect(
    meanwhile: Callable[[CacheWithClock], object], expected: str, steps: int
) -> None:
    """For records that were already refiled, and for the others."""
    kept = CacheWithClock(replace(SETTINGS, max_entries=1000))
    for index in range(BATCH_SIZE):
        kept.put(TrustStatus.TRUSTED, ("other", "shop", "web", f":{index}"))
    kept.put(TrustStatus.TRUSTED)
    work = kept.cache.configure(LONGER)
    for _ in range(steps):
        next(work, None)
    meanwhile(kept)
    for _ in work:
        pass
    kept.clock.tick(5)
    record = kept.cache.get(KEY)
    said = "nothing" if record is None else "answers" if record.status is TrustStatus.TRUSTED else "refuses"
    assert said == expected


def test_cache_reconfiguration_runs_in_batches() -> None:
    """Other requests run between two batches."""
    kept = CacheWithClock(replace(SETTINGS, max_entries=1000))
    for index in range(1000):
        kept.put(TrustStatus.TRUSTED, ("registry", "shop", "web", f":{index}"))
    assert len(list(kept.cache.configure(LONGER))) == 1000 / BATCH_SIZE
    assert kept.cache.sizes == (1000, 0, 0)


def test_records_of_removed_registry_are_dropped() -> None:
    """A registry with a new definition has another key; no old record applies."""
    kept = CacheWithClock()
    kept.put(TrustStatus.TRUSTED)
    kept.put(TrustStatus.MISSING, ("other", "shop", "web", ":1.0"))
    kept.cache.retain({"other"})
    assert kept.cache.sizes == (0, 1, 0)


@pytest.mark.parametrize(
    ("age", "expected"),
    [(0, "stands in"), (3599, "stands in"), (3600, "nothing"), (-MAX_CLOCK_SKEW - 1, "nothing")],
)
def test_imported_trust_is_served_stale_only(age: float, expected: str) -> None:
    """At any age: SWR is queried whenever it is available."""
    kept = CacheWithClock()
    kept.import_entry(age)
    assert kept.state == expected


def test_imported_trust_ages_from_time_of_swr_answer() -> None:
    """The time in the entry is that of SWR's answer, not that of the import."""
    kept = CacheWithClock()
    kept.import_entry(3000)
    kept.clock.tick(600)
    assert kept.state == "nothing"


@pytest.mark.parametrize("refusal", [TrustStatus.UNTRUSTED, TrustStatus.MISSING])
def test_refusal_deletes_imported_trust(refusal: TrustStatus) -> None:
    """At once, and importing it again has no effect."""
    kept = CacheWithClock()
    kept.import_entry(20)
    kept.put(refusal)
    kept.import_entry(20)
    kept.clock.tick(10)
    assert kept.state == "nothing"
    assert kept.cache.export_entry(KEY) == TrustEntry(KEY, 1_000_000, trusted=False)


@pytest.mark.parametrize("hours", [0, 11])
def test_older_imported_trust_does_not_override_local_refusal(hours: int) -> None:
    """This replica had no trusted record of the image, and the refusal itself is fresh for seconds only."""
    kept = CacheWithClock(CacheSettings(trusted=60, refused=10, stale_if_error=12 * 3600, max_entries=100))
    kept.put(TrustStatus.UNTRUSTED)
    kept.clock.tick(hours * 3600 + 60)
    kept.import_entry(hours * 3600 + 60 + 1)
    assert kept.state == "nothing"
    assert kept.cache.export_entry(KEY) == TrustEntry(KEY, 1_000_000, trusted=False)


def test_imported_revocation_ends_fresh_record() -> None:
    """The next lookup queries SWR before the record's own time is over."""
    kept = CacheWithClock()
    kept.put(TrustStatus.TRUSTED, age=20)
    kept.import_entry(10, trusted=False)
    assert kept.state == "nothing"


@pytest.mark.parametrize(("newer", "expected"), [(4, "nothing"), (6, "stands in")])
def test_imported_trust_must_be_newer_than_refusal_by_clock_skew(newer: int, expected: str) -> None:
    """Trust wins only if it is newer than a refusal by more than that, regardless of their replicas."""
    kept = CacheWithClock()
    kept.import_entry(20, trusted=False)
    kept.import_entry(20 - newer)
    assert kept.state == expected


def test_regained_trust_overrides_older_imported_revocation() -> None:
    """The revocation then ends on all replicas."""
    kept = CacheWithClock()
    kept.import_entry(100, trusted=False)
    kept.put(TrustStatus.TRUSTED)
    kept.import_entry(100, trusted=False)
    assert kept.state == "answers"
    assert kept.cache.export_entry(KEY) == TrustEntry(KEY, 1_000_000, trusted=True)


def test_refusals_beyond_limit_do_not_evict_tombstones() -> None:
    """A refusal that revoked trust is kept apart from refusals of tags that never were trusted."""
    kept = CacheWithClock()
    kept.put(TrustStatus.TRUSTED, age=20)
    kept.put(TrustStatus.UNTRUSTED)
    for index in range(1000):
        kept.put(TrustStatus.MISSING, ("registry", "shop", "web", f":no-{index}"))
    kept.import_entry(20)
    assert kept.state == "nothing"


def test_imported_entries_have_separate_limit() -> None:
    """They evict no record of this replica's own lookups."""
    kept = CacheWithClock()
    kept.put(TrustStatus.TRUSTED)
    for index in range(1000):
        kept.import_entry(index % 60, ("registry", "shop", "web", f":{index}"))
        kept.import_entry(index % 60, ("registry", "shop", "lost", f":{index}"), trusted=False)
    assert kept.cache.sizes == (1, 0, 100)
    assert len(kept.cache.keys()) == 201
    assert kept.state == "answers"


def test_export_holds_trust_and_revocations_only() -> None:
    """Times are rounded so that trust never becomes newer and a revocation never older."""
    kept = CacheWithClock()
    kept.clock.now += 0.5
    lost: Key = ("registry", "shop", "lost", ":1")
    heard: Key = ("registry", "shop", "heard", ":1")
    kept.put(TrustStatus.TRUSTED)
    kept.put(TrustStatus.TRUSTED, lost)
    kept.put(TrustStatus.UNTRUSTED, lost)
    kept.put(TrustStatus.MISSING, ("registry", "shop", "never", ":1"))
    kept.import_entry(100, heard)
    assert sorted(
        filter(None, map(kept.cache.export_entry, kept.cache.keys())), key=lambda entry: entry.key
    ) == [
        TrustEntry(heard, 999_900, trusted=True),
        TrustEntry(lost, 1_000_001, trusted=False),
        TrustEntry(KEY, 1_000_000, trusted=True),
    ]


def test_export_does_not_affect_eviction_order() -> None:
    """The least recently used record is evicted."""
    kept = CacheWithClock(CacheSettings(max_entries=2))
    first, second, third = (("registry", "shop", "web", f":{index}") for index in range(3))
    for key in (first, second):
        kept.put(TrustStatus.TRUSTED, key)
    kept.cache.get(first)
    for key in list(kept.cache.keys()):
        kept.cache.export_entry(key)
    kept.put(TrustStatus.TRUSTED, third)
    assert kept.cache.get(first) is not None
    assert kept.cache.get(second) is None


def test_imported_entries_survive_new_settings_but_not_registry_removal() -> None:
    """Like records of this replica's own lookups."""
    kept = CacheWithClock()
    kept.import_entry(100)
    kept.import_entry(100, ("other", "shop", "web", ":1"), trusted=False)
    kept.configure(CacheSettings(stale_if_error=7200, max_entries=10))
    assert len(kept.cache.keys()) == 2
    kept.cache.retain({"other"})
    assert kept.cache.keys() == [("other", "shop", "web", ":1")]
    kept.configure(CacheSettings(stale_if_error=0))
    kept.import_entry(1)
    assert kept.state == "nothing"


def test_refresh_times_are_spread_over_end_of_freshness() -> None:
    """Images that were looked up in one second are not refreshed in one second."""
    due = []
    for index in range(100):
        record = TrustRecord(TrustStatus.TRUSTED, 1_000_000 + index * 0.00137)
        due.append(next(age for age in range(61) if is_due(record, SETTINGS, record.fetched_at + age)))
    assert min(due) >= 36
    assert max(due) <= 54
    assert len(set(due)) > 10


def test_refusals_are_not_refreshed() -> None:
    """No request depends on a refusal being cached."""
    assert not is_due(TrustRecord(TrustStatus.MISSING, 1_000_000), SETTINGS, 1_000_009)


def test_smaller_cache_keeps_records_that_were_used_last() -> None:
    """Not those that were added last: images that run are added once, and used for months."""
    kept = CacheWithClock(CacheSettings(max_entries=2 * BATCH_SIZE))
    keys: list[Key] = [("registry", "shop", "web", f":{index}") for index in range(2 * BATCH_SIZE)]
    for key in keys:
        kept.put(TrustStatus.TRUSTED, key)
    kept.cache.get(keys[0])
    assert len(list(kept.cache.configure(CacheSettings(max_entries=2)))) > 1
    assert {key for key in keys if kept.cache.get(key) is not None} == {keys[0], keys[-1]}


def test_cache_of_expired_records_can_become_smaller() -> None:
    kept = CacheWithClock(CacheSettings(max_entries=3))
    for index in range(3):
        kept.put(TrustStatus.TRUSTED, ("registry", "shop", "web", f":{index}"))
    kept.clock.tick(1_000_000)
    kept.configure(CacheSettings(max_entries=1))
    assert kept.cache.sizes == (0, 0, 0)
