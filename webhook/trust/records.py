"""Queries about images, and the records that answer them."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from webhook.deadlines import Deadline
from webhook.registries import Registry
from webhook.signatures.check import SignatureCheck


class TrustStatus(StrEnum):
    """The answer of SWR about an image."""

    TRUSTED = "trusted"
    UNTRUSTED = "untrusted"
    MISSING = "missing"


@dataclass(frozen=True, slots=True)
class TrustQuery:
    """A query to one registry, about a tag or a digest of a repository.

    Exactly one of ``tag`` and ``digest`` is set. ``repository`` is the path below the
    organization, with ``/``. All parts are valid by ``webhook.swr.naming``.
    """

    registry: Registry
    organization: str
    repository: str
    tag: str | None = None
    digest: str | None = None
    key: tuple[str, str, str, str] = field(init=False, repr=False, compare=False)
    """The identity of the query: equal keys have equal records."""

    def __post_init__(self) -> None:
        """Compute the key once, because it is used often."""
        object.__setattr__(self, "key", self._make_key())

    def _make_key(self) -> tuple[str, str, str, str]:
        what = f":{self.tag}" if self.digest is None else f"@{self.digest}"
        return (self.registry.key, self.organization, self.repository, what)

    @property
    def path(self) -> str:
        """The path of the repository in the registry: the organization and the repository."""
        return f"{self.organization}/{self.repository}"

    def __str__(self) -> str:
        """Return the image as users write it, for logs."""
        what = f":{self.tag}" if self.digest is None else f"@{self.digest}"
        return f"{self.registry.name}/{self.organization}/{self.repository}{what}"


@dataclass(frozen=True, slots=True)
class TrustRecord:
    """A response of SWR about an image. Failures are exceptions and are not kept.

    ``fetched_at`` is in epoch seconds, taken before the request was sent, so that a slow response is not
    younger. ``cache`` ages and ``staleIfError`` are counted from it, also in snapshots. ``digest`` is the
    digest of the tag in SWR (``sha256:...``), or ``None`` if SWR sent none. ``created`` and ``updated``
    are SWR's own times, verbatim. For a query about a digest, ``tags`` are the tags with that digest.
    ``signature`` is set if signatures were verified, and then ``status`` depends on it. ``is_marked`` is then
    what the tag detail says, ``None`` in SWR Enterprise, which has none. ``superseded`` marks a refusal under
    signing keys that have changed since: it is no longer an answer, but no older trust is imported after it.
    """

    status: TrustStatus
    fetched_at: float
    digest: str | None = None
    created: str | None = None
    updated: str | None = None
    tags: tuple[str, ...] = ()
    signature: SignatureCheck | None = None
    is_marked: bool | None = None
    superseded: bool = False

    @property
    def signers(self) -> tuple[str, ...]:
        """The names of the keys whose signatures count, none if no signatures were verified."""
        return self.signature.signers if self.signature is not None else ()

    @property
    def untrusted_reason(self) -> str:
        """Why signatures do not make the image trusted, empty if they do or do not decide."""
        if self.status is not TrustStatus.UNTRUSTED or self.signature is None:
            return ""
        return self.signature.result.value


class CallLimiter(Protocol):
    """Keeps the calls of one lookup within the rate, and measures the time of each call."""

    def call(self, deadline: Deadline) -> AbstractContextManager[None]:
        """Wait until one more call to an endpoint is allowed; the block is the call, as in ``timed``.

        Raises:
            Throttled: that would be too late.
        """
        ...  # pragma: no cover

    def timed(self, deadline: Deadline) -> AbstractContextManager[None]:
        """Make a ``LookupTimeout`` of the block SWR's fault only if SWR had enough time to respond."""
        ...  # pragma: no cover

    def record_answer(self) -> None:
        """Record that SWR responded to a call of this lookup; the lookup may still fail."""
        ...  # pragma: no cover

    @property
    def timeout(self) -> float:
        """Seconds that the lookup takes at most with all its calls, 0.0 if only its deadline limits it."""
        ...  # pragma: no cover

    @property
    def is_probe(self) -> bool:
        """Whether the lookup probes an open circuit breaker, while other lookups are rejected."""
        ...  # pragma: no cover


class Unlimited:
    """Implements ``CallLimiter`` without limits, for commands that make few calls."""

    is_probe = False
    timeout = 0.0

    def call(self, deadline: Deadline) -> AbstractContextManager[None]:
        """Allow the call at once."""
        del deadline
        return nullcontext()

    timed = call

    def record_answer(self) -> None:
        """Do nothing."""


class TrustSource(Protocol):
    """Source of records. Implemented by ``webhook.swr.source`` and by fakes."""

    def fetch(self, query: TrustQuery, deadline: Deadline, call_limiter: CallLimiter) -> TrustRecord:
        """Fetch the record by the deadline; ``call_limiter.call`` is around each HTTP call to SWR.

        A query about a digest may take many calls (pages of a tag list), and each of them counts in
        ``lookup.callsPerSecond``.

        Raises:
            TrustLookupError: there is no record; the subclass says why.
        """
        ...  # pragma: no cover
