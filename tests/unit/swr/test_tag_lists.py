"""Tag lists: read once for concurrent callers, cached for seconds, and few at a time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from tests.support.builders import registry
from tests.support.fakes import FakeClock, FakeCredential, FakeTransport, RecorderSpy
from tests.support.responses import respond
from tests.unit.swr.test_client import tags
from webhook.deadlines import Deadline
from webhook.errors import (
    Fault,
    LookupTimeout,
    MalformedAnswer,
    RegistryUnavailable,
    Throttled,
    TrustLookupError,
)
from webhook.swr.answers import ListedTag
from webhook.swr.client import SwrClient
from webhook.swr.tag_lists import MAX_AT_ONCE, MAX_TAGS, SECONDS, TagList, TagLists
from webhook.trust.records import TrustQuery, TrustRecord, TrustStatus, Unlimited

WEB, API = ("shop", "web"), ("shop", "api")
SOON = Deadline(1e9)
DIGEST, OTHER = "sha256:" + "a" * 64, "sha256:" + "b" * 64


class Reader:
    """Reads lists of one tag; can be blocked and can fail."""

    def __init__(self) -> None:
        self.count = 0
        self.failure: Exception | None = None
        self.began = threading.Semaphore(0)
        self.gate = threading.Event()
        self.gate.set()

    def __call__(self) -> TagList:
        self.count += 1
        self.began.release()
        self.gate.wait(5)
        if self.failure is not None:
            raise self.failure
        return TagList(float(self.count), {DIGEST: [ListedTag("1", DIGEST, trusted=True)]})


def in_threads(work: Callable[[int], object], count: int) -> list[threading.Thread]:
    """Start the work that many times."""
    threads = [threading.Thread(target=work, args=(number,), daemon=True) for number in range(count)]
    for thread in threads:
        thread.start()
    return threads


def test_tag_list_is_cached_for_some_seconds() -> None:
    """Invented digests of one repository cost one read; later the list is read again."""
    clock, read = FakeClock(), Reader()
    lists = TagLists(clock)
    assert [lists.get(WEB, SOON, read).read_at for _ in range(50)] == [1.0] * 50
    clock.tick(SECONDS + 0.1)
    assert lists.get(WEB, SOON, read).read_at == 2.0


def test_each_repository_has_separate_tag_list() -> None:
    """No lookup is answered by another repository's tags."""
    lists, read = TagLists(), Reader()
    assert (lists.get(WEB, SOON, read).read_at, lists.get(API, SOON, read).read_at) == (1.0, 2.0)


def test_concurrent_callers_share_tag_list_read() -> None:
    """A hundred lookups in one repository are one read."""
    lists, read = TagLists(), Reader()
    read.gate.clear()
    found: list[float] = []
    threads = in_threads(lambda number: found.append(lists.get(WEB, Deadline.after(10), read).read_at), 100)
    read.gate.set()
    for thread in threads:
        thread.join(10)
    assert (found, read.count) == ([1.0] * 100, 1)


FAILURES = [
    (MalformedAnswer("what?"), {MalformedAnswer}),
    (RuntimeError("a mistake of ours"), {RuntimeError, RegistryUnavailable}),
]


@pytest.mark.parametrize(("failure", "told"), FAILURES, ids=["SWR's", "ours"])
def test_failed_tag_list_read_is_shared_but_not_cached(
    failure: Exception, told: set[type[Exception]]
) -> None:
    """All waiting callers get the failure; the next lookup reads again."""
    lists, read = TagLists(), Reader()
    read.failure = failure
    read.gate.clear()
    failures: list[type[BaseException]] = []

    def ask(number: int) -> None:
        try:
            lists.get(WEB, Deadline.after(10), read)
        except Exception as error:  # noqa: BLE001 - whatever it is
            failures.append(type(error))

    threads = in_threads(ask, 1)
    assert read.began.acquire(timeout=5)
    threads += in_threads(ask, 5)
    time.sleep(0.05)  # a caller that comes too late reads for itself, with the same result
    read.gate.set()
    for thread in threads:
        thread.join(10)
    assert len(failures) == 6
    assert set(failures) <= told
    read.failure = None
    assert lists.get(WEB, SOON, read).read_at > 1.0


