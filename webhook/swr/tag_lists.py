"""Complete tag lists of repositories, shared by concurrent lookups and cached briefly.

A lookup of a digest needs the complete list, up to twenty calls, and the author of Pods can invent any number
of digests. So lists have their own limits: all lookups in a repository share one read, its list is cached for
a second, and few lists are read at a time.
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
from webhook.swr.answers import ListedTag

PAGE_SIZE: Final = 1000
"""Tags per page, the maximum of the API (SWR API Reference, Listing Image Tags)."""

MAX_PAGE: Final = 4 * 1024 * 1024
"""Bytes of one page: a thousand tags have less than 1 MiB."""

MAX_PAGES: Final = 20
"""Pages of one list; a longer list is an error, because an incomplete one proves nothing."""

SECONDS: Final = 1.0
"""Seconds for which a list is cached: the shortest ``cache.trusted``. A record is as old as its list."""

MAX_TAGS: Final = 40_000
"""Tags in the cached lists of one registry, some ten megabytes."""

MAX_AT_ONCE: Final = 8
"""Lists of one registry that are read at the same time, so that lookups of tags go on."""

Repository = tuple[str, str]
"""Organization and repository."""

PageT = TypeVar("PageT")


def follow_markers(fetch: Callable[[str | None], tuple[PageT, str | None]], too_long: str) -> Iterator[PageT]:
    """Yield all pages of a list.

    ``fetch`` takes the marker of a page, ``None`` for the first, and returns the page and the marker of
    the next one, ``None`` on the last.

    Raises:
        MalformedAnswer: a marker is repeated, or there are more than ``MAX_PAGES`` (``too_long``).
    """
    marker: str | None = None
    seen: set[str] = set()
    for _ in range(MAX_PAGES):
        page, marker = fetch(marker)
        yield page
        if marker is None:
            return
        if marker in seen:
            raise MalformedAnswer("SWR's list of tags repeats a marker")
        seen.add(marker)
    raise MalformedAnswer(too_long)


@dataclass(frozen=True, slots=True)
class TagList:
    """A complete list, read at ``read_at`` (epoch seconds): its tags by digest."""

    read_at: float
    holders: Mapping[str, Sequence[ListedTag]]

    @property
    def size(self) -> int:
        """The number of tags, at least 1."""
        return max(1, sum(map(len, self.holders.values())))


class TagLists:
    """The lists of one registry."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Cache nothing yet; ``clock`` is in monotonic seconds."""
        self._lock = threading.Lock()
        self._lists: TTLCache[Repository, TagList] = TTLCache(
            MAX_TAGS, SECONDS, timer=clock, getsizeof=lambda found: found.size
        )
        self._reads: SingleFlight[TagList] = SingleFlight()
        self._slots = threading.BoundedSemaphore(MAX_AT_ONCE)

    def get(self, repository: Repository, deadline: Deadline, read: Callable[[], TagList]) -> TagList:
        """Return a repository's list: the cached one, the one being read, or what ``read`` returns.

        Raises:
            TrustLookupError: it could not be read completely; all waiters share the error.
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
