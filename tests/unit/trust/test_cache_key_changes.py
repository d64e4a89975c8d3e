"""The cache of trust records when the signing keys of a registry change."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.unit.trust.test_cache import KEY, SETTINGS, CacheWithClock
from webhook.signatures.check import SignatureCheck, SignatureResult
from webhook.trust.cache import BATCH_SIZE
from webhook.trust.key_changes import KeyChange
from webhook.trust.records import TrustRecord, TrustStatus
from webhook.trust.replication import Key, TrustEntry

NEW_KEY: Key = ("new", *KEY[1:])
CHANGE = {"registry": KeyChange("new", False, 1, {"release": "release"}, ("next", "release"))}


class CacheWithChange(CacheWithClock):
    """A cache of a registry whose signing keys change."""

    def sign(self, key: Key = KEY, *, age: float = 0.0, signer: str = "release") -> TrustRecord:
        """Store the record of a signed image."""
        at = self.clock.now - age
        check = SignatureCheck(SignatureResult.SIGNED, at, signers=(signer,))
        record = TrustRecord(TrustStatus.TRUSTED, at, "sha256:1", signature=check)
        self.cache.put(key, record)
        return record

    def change(self) -> None:
        """Change the keys."""
        for _ in self.cache.carry_over(CHANGE):
            pass
        self.cache.retain({"new"})

    def state_of(self, key: Key) -> str:
        """Return what the cache has for a key."""
        record = self.cache.get(key)
        if record is not None:
            return record.status.value
        return "stale" if self.cache.get_stale(key) is not None else "nothing"

    @property
    def states(self) -> tuple[str, str]:
        """Return what the cache has under the old and under the new key."""
        return self.state_of(KEY), self.state_of(NEW_KEY)


@pytest.mark.parametrize(
    ("age", "state"), [(0, "trusted"), (59, "trusted"), (60, "stale"), (3599, "stale"), (3600, "nothing")]
)
def test_trusted_record_keeps_its_age_when_keys_change(age: float, state: str) -> None:
    """It is moved: the old key has nothing any longer."""
    kept = CacheWithChange()
    kept.sign(age=age)
    kept.change()
    assert kept.states == ("nothing", state)
    kept.clock.tick(3600 - age)
    assert kept.states == ("nothing", "nothing")


@pytest.mark.parametrize(
    "store",
    [
        lambda kept: kept.sign(signer="removed"),
        lambda kept: kept.put(TrustStatus.TRUSTED),
        lambda kept: kept.put(TrustStatus.UNTRUSTED),
        lambda kept: kept.put(TrustStatus.MISSING),
        lambda kept: kept.import_entry(),
    ],
    ids=["removed signer", "no signature", "untrusted", "missing", "imported"],
)
def test_other_records_are_dropped_when_keys_change(store: Callable[[CacheWithChange], object]) -> None:
    """In no store, and not for other replicas."""
    kept = CacheWithChange()
    store(kept)
    kept.change()
    assert kept.states == ("nothing", "nothing")
    assert kept.cache.keys() == []


def test_refusal_of_old_keys_prevents_import_of_older_trust() -> None:
    """Another replica carries its trust over, too, and did not learn of the refusal. It is not told, because the
    new keys may trust the image.
    """
    kept = CacheWithChange()
    kept.put(TrustStatus.UNTRUSTED, age=20)
    kept.change()
    kept.import_entry(30, NEW_KEY)
    assert kept.states == ("nothing", "nothing")
    assert kept.cache.keys() == []
    kept.import_entry(10, NEW_KEY)
    assert kept.states == ("nothing", "stale")


def test_revocation_stays_when_keys_change() -> None:
    """Otherwise the carried trust of another replica would end it."""
    kept = CacheWithChange()
    kept.sign(age=60)
    kept.put(TrustStatus.UNTRUSTED, age=50)
    kept.change()
    kept.import_entry(60, NEW_KEY)
    assert kept.states == ("nothing", "nothing")
    at = int(kept.clock.now) - 50
    assert kept.cache.export_entry(NEW_KEY) == TrustEntry(NEW_KEY, at, trusted=False)


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        (lambda kept: kept.put(TrustStatus.UNTRUSTED, NEW_KEY, age=5), "untrusted"),
        (lambda kept: kept.import_entry(5, NEW_KEY, trusted=False), "nothing"),
        (lambda kept: kept.import_entry(18, NEW_KEY, trusted=False), "nothing"),
        (lambda kept: kept.sign(NEW_KEY, age=5), "trusted"),
        (lambda kept: kept.put(TrustStatus.UNTRUSTED, NEW_KEY, age=30), "trusted"),
    ],
    ids=["newer refusal", "newer loss", "loss within the skew", "newer trust", "older refusal"],
)
def test_carried_trust_does_not_replace_what_is_newer(
    known: Callable[[CacheWithChange], object], expected: str
) -> None:
    """Reviews may use the new keys already, if a registry of the new policy could not be opened at once."""
    kept = CacheWithChange(replace(SETTINGS, trusted=20))
    kept.sign(age=15)
    known(kept)
    kept.change()
    assert kept.states == ("nothing", expected)


@pytest.mark.parametrize("steps", [0, 1, 2])
@pytest.mark.parametrize(
    ("meanwhile", "before", "after"),
    [
        (lambda kept: None, "trusted", "trusted"),
        (lambda kept: kept.put(TrustStatus.UNTRUSTED), "untrusted", "nothing"),
        (lambda kept: kept.import_entry(age=-1, trusted=False), "nothing", "nothing"),
        (lambda kept: kept.put(TrustStatus.UNTRUSTED, NEW_KEY), "trusted", "untrusted"),
        (lambda kept: kept.import_entry(-1, NEW_KEY, trusted=False), "trusted", "nothing"),
    ],
    ids=["nothing", "a refusal", "a loss elsewhere", "a refusal by new keys", "a loss by new keys"],
)
def test_old_keys_are_used_until_all_records_are_carried_over(
    meanwhile: Callable[[CacheWithChange], object], before: str, after: str, steps: int
) -> None:
    """What changes meanwhile takes effect."""
    kept = CacheWithChange(replace(SETTINGS, max_entries=1000))
    for index in range(BATCH_SIZE):
        kept.sign(("registry", "shop", "api", f":{index}"), age=1)
    kept.sign(age=1)
    work = kept.cache.carry_over(CHANGE)
    for _ in range(steps):
        next(work)
    meanwhile(kept)
    assert kept.state_of(KEY) == before
    for _ in work:
        pass
    assert kept.states == ("nothing", after)


def test_records_of_other_registries_stay_when_keys_change() -> None:
    """All of them: trusted, refused, imported and revoked ones."""
    kept = CacheWithChange()
    keys: list[Key] = [("other", "shop", "web", f":{index}") for index in range(4)]
    trusted = kept.put(TrustStatus.TRUSTED, keys[0])
    refused = kept.put(TrustStatus.UNTRUSTED, keys[1])
    kept.import_entry(10, keys[2])
    kept.import_entry(10, keys[3], trusted=False)
    kept.sign()
    for _ in kept.cache.carry_over(CHANGE):
        pass
    assert [kept.cache.get(key) for key in keys] == [trusted, refused, None, None]
    assert kept.cache.sizes == (2, 1, 1)
    assert sorted(kept.cache.keys()) == sorted([NEW_KEY, keys[0], keys[2], keys[3]])
