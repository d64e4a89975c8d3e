"""A registry whose manifests fail while its front end works: signed images keep running, others gain nothing."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from tests.emulator.registry import TOKEN_PATH
from tests.emulator.server import Emulator
from tests.emulator.signing import generate_key, public_pem
from tests.support.builders import registry
from tests.support.fakes import FakeClock, RecorderSpy
from tests.support.registries import write_docker_config
from webhook.deadlines import Deadline
from webhook.evidence.clients import RegistryClientPool
from webhook.evidence.kept_blobs import KeptBlobs
from webhook.evidence.source import EvidenceSource
from webhook.http_client.transport import PooledTransport
from webhook.registries import CredentialSettings, Evidence, SignatureSettings, SigningKey
from webhook.signatures.keys import read_public_key
from webhook.trust.breaker import FAILURES_TO_OPEN
from webhook.trust.lookup import Found, LookupRequest, TrustLookup
from webhook.trust.records import CallLimiter, TrustQuery, TrustRecord, TrustStatus
from webhook.trust.settings import CacheSettings, LookupSettings

CACHE = CacheSettings(trusted=60.0, signed=3600.0)
LOOKUP = LookupSettings(timeout=1.5)

OTHERS = [f"other{number}" for number in range(FAILURES_TO_OPEN)]
SPENT = {"at once": 0.0, "0.1 s of 3 s": 0.1 / 3, "0.36 s of 3 s": 0.36 / 3, "0.8 s of 3 s": 0.8 / 3}
"""The shares of ``lookup.timeout`` that the calls before the manifest take."""


class Tags:
    """Implements ``TrustSource``: SWR's own API, which names the digest of each tag at all times."""

    seconds = 0.0
    """The time of a call."""

    def __init__(self, clock: FakeClock) -> None:
        self.digests: dict[str, str] = {}
        self._clock = clock

    def fetch(self, query: TrustQuery, deadline: Deadline, call_limiter: CallLimiter) -> TrustRecord:
        with call_limiter.call(deadline):
            time.sleep(self.seconds)
            return TrustRecord(TrustStatus.UNTRUSTED, self._clock(), self.digests[query.path])


@dataclass
class Site:
    """The whole lookup of signed images, over a real transport."""

    emulator: Emulator
    clock: FakeClock
    tags: Tags
    image: TrustQuery
    lookup: TrustLookup = field(init=False)
    clients: RegistryClientPool = field(init=False)

    def look_up(self, repository: str = "web") -> str:
        """Return the status and the origin of an image, or why it is not known."""
        (said,) = self.look_up_all([repository])
        return said

    def look_up_all(self, repositories: Iterable[str]) -> list[str]:
        """Return the same for images that are looked up at the same time."""
        requests = [LookupRequest(replace(self.image, repository=name)) for name in repositories]
        return [
            f"{result.record.status}, {result.origin}"
            if isinstance(result, Found)
            else f"{result.failure.reason}, {result.failure.fault}"
            for result in self.lookup.look_up(requests, Deadline.after(5))
        ]

    def forget_tokens(self) -> None:
        """Let all tokens end."""
        self.clients.client(self.image.registry)._tokens._held.clear()

    def restart(self) -> None:
        """Begin again with the entries of a snapshot, as the webhook does."""
        entries = self.lookup.export_entries(self.lookup.keys())
        self.start()
        self.clients.client(self.image.registry)
        self.lookup.import_entries(entries)
        self.clients.record_imported(entries)

    def start(self) -> None:
        """Begin without any records."""
        spy = RecorderSpy()
        self.clients = RegistryClientPool(lambda _: PooledTransport(), {}, spy)
        source = EvidenceSource(self.tags, self.clients, spy, CACHE, self.clock)
        self.lookup = TrustLookup(source, CACHE, LOOKUP, spy, self.clock)

    def forget_blobs(self) -> None:
        """Forget all blobs, as a new replica that has read the snapshot."""
        self.clients._kept = KeptBlobs()
        self.clients._lookups.clear()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """Return a site with two signed images in one organization."""
    clock, key = FakeClock(time.time()), generate_key()
    public = SigningKey("release", "release.pub", content=read_public_key(public_pem(key)).der)
    tags = Tags(clock)
    with Emulator() as emulator:
        for repository in ("shop/web", "shop/api", *(f"shop/{name}" for name in OTHERS)):
            tags.digests[repository] = emulator.state.put_image(f"{repository}:1")
            emulator.state.sign_simple(repository, tags.digests[repository], key)
        at = registry(
            registry_endpoint=emulator.url,
            credentials=CredentialSettings("none"),
            docker_config_file=write_docker_config(
                tmp_path / "login.json", {emulator.url: ("robot", "emulator-password")}
            ),
            evidence=Evidence.SIGNATURE,
            signatures=SignatureSettings((public,)),
        )
        opened = Site(emulator, clock, tags, TrustQuery(at, "shop", "web", tag="1"))
        opened.start()
        yield opened


