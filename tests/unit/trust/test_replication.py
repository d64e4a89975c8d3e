"""Replication of trust entries: which of two wins, which are exported, and when a snapshot is written."""

from __future__ import annotations

import pytest

from webhook.trust.replication import MAX_CLOCK_SKEW, MAX_ENTRIES, Merger, TrustEntry, resolve_conflict

NOW = 1_000_000


def entry(name: str = "web", age: int = 0, *, trusted: bool = True, digest: str | None = None) -> TrustEntry:
    """Return an entry of ``shop/name:1`` of this age."""
    return TrustEntry(("registry", "shop", name, ":1"), NOW - age, trusted, digest)


def merger(*stored: TrustEntry, life: float = 3600) -> Merger:
    """Return a merger of the stored and the new entries."""
    return Merger(stored, NOW - life, NOW + MAX_CLOCK_SKEW)


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (entry(age=10), entry(age=20), entry(age=10)),
        (entry(age=20), entry(age=10), entry(age=10)),
        (entry(age=20), entry(age=10, trusted=False), entry(age=10, trusted=False)),
        (entry(age=20, trusted=False), entry(age=10), entry(age=10)),
        (entry(age=20, trusted=False), entry(age=15), entry(age=20, trusted=False)),
        (entry(age=10), entry(age=10, trusted=False), entry(age=10, trusted=False)),
        (None, entry(), entry()),
    ],
    ids=[
        "newer trust",
        "newer trust, the other way round",
        "a refusal after trust",
        "trust after a refusal",
        "trust after a refusal by less than clocks may differ",
        "both at once",
        "nothing known",
    ],
)
def test_newer_entry_wins_and_refusal_wins_within_clock_skew(
    one: TrustEntry | None, other: TrustEntry, expected: TrustEntry
) -> None:
    """In either order."""
    assert resolve_conflict(one, other) == expected
    if one is not None:
        assert resolve_conflict(other, one) == expected


def test_merge_holds_newest_entries_of_both_sides() -> None:
    """Newest first."""
    both = merger(entry("a", 30))
    both.add([entry("b", 20), entry("a", 10)])
    assert both.result() == [entry("a", 10), entry("b", 20)]


def test_older_trust_does_not_override_stored_refusal() -> None:
    """A replica that does not know of the refusal must not undo it."""
    both = merger(entry(age=10, trusted=False))
    both.add([entry(age=30)])
    assert both.result() == [entry(age=10, trusted=False)]


@pytest.mark.parametrize("age", [3600, -MAX_CLOCK_SKEW - 1], ids=["too old", "from the future"])
@pytest.mark.parametrize("trusted", [True, False])
def test_expired_and_future_entries_are_not_merged(age: int, trusted: bool) -> None:
    """Entries older than ``staleIfError`` are dropped, and so are entries from the future."""
    both = merger(entry("stored", int(age), trusted=trusted))
    both.add([entry("known", int(age), trusted=trusted)])
    assert both.result() == []


def test_merge_is_limited_to_newest_entries() -> None:
    """The number is bounded, and images in use are the newest."""
    both = merger(life=100_000)
    both.add(entry(f"image-{age}", age) for age in range(MAX_ENTRIES + 10, 0, -1))
    result = both.result()
    assert len(result) == MAX_ENTRIES
    assert result[0] == entry("image-1", 1)
    assert result[-1] == entry(f"image-{MAX_ENTRIES}", MAX_ENTRIES)


@pytest.mark.parametrize(
    ("stored", "known", "expected"),
    [
        ([], [entry()], True),
        ([entry(age=50)], [entry(age=0)], False),
        ([entry(age=61)], [entry(age=0)], True),
        ([entry(age=50)], [entry(age=0, trusted=False)], True),
        ([entry(age=50, digest="sha256:a")], [entry(age=0, digest="sha256:b")], True),
        ([entry("gone", age=3600)], [], False),
    ],
    ids=["a new image", "a little newer", "much newer", "a refusal", "another digest", "nothing known"],
)
def test_snapshot_is_written_only_for_significant_changes(
    stored: list[TrustEntry], known: list[TrustEntry], expected: bool
) -> None:
    """A write is a new version of the whole: images in use alone must not cause one each minute."""
    both = merger(*stored)
    both.add(known)
    assert both.has_changes(60, full=False) is expected


@pytest.mark.parametrize(("age", "expected"), [(200, False), (50, True)])
def test_full_snapshot_is_not_written_for_older_entries(age: int, expected: bool) -> None:
    """Otherwise each replica would write a full snapshot each minute."""
    both = merger(entry("a", 10), entry("b", 100))
    both.add([entry("c", age)])
    assert both.has_changes(60, full=True) is expected
