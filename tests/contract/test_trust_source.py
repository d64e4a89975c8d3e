"""Contract of trust sources: the same tests for ``FakeTrustSource`` and for SWR's client.

Therefore a test that uses the fake also holds for SWR. The real source calls the emulator.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import pytest

from tests.emulator.server import Emulator
from tests.support.builders import registry
from tests.support.fakes import FakeTrustSource, RecorderSpy, Turns, free
from webhook.deadlines import Deadline
from webhook.errors import (
    Fault,
    Forbidden,
    LookupTimeout,
    MalformedAnswer,
    RegistryUnavailable,
    Throttled,
    TrustLookupError,
    Unauthorized,
)
from webhook.http_client.messages import Credential, Transport
from webhook.http_client.transport import PooledTransport
from webhook.registries import CredentialSettings, Registry
from webhook.swr.credentials import build_credential
from webhook.swr.source import SwrTrustSource
from webhook.trust.records import TrustQuery, TrustSource, TrustStatus

DIGEST = "sha256:" + "5" * 64
SPARE = "sha256:" + "6" * 64
FACTS = {"shop/tools/web:1.0": TrustStatus.TRUSTED, "shop/web:2.0": TrustStatus.UNTRUSTED}


ANSWERS: dict[type[TrustLookupError], tuple[int, str]] = {
    Unauthorized: (401, "SVCSTG.SWR.4010000"),
    Forbidden: (403, "SVCSTG.SWR.4039001"),
    Throttled: (429, "APIGW.0308"),
    RegistryUnavailable: (503, ""),
    MalformedAnswer: (400, "SVCSTG.SWR.4000014"),
}
"""SWR's response for each status."""


class SwrEnvironment(Protocol):
    """A source, and the control of the SWR behind it."""

    registry: Registry

    @property
    def source(self) -> TrustSource:
        """The source of trust."""

    def fail_with(self, failure: TrustLookupError) -> None:
        """Let every lookup from now on fail in this way."""

    def hang(self) -> None:
        """Let every lookup from now on stay without an answer."""

    @property
    def calls(self) -> int:
        """The number of calls to SWR."""


class FakeEnvironment:
    """The fake."""

    def __init__(self) -> None:
        fake = FakeTrustSource({**FACTS, f"shop/web@{DIGEST}": TrustStatus.TRUSTED}, time.time)
        self.source = self._fake = fake
        self.registry = registry()

    def fail_with(self, failure: TrustLookupError) -> None:
        self._fake.facts = dict.fromkeys(["shop/tools/web:1.0", f"shop/web@{DIGEST}"], failure)

    def hang(self) -> None:
        self._fake.gate = threading.Event()

    @property
    def calls(self) -> int:
        return len(self._fake.asked)


class ClientEnvironment:
    """SWR's client in front of the emulator."""

    def __init__(self, emulator: Emulator, folder: Path) -> None:
        self._emulator = emulator
        emulator.state.set_tag("shop/tools/web:1.0", is_trusted=True, digest=SPARE)
        emulator.state.set_tag("shop/web:2.0", is_trusted=False)
        emulator.state.set_tag("shop/web:5", is_trusted=True, digest=DIGEST)
        (folder / "token").write_text("emulator-token", encoding="utf-8")
        settings = CredentialSettings("token", token_file=str(folder / "token"))
        self.registry = registry(endpoint=emulator.url, iam_endpoint=emulator.url, credentials=settings)
        self.source = SwrTrustSource(PooledTransport, _open_credential, RecorderSpy())

    def fail_with(self, failure: TrustLookupError) -> None:
        status, code = ANSWERS[type(failure)]
        self._emulator.break_with("status", status=status, body=f'{{"error_code":"{code}"}}')

    def hang(self) -> None:
        self._emulator.break_with("hang")

    @property
    def calls(self) -> int:
        return self._emulator.calls()


class TagListEnvironment(ClientEnvironment):
    """SWR in a region that does not offer the call for one tag (fault D5)."""

    def __init__(self, emulator: Emulator, folder: Path) -> None:
        super().__init__(emulator, folder)
        emulator.state.offers_tag_detail = False
        query = TrustQuery(self.registry, "shop", "web", tag="2.0")
        self.source.fetch(query, Deadline.after(10), free)
        self._before = emulator.calls()

    @property
    def calls(self) -> int:
        return super().calls - self._before


def _open_credential(settings: CredentialSettings, registry: Registry, transport: Transport) -> Credential:
    return build_credential(
        settings,
        region=registry.region,
        iam_endpoint=registry.iam_endpoint,
        project_id=None,
        transport=transport,
        environment={},
    )