FAULTS: dict[str, tuple[str, dict[str, Any], str]] = {
    "5xx": ("status", {"status": 503}, "unavailable, image"),
    "reset": ("reset", {}, "unavailable, image"),
    "hang": ("hang", {}, "timeout, local"),  # no time is left for its bundles
    "page": (
        "status",
        {"body": "<html>Maintenance", "headers": {"Content-Type": "text/html"}},
        "unavailable, image",
    ),
    "redirect": ("redirect", {"body": "https://status.example.com/"}, "unavailable, image"),
    "404 of a gateway": (
        "status",
        {"status": 404, "body": '{"error_code": "APIGW.0101", "error_msg": "no such API"}'},
        "unavailable, image",
    ),
    "404 without a code": ("status", {"status": 404, "body": "<html>"}, "unavailable, image"),
    "compressed": ("gzip", {}, "malformed, image"),
}


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "values", "failure"), FAULTS.values(), ids=FAULTS)
def test_signed_image_is_served_stale_while_no_manifest_can_be_read(
    site: Site, kind: str, values: dict[str, Any], failure: str
) -> None:
    """Also after ``cache.signed``; ``GET /v2/`` and tokens are answered all the time."""
    assert site.look_up() == "trusted, swr"
    site.clock.tick(CACHE.signed + 1)
    site.emulator.break_with(kind, match="/manifests/", **values)
    assert site.look_up() == "trusted, stale"


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "values", "failure"), FAULTS.values(), ids=FAULTS)
def test_image_whose_manifests_alone_fail_is_not_served_stale(
    site: Site, kind: str, values: dict[str, Any], failure: str
) -> None:
    """Its author may be the cause. Other images are judged as before."""
    assert site.look_up() == "trusted, swr"
    site.clock.tick(CACHE.signed + 1)
    site.emulator.break_with(kind, match="/v2/shop/web/manifests/", **values)
    assert site.look_up() == failure
    assert site.look_up("api") == "trusted, swr"


@pytest.mark.slow
@pytest.mark.parametrize("spent", SPENT.values(), ids=SPENT)
def test_outage_after_slow_call_for_tag_is_detected(site: Site, spent: float) -> None:
    """The other API takes its time. Stale trust is served, and then at once: the circuit breaker opens."""
    assert site.look_up() == "trusted, swr"
    site.clock.tick(CACHE.signed + 1)
    site.tags.seconds = spent * LOOKUP.timeout
    site.emulator.break_with("hang", match="/manifests/")
    assert site.look_up_all(["web", *OTHERS]) == ["trusted, stale"] + ["timeout, registry"] * len(OTHERS)
    assert site.lookup.is_breaker_open(site.image.registry)
    began = time.monotonic()
    assert site.look_up_all(["web", "api"]) == ["trusted, stale", "unavailable, registry"]
    assert time.monotonic() - began < LOOKUP.timeout / 3


@pytest.mark.slow
@pytest.mark.parametrize("spent", SPENT.values(), ids=SPENT)
def test_outage_after_slow_token_service_is_detected(site: Site, spent: float) -> None:
    """A control request needs a token, too, which is kept for the next ones."""
    assert site.look_up() == "trusted, swr"
    site.clock.tick(CACHE.signed + 1)
    site.emulator.break_with("none", latency=spent * LOOKUP.timeout, match=TOKEN_PATH)
    site.emulator.break_with("hang", match="/manifests/")
    site.forget_tokens()
    site.look_up_all(OTHERS)
    assert site.look_up() == "trusted, stale"
    site.look_up_all(OTHERS)
    assert site.lookup.is_breaker_open(site.image.registry)


@pytest.mark.slow
@pytest.mark.parametrize("spent", [*SPENT.values(), 0.5, 0.8])
def test_slow_image_is_not_served_stale_at_any_beginning_of_its_call(site: Site, spent: float) -> None:
    """Its author may make the earlier call slow, and wait for an idle registry."""
    assert site.look_up() == "trusted, swr"
    site.clock.tick(CACHE.signed + 1)
    time.sleep(LOOKUP.timeout / 4)
    site.tags.seconds = spent * LOOKUP.timeout
    site.emulator.break_with("hang", match="/v2/shop/web/manifests/")
    assert site.look_up() in ("timeout, image", "timeout, local")
    assert not site.lookup.is_breaker_open(site.image.registry)


