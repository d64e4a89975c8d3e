"""A change of signing keys while images run, through lookup, evidence and caches."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import Any

import pytest

from tests.support.builders import DIGEST, registry
from tests.support.fake_api import FakeApi
from tests.support.fakes import FakeClock, FakeTrustSource, RecorderSpy
from tests.unit.evidence.test_source import UNSIGNED, FakeRegistries
from webhook.cluster.secrets import SharedSecret
from webhook.cluster.snapshots import SnapshotScope, TrustSnapshot
from webhook.deadlines import Deadline, spawn
from webhook.errors import Fault, RegistryUnavailable
from webhook.evidence.source import EvidenceSource
from webhook.registries import Evidence, Registry, SignatureSettings, SigningKey
from webhook.signatures.check import SignatureCheck, SignatureResult
from webhook.trust.key_changes import find_key_changes
from webhook.trust.lookup import Failed, LookupRequest, TrustLookup
from webhook.trust.records import TrustQuery, TrustStatus
from webhook.trust.settings import CacheSettings, LookupSettings

CACHE = CacheSettings(trusted=60.0, refused=10.0, signed=3600.0, stale_if_error=12 * 3600.0)
IMAGE = "shop/web:1"
DOWN = RegistryUnavailable("down", fault=Fault.REGISTRY)

OLD = SigningKey("old", "/keys/old.pub", content=b"old")
NEW = SigningKey("new", "/keys/new.pub", content=b"new")
THIRD = SigningKey("third", "/keys/third.pub", content=b"third")


def keyed(*keys: SigningKey, **changes: Any) -> Registry:
    """Return a registry with these keys."""
    settings = SignatureSettings(keys, changes.pop("threshold", 1), changes.pop("annotations", ()))
    return registry(**{"evidence": Evidence.BOTH, "signatures": settings, **changes})


class Site:
    """One replica. The image is marked, and signed by the key ``old``."""

    def __init__(self, *keys: SigningKey) -> None:
        self.clock, spy = FakeClock(), RecorderSpy()
        self.registry = keyed(*keys)
        self.details = FakeTrustSource({IMAGE: TrustStatus.TRUSTED}, self.clock)
        self.clients = FakeRegistries()
        self.sign("old")
        self.source = EvidenceSource(self.details, self.clients, spy, CACHE, self.clock)
        self.lookup = TrustLookup(self.source, CACHE, LookupSettings(retries=0), spy, self.clock)

    def sign(self, *signers: str) -> None:
        """Let the image be signed by these keys only."""
        result = SignatureResult.SIGNED if signers else SignatureResult.UNSIGNED
        self.clients.checks[DIGEST] = SignatureCheck(result, self.clock(), signers=signers)

    def change(self, *keys: SigningKey, **changes: Any) -> None:
        """Let another policy be in force, as ``TrustService`` does."""
        before, self.registry = self.registry, keyed(*keys, **changes)
        found = find_key_changes([before], [self.registry])
        self.source.retain([self.registry], found)
        self.lookup.retain([self.registry], found)

    def go_down(self) -> None:
        """Let SWR and the registry answer nothing."""
        self.details.facts[IMAGE] = DOWN

    def look_up(self, at: Registry | None = None) -> str:
        """Return the status, the signers and the origin of the image, or that it is not known."""
        query = TrustQuery(at or self.registry, "shop", "web", tag="1")
        (result,) = self.lookup.look_up([LookupRequest(query)], Deadline.after(5))
        if isinstance(result, Failed):
            return "unknown"
        return " ".join((result.record.status, *result.record.signers, result.origin))


@pytest.mark.parametrize(("age", "origin"), [(0, "cache"), (61, "stale")])
def test_running_image_is_admitted_after_a_key_is_added_in_an_outage(age: float, origin: str) -> None:
    """Until it is too old, as without the change."""
    site = Site(OLD)
    assert site.look_up() == "trusted old swr"
    site.go_down()
    site.clock.tick(age)
    site.change(OLD, NEW)
    assert site.look_up() == f"trusted old {origin}"
    site.clock.tick(CACHE.stale_if_error - age)
    assert site.look_up() == "unknown"


def test_rotation_takes_no_call_of_the_registry() -> None:
    """Neither the tag nor its signatures are looked up again, on no replica."""
    site = Site(OLD, NEW)
    site.look_up()
    site.change(OLD, NEW, THIRD)
    site.change(OLD, replace(NEW, content=b"", problem="lapsed"), THIRD)
    assert site.look_up() == "trusted old cache"
    assert (len(site.details.asked), len(site.clients.asked)) == (1, 1)
    site.clock.tick(61)
    assert site.look_up() == "trusted old swr"
    assert (len(site.details.asked), len(site.clients.asked)) == (2, 1)


CHANGES: dict[str, tuple[tuple[SigningKey, ...], dict[str, Any]]] = {
    "removed": ((NEW,), {}),
    "removed, and nothing is left": ((), {}),
    "lapsed": ((replace(OLD, content=b"", problem="lapsed"), NEW), {}),
    "replaced": ((replace(OLD, content=b"another"), NEW), {}),
    "one of two": ((OLD, NEW), {"threshold": 2}),
    "annotations": ((OLD, NEW), {"annotations": (("stage", "prod"),)}),
    "another evidence": ((OLD, NEW), {"evidence": Evidence.SIGNATURE}),
}


@pytest.mark.parametrize("steps", [1, 2])
@pytest.mark.parametrize("age", [0, 61])
@pytest.mark.parametrize(("keys", "changes"), CHANGES.values(), ids=CHANGES)
def test_removed_key_admits_nothing_from_any_cache(
    keys: tuple[SigningKey, ...], changes: dict[str, Any], age: float, steps: int
) -> None:
    """Neither fresh, nor stale, nor in the snapshot; also if keys were added before."""
    site = Site(OLD)
    site.look_up()
    site.go_down()
    if steps == 2:
        site.change(OLD, NEW)
        assert site.look_up() == "trusted old cache"
    site.clock.tick(age)
    site.change(*keys, **changes)
    assert site.look_up() == "unknown"
    assert site.lookup.export_entries(site.lookup.keys()) == []
    site.details.facts[IMAGE] = TrustStatus.TRUSTED
    site.clients.checks[DIGEST] = UNSIGNED
    site.clock.tick(30)  # for the circuit breaker
    assert site.look_up() == "untrusted swr"
    assert len(site.clients.asked) == 2


def test_removed_key_does_not_return_with_its_name() -> None:
    """Its record is gone once the key is, also if the same key counts again."""
    site = Site(OLD)
    site.look_up()
    site.go_down()
    site.change(NEW)
    site.change(NEW, OLD)
    assert site.look_up() == "unknown"


def test_record_of_a_snapshot_is_dropped() -> None:
    """It names no signers. Records of this replica are in the snapshot under the new key."""
    site, other = Site(OLD), Site(OLD)
    other.look_up()
    site.lookup.import_entries(other.lookup.export_entries(other.lookup.keys()))
    site.go_down()
    assert site.look_up() == "trusted stale"
    for replica in (site, other):
        replica.change(OLD, NEW)
    assert site.look_up() == "unknown"
    site.lookup.import_entries(other.lookup.export_entries(other.lookup.keys()))
    assert site.look_up() == "trusted stale"


class Snapshots:
    """The snapshot that replicas share."""

    def __init__(self) -> None:
        api = FakeApi()
        api.put("/api/v1/namespaces/gate/secrets/snapshot", {"metadata": {"name": "snapshot"}})
        self._secret = SharedSecret(api, "gate", "snapshot")

    def exchange(self, site: Site) -> None:
        """Make a round of one replica."""
        snapshot = TrustSnapshot(
            self._secret,
            site.lookup,
            lambda: b"the key of one installation, 32 b",
            lambda: SnapshotScope(CACHE.stale_if_error, {site.registry.key}),
            RecorderSpy(),
            site.clock,
            lambda seconds: None,
        )
        assert snapshot.check()


@pytest.mark.parametrize(
    ("keys", "expected"), [((OLD, NEW), "trusted stale"), ((NEW, OLD), "trusted stale"), ((NEW,), "unknown")]
)
def test_replica_that_starts_after_a_change_of_keys_reads_what_was_carried_over(
    keys: tuple[SigningKey, ...], expected: str
) -> None:
    """In an outage: the replica that carries it over writes it. A removed key admits nothing."""
    old, snapshots = Site(OLD), Snapshots()
    old.look_up()
    snapshots.exchange(old)
    old.change(*keys)
    snapshots.exchange(old)
    new = Site(*keys)
    new.go_down()
    snapshots.exchange(new)
    assert new.look_up() == expected


@pytest.mark.parametrize(("revoked", "expected"), [(False, "trusted stale"), (True, "unknown")])
def test_snapshot_restores_trust_once_a_key_is_readable_again(revoked: bool, expected: str) -> None:
    """But not that of an image that lost it before."""
    site, snapshots = Site(OLD), Snapshots()
    site.look_up()
    snapshots.exchange(site)
    if revoked:
        site.clock.tick(3600)
        site.sign()
        assert site.look_up() == "untrusted swr"
    site.go_down()
    site.change(replace(OLD, content=b"", problem="cannot be read"))
    assert site.look_up() == "unknown"
    site.change(OLD)
    assert site.look_up() == "unknown"
    snapshots.exchange(site)
    assert site.look_up() == expected


def test_lookup_that_ends_after_the_change_is_stored_for_old_keys_only() -> None:
    """A review in progress uses the keys that it began with, to its end."""
    site = Site(OLD)
    gate = site.details.gate = threading.Event()
    before, answers = site.registry, list[str]()
    review = spawn(lambda: answers.append(site.look_up(before)), "review")
    while not site.details.asked:
        threading.Event().wait(0.001)
    site.change(NEW)
    gate.set()
    review.join(5)
    assert answers == ["trusted old swr"]
    site.details.gate = None
    site.go_down()
    assert site.look_up() == "unknown"
    site.change(NEW, THIRD)
    assert site.look_up() == "unknown"


def test_circuit_breaker_stays_open_when_keys_change() -> None:
    """Reviews do not wait for a registry again that does not answer."""
    site = Site(OLD)
    site.look_up()
    site.go_down()
    site.clock.tick(61)
    while not site.lookup.is_breaker_open(site.registry):
        assert site.look_up() == "trusted old stale"
    asked = len(site.details.asked)
    former = site.registry
    site.change(OLD, NEW)
    assert site.look_up() == "trusted old stale"
    assert len(site.details.asked) == asked
    assert site.lookup.is_breaker_open(site.registry)
    assert not site.lookup.is_breaker_open(former)
