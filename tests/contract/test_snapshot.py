"""Contract of the snapshot of trust records in a Secret: in memory and on a real API server."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from tests.controlplane import ControlPlane
from tests.support.builders import DIGEST, registry
from tests.support.fake_api import FakeApi
from tests.support.fakes import FakeClock, FakeTrustSource, RecorderSpy
from webhook.cluster.client import KubernetesApi, connect
from webhook.cluster.secrets import SharedSecret
from webhook.cluster.snapshots import ENTRY, FULL, ROUND, SnapshotScope, TrustSnapshot
from webhook.deadlines import Deadline, spawn
from webhook.errors import RegistryUnavailable
from webhook.trust.lookup import Found, LookupRequest, TrustLookup
from webhook.trust.records import TrustQuery, TrustStatus
from webhook.trust.replication import TrustEntry
from webhook.trust.settings import CacheSettings, LookupSettings
from webhook.trust.snapshot import sign, verify

NAMESPACE = "snapshots"
SECRETS = f"/api/v1/namespaces/{NAMESPACE}/secrets"
KEY = b"the key of one installation, 32 b"
WEB, API = "shop/web:1", "shop/api:1"
TRUSTED, UNTRUSTED = TrustStatus.TRUSTED, TrustStatus.UNTRUSTED
DOWN = RegistryUnavailable("down")


@pytest.fixture
def secret(request: pytest.FixtureRequest, api: KubernetesApi) -> SharedSecret:
    """Return an empty Secret of the test's own, like the chart's."""
    words = request.node.name.removeprefix("test_")
    name = "".join(letter if letter.isalnum() else "-" for letter in words.lower())[:60].strip("-")
    api.create(SECRETS, {"metadata": {"name": name, "labels": {"app": "gate"}}, "type": "Opaque"})
    return SharedSecret(api, NAMESPACE, name)


def query(image: str) -> TrustQuery:
    """Return the query of ``organization/repository:tag``."""
    path, _, tag = image.rpartition(":")
    organization, _, repository = path.partition("/")
    return TrustQuery(registry(), organization, repository, tag)


class Replica:
    """A cache with its snapshot, which runs rounds when the test tells it to."""

    def __init__(
        self,
        secret: SharedSecret,
        entries: Mapping[str, Any],
        clock: FakeClock | None = None,
        key: bytes | None = KEY,
        settings: CacheSettings | None = None,
        **changes: Any,
    ) -> None:
        self.clock = clock or FakeClock()
        self.source = FakeTrustSource(entries, self.clock)
        self.notes = RecorderSpy()
        self.settings = settings or CacheSettings()
        self.key = key
        self.lookup = TrustLookup(
            self.source, self.settings, LookupSettings(retries=0), self.notes, self.clock
        )
        self.imported: list[TrustEntry] = []
        keys = {registry(**changes).key}
        self.snapshot = TrustSnapshot(
            secret,
            self.lookup,
            lambda: self.key,
            lambda: SnapshotScope(self.settings.stale_if_error, keys),
            self.notes,
            self.clock,
            lambda seconds: None,
            self.imported.extend,
        )

    def look_up(self, image: str = WEB) -> str:
        """Look up an image and return the result in words."""
        (answer,) = self.lookup.look_up([LookupRequest(query(image))], Deadline.after(10))
        if isinstance(answer, Found):
            return f"{answer.record.status} from {answer.origin}"
        return f"unknown: {answer.failure.reason}"

    def check(self, lag: float | None = None) -> str:
        """Run one round; return its result."""
        self.snapshot.check(lag)
        return str(self.notes.named("snapshot_round_ended")[-1][0])

    def rejections(self) -> list[object]:
        """Return the reasons for which a stored snapshot was ignored."""
        return [reason for (reason,) in self.notes.named("snapshot_rejected")]


def stored(secret: SharedSecret) -> dict[str, TrustEntry]:
    """Return the records of the Secret, by image."""
    entries = verify(secret.read().data.get(ENTRY, b"") or sign([], KEY)[0], KEY)
    return {f"{entry.key[1]}/{entry.key[2]}{entry.key[3]}": entry for entry in entries}


def test_trust_survives_restart_of_all_replicas(secret: SharedSecret) -> None:
    """SWR is down when the new replica starts. Images of the snapshot are served stale, others are denied."""
    old = Replica(secret, {WEB: TRUSTED})
    old.look_up()
    assert old.check() == "written"
    new = Replica(secret, {WEB: DOWN, API: DOWN})
    assert new.look_up() == "unknown: unavailable"
    assert new.check() == "unchanged"
    assert new.look_up() == "trusted from stale"
    assert new.look_up(API) == "unknown: unavailable"


def test_imported_entries_are_reported(secret: SharedSecret) -> None:
    """The registry has answered about their organizations. Entries of other registries are not reported."""
    old = Replica(secret, {WEB: TRUSTED})
    old.look_up()
    old.check()
    new, other = Replica(secret, {}), Replica(secret, {}, region="cn-south-1")
    new.check()
    other.check()
    assert [entry.key[1:3] for entry in new.imported] == [("shop", "web")]
    assert other.imported == []


def test_snapshot_keeps_digest(secret: SharedSecret) -> None:
    """A stale record is valid for the digest that SWR reported, and for no other."""
    old = Replica(secret, {WEB: TRUSTED})
    old.look_up()
    old.check()
    new = Replica(secret, {WEB: DOWN})
    new.check()
    questions = [LookupRequest(query(WEB), pinned) for pinned in (DIGEST, "sha256:" + "0" * 64)]
    answers = new.lookup.look_up(questions, Deadline.after(10))
    assert [isinstance(answer, Found) for answer in answers] == [True, False]


def test_snapshot_is_not_used_while_swr_answers(secret: SharedSecret) -> None:
    """Even a snapshot that is one second old may contain trust that was revoked since."""
    old = Replica(secret, {WEB: TRUSTED})
    old.look_up()
    old.check()
    new = Replica(secret, {WEB: UNTRUSTED})
    new.check()
    assert new.look_up() == "untrusted from swr"


def test_replicas_merge_their_records(secret: SharedSecret) -> None:
    """Each replica may serve the records of another one stale."""
    one, two = Replica(secret, {WEB: TRUSTED, API: DOWN}), Replica(secret, {API: TRUSTED, WEB: DOWN})
    one.look_up(WEB)
    two.look_up(API)
    assert [one.check(), two.check(), one.check(), two.check()] == [
        "written",
        "written",
        "unchanged",
        "unchanged",
    ]
    assert sorted(stored(secret)) == [API, WEB]
    assert (one.look_up(API), two.look_up(WEB)) == ("trusted from stale", "trusted from stale")


def test_refusal_reaches_all_replicas(secret: SharedSecret) -> None:
    """Older trust of another replica does not make the image trusted again."""
    clock = FakeClock()
    one, two = Replica(secret, {WEB: TRUSTED}, clock), Replica(secret, {WEB: TRUSTED}, clock)
    one.look_up()
    clock.tick(10)
    two.look_up()
    one.check()
    clock.tick(10)
    two.source.facts[WEB] = UNTRUSTED
    clock.tick(60)
    assert two.look_up() == "untrusted from swr"
    assert two.check() == "written"
    assert not stored(secret)[WEB].trusted
    one.source.facts[WEB] = two.source.facts[WEB] = DOWN
    clock.tick(11)
    assert one.look_up() == "trusted from stale"
    assert one.check() == "unchanged"
    assert [one.look_up(), two.look_up()] == ["unknown: unavailable"] * 2
    assert Replica(secret, {}, clock).check() == "unchanged"
    assert not stored(secret)[WEB].trusted


def test_refusal_wins_over_older_trust_written_later(secret: SharedSecret) -> None:
    """A replica without a trusted record learns of the refusal; then another one writes its older trust."""
    clock = FakeClock()
    one, two = Replica(secret, {WEB: TRUSTED}, clock), Replica(secret, {WEB: UNTRUSTED}, clock)
    one.look_up()
    clock.tick(30)
    two.look_up()
    two.check()
    one.check()
    clock.tick(60)
    assert two.check() == "written"
    assert one.check() == "unchanged"
    one.source.facts[WEB] = two.source.facts[WEB] = DOWN
    assert [one.look_up(), two.look_up()] == ["unknown: unavailable"] * 2


def test_regained_trust_is_replicated(secret: SharedSecret) -> None:
    """A newer answer of SWR wins."""
    clock = FakeClock()
    one = Replica(secret, {WEB: TRUSTED}, clock)
    for status, trusted in ((TRUSTED, True), (UNTRUSTED, False), (TRUSTED, True)):
        one.source.facts[WEB] = status
        one.look_up()
        assert one.check() == "written"
        assert stored(secret)[WEB].trusted is trusted
        clock.tick(70)


def test_unchanged_records_are_not_written_each_round(secret: SharedSecret) -> None:
    """Each write is a new version of the whole Secret; the stored times are at most half an hour old."""
    clock = FakeClock()
    one = Replica(secret, {WEB: TRUSTED}, clock)
    results = []
    for _ in range(60):
        one.look_up()
        results.append(one.check())
        clock.tick(61)
    assert results.count("written") == 2
    assert (results[0], results[30]) == ("written", "written")


def test_final_write_has_current_times(secret: SharedSecret) -> None:
    """The next replica gets the records of the one that stops."""
    clock = FakeClock()
    one = Replica(secret, {WEB: TRUSTED}, clock)
    one.look_up()
    one.check()
    clock.tick(300)
    one.look_up()
    assert one.check(lag=ROUND) == "written"
    assert stored(secret)[WEB].at == clock.now


def test_records_older_than_stale_if_error_are_dropped(secret: SharedSecret) -> None:
    """The time counts from SWR's answer."""
    clock = FakeClock()
    settings = CacheSettings(stale_if_error=3600)
    old = Replica(secret, {WEB: TRUSTED, API: TRUSTED}, clock, settings=settings)
    old.look_up(WEB)
    clock.tick(1800)
    old.look_up(API)
    old.check()
    clock.tick(1800)
    new = Replica(secret, {WEB: DOWN, API: DOWN}, clock, settings=settings)
    new.check()
    assert (new.look_up(WEB), new.look_up(API)) == ("unknown: unavailable", "trusted from stale")
    new.source.facts[WEB] = TRUSTED
    new.look_up(WEB)
    clock.tick(10)
    new.source.facts["shop/new:1"] = TRUSTED
    new.look_up("shop/new:1")
    clock.tick(1800)
    assert new.check() == "written"
    assert sorted(stored(secret)) == ["shop/new:1", WEB]


