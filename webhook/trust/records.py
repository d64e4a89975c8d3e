"""What is known about an image, and what can be asked about it."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from webhook.deadlines import Deadline
from webhook.registries import Registry


class TrustStatus(StrEnum):
    """What SWR said about an image."""

    TRUSTED = "trusted"
    UNTRUSTED = "untrusted"
    MISSING = "missing"


@dataclass(frozen=True, slots=True)
class TrustQuery:
    """One question to one registry: about a tag, or about a digest of a repository.

    Exactly one of ``tag`` and ``digest`` is set. ``repository`` is the path below the
    organisation, with ``/``. All parts have passed ``webhook.swr.naming``.
    """

    registry: Registry
    organization: str
    repository: str
    tag: str | None = None
    digest: str | None = None
    key: tuple[str, str, str, str] = field(init=False, repr=False, compare=False)
    """The identity of the question: equal keys have equal answers."""

    def __post_init__(self) -> None:
        """Make the key: the same query is asked again and again."""
        object.__setattr__(self, "key", self._make_key())

    def _make_key(self) -> tuple[str, str, str, str]:
        what = f":{self.tag}" if self.digest is None else f"@{self.digest}"
        return (self.registry.key, self.organization, self.repository, what)

    def __str__(self) -> str:
        """Return the image as a person would write it, for logs."""
        what = f":{self.tag}" if self.digest is None else f"@{self.digest}"
        return f"{self.registry.name}/{self.organization}/{self.repository}{what}"


@dataclass(frozen=True, slots=True)
class TrustRecord:
    """One answer of SWR. An answer, never a failure: failures are exceptions and not kept.

    ``fetched_at`` is wall-clock time in seconds since the epoch, taken before the question was sent: an
    answer that takes long is no younger for it. ``cache`` ages and ``staleIfError`` are counted from it,
    and it survives in snapshots. ``digest`` is what SWR holds under the tag (``sha256:...``), ``None``
    where it said none. ``created`` and ``updated`` are SWR's own times, verbatim. ``tags`` are the
    tags that hold the digest, for a question about a digest.
    """

    status: TrustStatus
    fetched_at: float
    digest: str | None = None
    created: str | None = None
    updated: str | None = None
    tags: tuple[str, ...] = ()


class CallLimiter(Protocol):
    """Keeps the calls of one lookup within the rate, and knows how much of its time each of them had."""

    def call(self, deadline: Deadline) -> AbstractContextManager[None]:
        """Wait for the turn of one more call to an endpoint; the block is the call, as in ``timed``.

        Raises:
            Throttled: the turn would come too late.
        """
        ...  # pragma: no cover

    def timed(self, deadline: Deadline) -> AbstractContextManager[None]:
        """Let a ``LookupTimeout`` leave the block as SWR's fault only if SWR had the time to answer."""
        ...  # pragma: no cover

    def record_answer(self) -> None:
        """Take note that SWR answered a call of this lookup, which may fail all the same."""
        ...  # pragma: no cover

    @property
    def is_probe(self) -> bool:
        """Whether the lookup is to show if SWR answers again, while nobody else may ask."""
        ...  # pragma: no cover


class Unlimited:
    """Implements ``CallLimiter`` for who makes a few calls alone."""

    is_probe = False

    def call(self, deadline: Deadline) -> AbstractContextManager[None]:
        """Let the call be made at once."""
        del deadline
        return nullcontext()

    timed = call

    def record_answer(self) -> None:
        """Do nothing."""


class TrustSource(Protocol):
    """Where records come from. Implemented by ``webhook.swr.source`` and by fakes."""

    def fetch(self, query: TrustQuery, deadline: Deadline, call_limiter: CallLimiter) -> TrustRecord:
        """Ask once, ending by the deadline; ``call_limiter.call`` is around each HTTP call to SWR.

        One question about a digest may take many calls (pages of a tag list): the pace is how
        all of them stay within ``lookup.callsPerSecond``.

        Raises:
            TrustLookupError: the answer is not known; which subclass says why.
        """
        ...  # pragma: no cover
