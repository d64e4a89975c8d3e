"""Loopback addresses that drop connection attempts, as a firewall does."""

from __future__ import annotations

import socket
from types import TracebackType
from typing import Self


class DeadAddress:
    """A listening socket with a full queue: Linux drops every further SYN without an answer."""

    def __init__(self, address: str, port: int = 0) -> None:
        """Listen on ``address``; port 0 selects a free one."""
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self._listener = socket.socket(family, socket.SOCK_STREAM)
        self._listener.bind((address, port))
        self._listener.listen(0)
        self.port: int = self._listener.getsockname()[1]
        self._fillers: list[socket.socket] = []
        while True:
            filler = socket.socket(family, socket.SOCK_STREAM)
            self._fillers.append(filler)
            filler.settimeout(0.3)
            try:
                filler.connect((address, self.port))
            except TimeoutError:
                break

    def revive(self) -> socket.socket:
        """Empty the queue, so that the address answers again. Returns the listening socket."""
        self._listener.listen(16)
        for filler in self._fillers[:-1]:
            self._listener.accept()[0].close()
            filler.close()
        return self._listener

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for filler in self._fillers:
            filler.close()
        self._listener.close()