@pytest.fixture(params=["fake", "SWR", "SWR without the call for one tag"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SwrEnvironment]:
    """Return the fake, or SWR's client, in both kinds of regions."""
    if request.param == "fake":
        yield FakeEnvironment()
        return
    with Emulator() as emulator:
        yield (ClientEnvironment if request.param == "SWR" else TagListEnvironment)(emulator, tmp_path)


def tag(world: SwrEnvironment, repository: str = "tools/web", name: str = "1.0") -> TrustQuery:
    """Return a query for a tag, by default of a trusted one."""
    return TrustQuery(world.registry, "shop", repository, tag=name)


STATUSES = [
    ("tools/web", "1.0", TrustStatus.TRUSTED),
    ("web", "2.0", TrustStatus.UNTRUSTED),
    ("web", "9.9", TrustStatus.MISSING),
    ("nowhere", "1", TrustStatus.MISSING),
]


@pytest.mark.parametrize(
    ("repository", "name", "status"), STATUSES, ids=[f"{case[0]}:{case[1]}" for case in STATUSES]
)
def test_tag_has_expected_status(
    world: SwrEnvironment, repository: str, name: str, status: TrustStatus
) -> None:
    """A missing image is a record, not a failure."""
    record = world.source.fetch(tag(world, repository, name), Deadline.after(10), free)
    assert record.status is status


def test_record_has_time_of_response(world: SwrEnvironment) -> None:
    """Wall-clock time, in seconds since the epoch, from which the times to live are counted."""
    before = time.time()
    record = world.source.fetch(tag(world), Deadline.after(10), free)
    assert before <= record.fetched_at <= time.time()


def test_only_existing_image_has_digest(world: SwrEnvironment) -> None:
    """A pinned digest is compared with it."""
    there = world.source.fetch(tag(world), Deadline.after(10), free)
    missing = world.source.fetch(tag(world, name="9.9"), Deadline.after(10), free)
    assert there.digest is not None
    assert there.digest.startswith("sha256:")
    assert missing.digest is None


@pytest.mark.parametrize(
    ("digest", "status"), [(DIGEST, TrustStatus.TRUSTED), ("sha256:" + "0" * 64, TrustStatus.MISSING)]
)
def test_digest_query_has_expected_status(world: SwrEnvironment, digest: str, status: TrustStatus) -> None:
    """A query for a digest names no tag."""
    query = TrustQuery(world.registry, "shop", "web", digest=digest)
    assert world.source.fetch(query, Deadline.after(10), free).status is status


FAILURES = [
    Unauthorized("no"),
    Forbidden("no"),
    Throttled("slow down", fault=Fault.REGISTRY),
    RegistryUnavailable("down"),
    MalformedAnswer("what?"),
]


@pytest.mark.parametrize("failure", FAILURES, ids=lambda failure: failure.reason)
@pytest.mark.parametrize("by", ["tag", "digest"])
def test_failed_lookup_raises_exception_of_its_reason(
    world: SwrEnvironment, failure: TrustLookupError, by: str
) -> None:
    """Each failure has its own class, for tags and for digests."""
    world.fail_with(failure)
    query = tag(world) if by == "tag" else TrustQuery(world.registry, "shop", "web", digest=DIGEST)
    with pytest.raises(TrustLookupError) as caught:
        world.source.fetch(query, Deadline.after(10), free)
    assert type(caught.value) is type(failure)
    if by == "tag":  # the result for a list also depends on the repository: tests/unit/swr/test_client.py
        assert caught.value.fault is failure.fault


def test_lookup_ends_at_deadline(world: SwrEnvironment) -> None:
    """A source that hangs must not block its caller."""
    world.hang()
    started = time.monotonic()
    with pytest.raises(LookupTimeout):
        world.source.fetch(tag(world), Deadline.after(0.2), free)
    assert time.monotonic() - started < 5.0


def test_every_call_waits_for_call_limiter(world: SwrEnvironment) -> None:
    """The limiter is called once before each call, with the deadline of the lookup."""
    turns: list[tuple[Deadline, int]] = []
    deadline = Deadline.after(10)
    world.source.fetch(tag(world), deadline, Turns(lambda until: turns.append((until, world.calls))))
    assert turns == [(deadline, 0)]
    assert world.calls == 1


def test_call_rejected_by_limiter_is_not_made(world: SwrEnvironment) -> None:
    """The exception of the limiter is the failure."""

    def full(deadline: Deadline) -> None:
        raise Throttled("our own rate limit is exceeded", fault=Fault.LOCAL)

    with pytest.raises(Throttled, match="our own rate limit is exceeded"):
        world.source.fetch(tag(world), Deadline.after(10), Turns(full))
    assert world.calls == 0


def test_concurrent_lookups_get_own_results(world: SwrEnvironment) -> None:
    """Each lookup gets the record of its own image."""
    answers: dict[int, TrustStatus] = {}

    def ask(number: int) -> None:
        repository, name = [("tools/web", "1.0"), ("web", "2.0"), ("web", "9.9")][number % 3]
        query = tag(world, repository, name)
        answers[number] = world.source.fetch(query, Deadline.after(10), free).status

    threads = [threading.Thread(target=ask, args=(number,), daemon=True) for number in range(30)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    expected = [TrustStatus.TRUSTED, TrustStatus.UNTRUSTED, TrustStatus.MISSING]
    assert answers == {number: expected[number % 3] for number in range(30)}
