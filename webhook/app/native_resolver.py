"""Name resolution for a gevent process, in native threads of its own."""

from __future__ import annotations

import socket
from typing import Final

from gevent.monkey import get_original

from webhook.app.native_threads import NativeThreads
from webhook.http_client.resolver import Address

THREADS: Final = 16
"""Names that may hang at the same time; each has at most one resolution in progress."""


class NativeResolver:
    """Calls the resolver of the system without blocking the loop."""

    def __init__(self) -> None:
        """Start no thread yet."""
        self._threads = NativeThreads(THREADS)

    def __call__(self, host: str) -> list[Address]:
        """Return the addresses of a host; raises ``OSError``."""
        getaddrinfo = get_original("socket", "getaddrinfo")
        found = self._threads.run(lambda: getaddrinfo(host, None, type=socket.SOCK_STREAM))
        return list(dict.fromkeys((family, str(address[0])) for family, _, _, _, address in found))