def test_wait_for_tag_list_ends_at_deadline_of_caller() -> None:
    """The read continues for the other callers."""
    lists, read = TagLists(), Reader()
    read.gate.clear()
    (leader,) = in_threads(lambda number: lists.get(WEB, Deadline.after(10), read), 1)
    assert read.began.acquire(timeout=5)
    with pytest.raises(LookupTimeout, match="the list of tags was not read in time"):
        lists.get(WEB, Deadline.after(0.02), read)
    read.gate.set()
    leader.join(10)
    assert lists.get(WEB, SOON, read).read_at == 1.0


def test_concurrent_tag_list_reads_are_limited() -> None:
    """A flood of digests leaves the other calls to lookups of tags."""
    lists, read = TagLists(), Reader()
    read.gate.clear()
    threads = in_threads(
        lambda number: lists.get(("shop", f"r{number}"), Deadline.after(10), read), MAX_AT_ONCE
    )
    for _ in range(MAX_AT_ONCE):
        assert read.began.acquire(timeout=5)
    with pytest.raises(Throttled) as caught:
        lists.get(WEB, Deadline.after(0.02), read)
    assert (str(caught.value), caught.value.fault) == ("too many lists of tags are being read", Fault.LOCAL)
    read.gate.set()
    for thread in threads:
        thread.join(10)
    assert lists.get(WEB, SOON, read).holders


def test_cached_tag_lists_are_limited_by_number_of_tags() -> None:
    """A thousand repositories of a thousand tags do not fill the memory."""
    lists = TagLists()
    listed = [ListedTag(str(tag), DIGEST, trusted=True) for tag in range(1000)]
    for number in range(2 * MAX_TAGS // 1000):
        lists.get(("shop", f"r{number}"), SOON, lambda: TagList(0.0, {DIGEST: listed}))
    assert sum(found.size for found in lists._lists.values()) == MAX_TAGS


def test_another_digest_is_answered_from_cached_tag_list() -> None:
    """Its record has the time of the list, so that no time to live is extended."""
    transport, clock = FakeTransport([tags(("1", DIGEST, True))]), FakeClock()
    asked = SwrClient(registry(), transport, FakeCredential(), RecorderSpy(), clock)

    def find(digest: str) -> TrustRecord:
        query = TrustQuery(registry(), "shop", "web", digest=digest)
        return asked.find_digest(query, SOON, Unlimited())

    first = find(DIGEST)
    clock.tick(3)
    second = find(OTHER)
    assert (first.status, second.status, second.digest) == (TrustStatus.TRUSTED, TrustStatus.MISSING, None)
    assert second.fetched_at == first.fetched_at == find(DIGEST).fetched_at == clock.now - 3
    assert len(transport.sent) == 1


def test_missing_repository_is_cached_as_empty_tag_list() -> None:
    """An author who invents repositories causes one call each, not one per digest."""
    transport = FakeTransport([respond(404, {"error_code": "SVCSTG.SWR.4040113"})])
    asked = SwrClient(registry(), transport, FakeCredential(), RecorderSpy())
    for digest in (DIGEST, OTHER):
        query = TrustQuery(registry(), "shop", "web", digest=digest)
        assert asked.find_digest(query, SOON, Unlimited()).status is TrustStatus.MISSING
    assert len(transport.sent) == 1


def test_incomplete_tag_list_is_not_cached() -> None:
    """A partial list proves nothing, now or later."""
    answers = [tags(("1", DIGEST, True), marker="m"), respond(500), tags(("1", DIGEST, False))]
    asked = SwrClient(registry(), FakeTransport(list(answers)), FakeCredential(), RecorderSpy())
    query = TrustQuery(registry(), "shop", "web", digest=DIGEST)
    with pytest.raises(TrustLookupError):
        asked.find_digest(query, SOON, Unlimited())
    assert asked.find_digest(query, SOON, Unlimited()).status is TrustStatus.UNTRUSTED