@pytest.mark.parametrize("status", [401, 403])
def test_signed_image_is_served_stale_while_every_token_is_refused(site: Site, status: int) -> None:
    """The registry does not accept those of its token service, or a firewall blocks our address."""
    assert site.look_up() == "trusted, swr"
    site.clock.tick(CACHE.signed + 1)
    site.emulator.break_with("status", status=status, match="/v2/")
    assert site.look_up() == "trusted, stale"


@pytest.mark.slow
@pytest.mark.parametrize("match", ["/v2/shop/web/manifests/", "/manifests/"], ids=["image", "organizations"])
def test_refused_image_is_not_served_stale(site: Site, match: str) -> None:
    """Its author may have withdrawn our rights to all organizations that are known, but not to ``/v2/``."""
    assert site.look_up() == "trusted, swr"
    site.clock.tick(CACHE.signed + 1)
    site.emulator.break_with("status", status=403, match=match)
    assert site.look_up() == "forbidden, image"


TOKENS: dict[str, tuple[str, dict[str, Any]]] = {
    "5xx": ("status", {"status": 503}),
    "page": ("status", {"body": "<html>Maintenance"}),
    "redirect": ("redirect", {"body": "https://status.example.com/"}),
    "404": ("status", {"status": 404, "body": "<html>"}),
    "compressed": ("gzip", {}),
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("match", "result"), [("/auth/", "trusted, stale"), ("web%3Apull", "unavailable, image")]
)
@pytest.mark.parametrize(("kind", "values"), TOKENS.values(), ids=TOKENS)
def test_signed_image_is_served_stale_while_no_token_can_be_had(
    site: Site, kind: str, values: dict[str, Any], match: str, result: str
) -> None:
    """Not if its own token alone cannot be had."""
    assert site.look_up() == "trusted, swr"
    site.clock.tick(CACHE.signed + 1)
    site.restart()
    site.emulator.break_with(kind, match=match, **values)
    assert site.look_up() == result


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["5xx", "page", "redirect"])
def test_signed_image_is_served_stale_after_a_restart(site: Site, kind: str) -> None:
    """The snapshot names organizations about which the registry has answered."""
    assert site.look_up() == "trusted, swr"
    site.clock.tick(CACHE.signed + 1)
    site.restart()
    fault, values, failure = FAULTS[kind]
    site.emulator.break_with(fault, match="/v2/shop/web/manifests/", **values)
    assert site.look_up() == failure
    site.emulator.mend()
    site.emulator.break_with(fault, match="/manifests/", **values)
    assert site.look_up() == "trusted, stale"


@pytest.mark.slow
def test_signed_image_is_verified_again_while_no_blob_can_be_read(site: Site) -> None:
    """Also after ``cache.signed``: the object storage fails, but its content cannot have changed."""
    assert site.look_up() == "trusted, swr"
    site.clock.tick(CACHE.signed + 1)
    site.emulator.break_with("status", status=503, match="/blobs/")
    assert site.look_up() == "trusted, swr"


@pytest.mark.slow
def test_new_image_is_denied_while_no_blob_can_be_read(site: Site) -> None:
    """It is the image's fault: nothing that is not pushed by somebody shows the state of object storage."""
    site.emulator.break_with("status", status=503, match="/blobs/")
    assert site.look_up() == "unavailable, image"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "values"),
    [("status", {"status": 200, "body": "<html>", "headers": {"Content-Type": "text/html"}}), ("gzip", {})],
    ids=["page", "compressed"],
)
def test_wrong_bytes_of_blobs_do_not_revoke_trust(site: Site, kind: str, values: dict[str, Any]) -> None:
    """The outage begins with a page of the object storage instead of the signed text."""
    assert site.look_up() == "trusted, swr"
    site.forget_blobs()
    site.clock.tick(CACHE.signed + 1)
    site.emulator.break_with(kind, match="/blobs/", **values)
    assert site.look_up() == "malformed, image"
    site.emulator.mend()
    site.emulator.break_with("status", status=503, match="/manifests/")
    site.clock.tick(CACHE.refused + 1)
    assert site.look_up() == "trusted, stale"


@pytest.mark.slow
def test_deleted_signature_ends_trust_while_no_blob_can_be_read(site: Site) -> None:
    """A kept blob is no signature: the manifest that names it is read again."""
    assert site.look_up() == "trusted, swr"
    site.clock.tick(CACHE.signed + 1)
    site.emulator.break_with("status", status=503, match="/blobs/")
    tags = site.emulator.state.registry.repositories["shop/web"].tags
    del tags[next(tag for tag in tags if tag.endswith(".sig"))]
    assert site.look_up() == "untrusted, swr"
