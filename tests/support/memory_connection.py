"""A connection in memory, for conversations without a socket or a loop."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from webhook.server.scheduler import FairScheduler, WaitReason
from webhook.server.sockets import do_nothing


class UnscheduledScheduler(FairScheduler):
    """A scheduler without a loop: work that waits continues at once, in the next iteration."""

    def wait(self, reason: WaitReason) -> None:
        self.iterations += 1


class MemoryConnection:
    """Has the methods of ``Connection`` that a conversation calls; the client sends ``pieces`` and then ends."""

    is_reused = idle = aborted = False
    request_began = 0.0
    getpeercert = start_request_timer = staticmethod(do_nothing)

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = iter(pieces)
        self._arrived = b""
        self.sent: list[bytes] = []

    def recv(self, size: int) -> bytes:
        data = self._arrived or next(self._pieces, b"")
        self._arrived = data[size:]
        return data[:size]

    def sendall(self, data: bytes, on_wait: Callable[[], None]) -> None:
        self.sent.append(data)

    def start_idle_timer(self, idle_seconds: float) -> None:
        self.is_reused = True
