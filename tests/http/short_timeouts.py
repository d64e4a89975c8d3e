"""Start ``swr-trust`` with a tenth of its client timeouts, so that a test can reach them.

``ServerProcess(..., inject="tests.http.short_timeouts")`` starts the installed program so.
"""

from __future__ import annotations

from typing import Any, Final

HANDSHAKE: Final = 1.0
FIRST_BYTE: Final = 1.5
REQUEST: Final = 2.0


def _shorten(connections: Any) -> None:
    connections.HANDSHAKE_SECONDS = HANDSHAKE
    connections.REQUEST_SECONDS = REQUEST
    connections.Connection._idle_seconds = FIRST_BYTE


HOOKS: Final = {"webhook.server.connections": _shorten}
