"""A lookup in progress, shared by all reviews that need it."""

from __future__ import annotations

from webhook.single_flight import SharedCall
from webhook.trust.records import TrustQuery, TrustRecord


class PendingLookup(SharedCall[TrustRecord]):
    """A query and, once it has ended, its record or its error.

    ``waiters`` counts the reviews that wait for it. ``background`` marks a refresh, for which none waits.
    ``started`` means that a worker has taken it. ``tenants`` are the namespaces in whose queues it is. All of
    them change under the lock of ``TrustLookup``.
    """

    def __init__(self, query: TrustQuery, *, background: bool = False, waiters: int = 0) -> None:
        """Look up ``query``."""
        super().__init__()
        self.query = query
        self.background = background
        self.waiters = waiters
        self.tenants: set[str] = set()
        self.started = False

    @property
    def wanted(self) -> bool:
        """Whether the result is still needed."""
        return self.background or self.waiters > 0
