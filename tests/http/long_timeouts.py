"""Start ``swr-trust`` with few connections, a small body budget and long waits for it.

``ServerProcess(..., inject="tests.http.long_timeouts")`` starts the installed program so.
"""

from __future__ import annotations

from typing import Any, Final

from tests.http import few_connections

WAIT: Final = 20.0
LARGE_SHARE: Final = 32 * 1024
"""Bytes: less than one chunk of a large body, so that no large body fits."""


def _wait_long(body_budget: Any) -> None:
    body_budget.WAIT = WAIT
    body_budget.BodyBudget.__init__.__defaults__ = (body_budget.SMALL_SHARE, LARGE_SHARE)


HOOKS: Final = {**few_connections.HOOKS, "webhook.server.body_budget": _wait_long}
