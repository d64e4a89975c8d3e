"""One lookup under way, shared by everybody who asks the same meanwhile."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from webhook.errors import TrustLookupError
from webhook.trust.records import TrustQuery, TrustRecord


@dataclass(slots=True, eq=False)
class PendingLookup:
    """A question and, once ``done`` is set, its record or its failure.

    ``waiters`` counts who still waits, under the lock of ``TrustLookup``. ``background`` marks a
    refresh that nobody waits for; ``started`` that a worker has taken it. ``tenants`` are the
    namespaces in whose queues it waits, under the same lock.
    """

    query: TrustQuery
    background: bool = False
    tenants: set[str] = field(default_factory=set)
    started: bool = False
    waiters: int = 0
    done: threading.Event = field(default_factory=threading.Event)
    record: TrustRecord | None = None
    failure: TrustLookupError | None = None

    @property
    def wanted(self) -> bool:
        """Whether anybody still wants the answer."""
        return self.background or self.waiters > 0