def test_records_from_future_are_ignored(secret: SharedSecret) -> None:
    """A clock that was set back must not extend trust."""
    old = Replica(secret, {WEB: TRUSTED})
    old.look_up()
    old.check()
    new = Replica(secret, {WEB: DOWN}, FakeClock(old.clock.now - 60))
    new.check()
    assert new.look_up() == "unknown: unavailable"


def test_records_of_redefined_registry_are_kept_and_not_used(secret: SharedSecret) -> None:
    """Replicas with the old definition still use them; in a rollout both definitions are in use."""
    old = Replica(secret, {WEB: TRUSTED})
    old.look_up()
    old.check()
    new = Replica(secret, {WEB: DOWN, API: TRUSTED}, project_id="another")
    new.check()
    assert new.look_up() == "unknown: unavailable"
    new.look_up(API)
    assert new.check() == "written"
    assert sorted(stored(secret)) == [API, WEB]


def test_snapshot_is_disabled_without_stale_if_error(secret: SharedSecret) -> None:
    """Nothing may be served stale, so nothing is written or imported."""
    old = Replica(secret, {WEB: TRUSTED})
    old.look_up()
    old.check()
    new = Replica(secret, {WEB: DOWN}, settings=CacheSettings(stale_if_error=0))
    assert new.check() == "unchanged"
    assert new.look_up() == "unknown: unavailable"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"garbage", "malformed"),
        (b"x" * 600_000, "oversized"),
        (b"swr-trust snapshot 9\n" + b"x" * 100, "version"),
        (
            sign([TrustEntry((registry().key, "shop", "web", ":1"), 1_000_000, trusted=True)], b"guessed")[0],
            "forged",
        ),
    ],
    ids=["garbage", "too large", "another version", "forged"],
)
def test_invalid_snapshot_is_ignored_and_replaced(
    secret: SharedSecret, data: bytes, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The log and a metric report it; other entries and labels of the Secret are kept."""
    assert secret.write(secret.read(), {ENTRY: data, "other": b"theirs"})
    one = Replica(secret, {WEB: DOWN, API: TRUSTED})
    one.check()
    assert one.rejections() == [reason]
    assert "the stored snapshot is ignored and will be replaced: it" in caplog.text
    assert one.look_up() == "unknown: unavailable"
    assert one.snapshot.loading_ended
    one.look_up(API)
    assert one.check() == "written"
    assert list(stored(secret)) == [API]
    after = secret.read()
    assert after.data["other"] == b"theirs"
    assert after.obj is not None
    assert after.obj["metadata"]["labels"] == {"app": "gate"}


def test_emptied_secret_is_written_again(secret: SharedSecret) -> None:
    """This happens when a sync replaces it by the chart's object."""
    one = Replica(secret, {WEB: TRUSTED})
    one.look_up()
    one.check()
    assert secret.write(secret.read(), {})
    assert one.check() == "written"
    assert list(stored(secret)) == [WEB]


def test_new_key_rewrites_snapshot(secret: SharedSecret) -> None:
    """After a renewal of the certificate, running replicas write their records with the new key."""
    one, two = Replica(secret, {WEB: TRUSTED}), Replica(secret, {})
    one.look_up()
    one.check()
    two.check()
    one.key = two.key = b"the key of the renewed certificate"
    assert two.check() == "written"
    assert one.check() == "unchanged"
    assert one.rejections() == []
    new = Replica(secret, {WEB: DOWN}, key=one.key)
    new.check()
    assert new.look_up() == "trusted from stale"


def test_snapshot_without_key_is_not_read_or_written(secret: SharedSecret) -> None:
    """The certificate does not exist yet; the round does not count as failed."""
    one = Replica(secret, {WEB: TRUSTED}, key=None)
    one.look_up()
    assert one.snapshot.check() is False
    assert one.notes.named("snapshot_round_ended") == []
    assert one.snapshot.state == "there is no key yet: the certificate is still missing"
    one.key = KEY
    assert one.check() == "written"


def test_snapshot_keeps_newest_records_within_size_limit(secret: SharedSecret) -> None:
    """The records that did not fit are not a reason to write again."""
    clock = FakeClock()
    one = Replica(secret, {}, clock)
    digests = [hashlib.sha256(str(index).encode()).hexdigest() for index in range(10_000)]
    one.lookup.import_entries(
        TrustEntry(
            (registry().key, "shop", f"web-{index}", f":{digest[::-1][:20]}"),
            int(clock.now) - index,
            True,
            digest,
        )
        for index, digest in enumerate(digests)
    )
    assert one.check() == "written"
    assert len(secret.read().data[ENTRY]) > FULL
    assert 5000 < len(stored(secret)) < 10_000
    assert f"shop/web-0:{digests[0][::-1][:20]}" in stored(secret)
    assert one.check() == "unchanged"


def test_second_writer_merges_and_retries() -> None:
    """No record is lost if two replicas write at the same moment."""
    api = FakeApi()
    api.put(f"{SECRETS}/race", {"metadata": {"name": "race"}})
    secret = SharedSecret(api, NAMESPACE, "race")
    one, two = Replica(secret, {WEB: TRUSTED}), Replica(secret, {API: TRUSTED})
    one.look_up(WEB)
    two.look_up(API)
    api.before_write = one.check
    assert two.check() == "written"
    assert sorted(stored(secret)) == [API, WEB]


def test_repeated_write_conflict_ends_round() -> None:
    """Many replicas must not retry without end."""
    api = FakeApi()
    api.put(f"{SECRETS}/race", {"metadata": {"name": "race"}})
    secret = SharedSecret(api, NAMESPACE, "race")

    def write() -> None:
        api.put(f"{SECRETS}/race", {"metadata": {"name": "race"}})
        api.before_write = write

    api.before_write = write
    one = Replica(secret, {WEB: TRUSTED})
    one.look_up()
    assert one.check() == "conflict"


def test_unreachable_api_server_is_logged_once_and_retried(caplog: pytest.LogCaptureFixture) -> None:
    """It is logged once, and the records are written when the API server is back."""
    api = FakeApi()
    api.put(f"{SECRETS}/gone", {"metadata": {"name": "gone"}})
    one = Replica(SharedSecret(api, NAMESPACE, "gone"), {WEB: TRUSTED})
    api.down = True
    one.look_up()
    assert [one.check(), one.check()] == ["failed", "failed"]
    assert one.snapshot.problem == "the API server did not answer"
    assert caplog.text.count("cannot maintain the snapshot: the API server did not answer") == 1
    api.down = False
    assert one.check() == "written"
    assert one.snapshot.problem == ""
    assert one.snapshot.state == "1 images, 0 s ago"


class SlowApi(FakeApi):
    """An API server that blocks each answer until it is released."""

    def __init__(self) -> None:
        super().__init__()
        self.go = threading.Event()
        self.calls = 0

    def _answer(self) -> None:
        self.calls += 1
        self.go.wait(30)


def eventually(check: Callable[[], object]) -> None:
    """Wait until another thread has done its work."""
    guard = Deadline.after(10)
    while not check():
        assert not guard.expired, "waited in vain"
        time.sleep(0.01)


def test_slow_snapshot_does_not_block_readiness(monkeypatch: pytest.MonkeyPatch) -> None:
    """The replica becomes ready without it, and imports it when it arrives."""
    monkeypatch.setattr("webhook.cluster.snapshots.START", 0.2)
    api = SlowApi()
    api.put(f"{SECRETS}/slow", {"metadata": {"name": "slow"}})
    one = Replica(SharedSecret(api, NAMESPACE, "slow"), {WEB: TRUSTED})
    one.look_up()
    assert not one.snapshot.loading_ended
    stop = threading.Event()
    thread = spawn(lambda: one.snapshot.run(stop), "snapshot")
    eventually(lambda: api.calls)
    assert not one.snapshot.loading_ended
    eventually(lambda: one.snapshot.loading_ended)
    assert one.look_up() == "trusted from cache"
    api.go.set()
    eventually(lambda: one.notes.named("snapshot_seen"))
    stop.set()
    thread.join(10)
    assert not thread.is_alive()


def test_stopping_replica_writes_snapshot() -> None:
    """It does not wait for its next round."""
    api = FakeApi()
    api.put(f"{SECRETS}/stopping", {"metadata": {"name": "stopping"}})
    secret = SharedSecret(api, NAMESPACE, "stopping")
    one = Replica(secret, {WEB: TRUSTED})
    stop = threading.Event()
    thread = spawn(lambda: one.snapshot.run(stop), "snapshot")
    eventually(lambda: one.snapshot.loading_ended)
    one.look_up()
    stop.set()
    thread.join(10)
    assert list(stored(secret)) == [WEB]


GRANTS = [
    ("get", {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}),
    ("update", {"apiGroups": [""], "resources": ["secrets"], "verbs": ["update"]}),
]


def _run_with_rights(control_plane: ControlPlane, name: str, without: str) -> Replica:
    """Run a round with the rights of the chart, less one."""
    control_plane.kubectl("create", "namespace", NAMESPACE, check=False)
    control_plane.kubectl("create", "secret", "generic", name, "-n", NAMESPACE)
    rules: list[dict[str, Any]] = [
        {**rule, "resourceNames": [name]} for verb, rule in GRANTS if verb != without
    ]
    control_plane.grant("gate", NAMESPACE, rules)
    api = connect(str(control_plane.kubeconfig("gate")))
    one = Replica(SharedSecret(api, NAMESPACE, name), {WEB: TRUSTED})
    one.look_up()
    one.check()
    return one


def test_rights_of_chart_are_sufficient(control_plane: ControlPlane) -> None:
    """Authorization is enabled, and the user has no other rights."""
    one = _run_with_rights(control_plane, "rights-all", "")
    assert one.notes.named("snapshot_round_ended") == [("written",)]


@pytest.mark.parametrize("missing", [verb for verb, _ in GRANTS])
def test_each_right_is_required(control_plane: ControlPlane, missing: str) -> None:
    """Without one verb, the log names it."""
    one = _run_with_rights(control_plane, f"rights-{missing}", missing)
    assert one.notes.named("snapshot_round_ended") == [("failed",)]
    assert f'cannot {missing} resource "secrets"' in one.snapshot.problem
