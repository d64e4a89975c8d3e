"""Reading a changed policy for a gevent process: in a native thread, so that the loop goes on meanwhile."""

from __future__ import annotations

from typing import Any

from gevent.threadpool import ThreadPool

from webhook.policy.loading import parse_policy
from webhook.policy.model import Policy


class NativePolicyReader:
    """Reads configurations without holding up the loop: hundreds of rules take tens of milliseconds."""

    def __init__(self) -> None:
        """Make nothing yet: native threads do not survive the fork of the worker."""
        self._pool: Any = None

    def __call__(self, data: bytes) -> Policy:
        """Read a configuration; see ``parse_policy``."""
        if self._pool is None:
            self._pool = ThreadPool(1)
        policy: Policy = self._pool.apply(parse_policy, (data,))
        return policy
