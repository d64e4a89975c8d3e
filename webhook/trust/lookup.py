"""Trust lookup: what is cached, what is asked, what stands in while SWR is down."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from webhook.deadlines import Deadline
from webhook.errors import TrustLookupError
from webhook.trust.records import TrustQuery, TrustRecord


class Origin(StrEnum):
    """Where an answer came from; a metric label and part of the decision log."""

    CACHE = "cache"
    SWR = "swr"
    STALE = "stale"
    """SWR could not be asked: an earlier trusted answer stands in (``cache.staleIfError``)."""


@dataclass(frozen=True, slots=True)
class Known:
    """A record, and where it came from. ``failure`` is why a stale one had to stand in."""

    record: TrustRecord
    origin: Origin
    failure: TrustLookupError | None = None


@dataclass(frozen=True, slots=True)
class Unknown:
    """The lookup failed."""

    failure: TrustLookupError


Answer = Known | Unknown


@dataclass(frozen=True, slots=True)
class Question:
    """A query on behalf of somebody.

    ``pinned`` is the digest that the reference pins, if any: a cached record that holds another
    digest never answers it, unless it was fetched less than ``cache.refused`` seconds ago.
    ``tenant`` is the namespace that asks: cold lookups are shared out fairly among tenants.
    """

    query: TrustQuery
    pinned: str | None = None
    tenant: str = ""


class TrustLookup:
    """Answers questions about images from memory, or by one call shared by all who ask."""

    def ask(self, questions: Sequence[Question], deadline: Deadline) -> list[Answer]:
        """Answer all questions at once, in order, none later than the deadline.

        Never raises ``TrustLookupError``: a failure is an ``Unknown``.
        """
        raise NotImplementedError
