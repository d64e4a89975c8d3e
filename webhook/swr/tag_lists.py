"""Tag lists: what all tags of a repository say, read to the end, shared and remembered for a moment.

A question about a digest takes the whole list, up to twenty calls, and whoever may create Pods can
invent as many digests as they like. So lists have limits of their own: all questions about a repository
share one reading, its list answers the next ones for some seconds, and few are read at a time.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from cachetools import TTLCache

from webhook.deadlines import Deadline
from webhook.errors import (
    Fault,
    LookupTimeout,
    MalformedAnswer,
    RegistryUnavailable,
    Throttled,
    TrustLookupError,
)
from webhook.single_flight import SingleFlight
from webhook.swr.answers import TagFact

PAGE_SIZE: Final = 1000
"""Tags per page, the most that the API gives (SWR API Reference, Listing Image Tags)."""

MAX_PAGE: Final = 4 * 1024 * 1024
"""Bytes of one page: a thousand tags are below 1 MiB."""

MAX_PAGES: Final = 20
"""Pages of one list that are read; a longer list was not read to its end and proves nothing."""

SECONDS: Final = 1.0
"""For how long a list answers: the shortest ``cache.trusted``. A record is as old as its list."""

MAX_TAGS: Final = 40_000
"""Tags in the lists of one registry that are remembered, some ten megabytes."""

MAX_AT_ONCE: Final = 8
"""Lists of one registry that are read at the same time: tags are asked about meanwhile."""

Repository = tuple[str, str]
"""Organisation and repository."""

PageT = TypeVar("PageT")


def follow_markers(fetch: Callable[[str | None], tuple[PageT, str | None]], too_long: str) -> Iterator[PageT]:
    """Yield the pages of a list to its end.

    ``fetch`` takes the marker of a page, ``None`` for the first, and returns the page and the marker of
    the next one, ``None`` on the last.

    Raises:
        MalformedAnswer: a marker comes again, or more than ``MAX_PAGES`` would follow (``too_long``).
    """
    marker: str | None = None
    seen: set[str] = set()
    for _ in range(MAX_PAGES):
        page, marker = fetch(marker)
        yield page
        if marker is None:
            return
        if marker in seen:
            raise MalformedAnswer("SWR's list of tags goes round in circles")
        seen.add(marker)
    raise MalformedAnswer(too_long)


@dataclass(frozen=True, slots=True)
class TagList:
    """A list that was read to its end at ``read_at`` (epoch seconds): its tags by the digest they hold."""

    read_at: float
    holders: Mapping[str, Sequence[TagFact]]

    @property
    def size(self) -> int:
        """How many tags it holds, at least 1."""
        return max(1, sum(map(len, self.holders.values())))


class TagLists:
    """The lists of one registry; thread-safe."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Remember by ``clock``, in seconds."""
        self._lock = threading.Lock()
        self._lists: TTLCache[Repository, TagList] = TTLCache(
            MAX_TAGS, SECONDS, timer=clock, getsizeof=lambda found: found.size
        )
        self._reads: SingleFlight[TagList] = SingleFlight()
        self._slots = threading.BoundedSemaphore(MAX_AT_ONCE)

    def get(self, repository: Repository, deadline: Deadline, read: Callable[[], TagList]) -> TagList:
        """Return a repository's list: the cached one, the one being read, or what ``read`` returns.

        Raises:
            TrustLookupError: it was not read to its end; all who wait for it share the error.
        """
        with self._lock:
            known = self._lists.get(repository)
            if known is not None:
                return known
        call = self._reads.call(repository, lambda: self._read(repository, deadline, read))
        if not call.wait(deadline.remaining()):
            raise LookupTimeout("the list of tags was not read in time", fault=Fault.IMAGE)
        if call.value is not None:
            return call.value
        if isinstance(call.error, TrustLookupError):
            raise call.error
        detail = f"the list of tags could not be read: {type(call.error).__name__}"
        raise RegistryUnavailable(detail, fault=Fault.LOCAL) from call.error

    def _read(self, repository: Repository, deadline: Deadline, read: Callable[[], TagList]) -> TagList:
        if not self._slots.acquire(timeout=deadline.remaining()):
            raise Throttled("too many lists of tags are being read", fault=Fault.LOCAL)
        try:
            found = read()
        finally:
            self._slots.release()
        with self._lock:
            self._lists[repository] = found
        return found
