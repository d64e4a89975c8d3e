"""Non-blocking sockets of accepted connections, with a deadline on every wait.

gevent's sockets create a timer and a waiter for each wait, which costs as much as the rest of a small
request. Here, a connection has one watcher for each direction and one timer. The timer is not moved when the
deadline moves: if it fires early, it is started again for the rest of the time.
"""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable
from typing import Any, Final

from gevent import getcurrent
from gevent.hub import get_hub
from gevent.monkey import get_original

READ: Final = 1
WRITE: Final = 2
"""Events of libev."""

_NEVER: Final = float("inf")
_socket: Final = get_original("socket", "socket")


def do_nothing() -> None:
    """Ignore that the caller has to wait."""


class WatchedSocket:
    """The socket of one connection, used by one greenlet at a time.

    Deadlines are in monotonic seconds.
    """

    def __init__(self, client: Any) -> None:
        """Take the file descriptor over from the socket that gevent accepted."""
        family, kind, protocol = client.family, client.type, client.proto
        self._socket = _socket(family, kind, protocol, client.detach())
        self._socket.settimeout(0)
        self._hub = get_hub()
        self._loop = self._hub.loop
        descriptor = self._socket.fileno()
        self._readable = self._loop.io(descriptor, READ)
        self._writable = self._loop.io(descriptor, WRITE)
        self._timer: Any = None
        self._fires_at = _NEVER
        """When the timer fires, at the latest at the deadline of the current wait."""
        self._ends = _NEVER
        """The deadline of the current wait."""
        self._greenlet: Any = None
        self._has_more = False
        """Whether the last read filled its buffer, so that there may be more without waiting."""

    def recv(self, size: int, ends: float) -> bytes:
        """Return up to ``size`` bytes, ``b""`` after the end of the data.

        The loop is polled first, unless more data is known to be there.

        Raises:
            TimeoutError: nothing has arrived by ``ends``.
        """
        if not self._has_more:
            self._wait(self._readable, ends)
        while True:
            try:
                data: bytes = self._socket.recv(size)
            except BlockingIOError:
                self._wait(self._readable, ends)
            else:
                self._has_more = len(data) == size
                return data

    def sendall(self, data: bytes, ends: float, on_wait: Callable[[], None] = do_nothing) -> None:
        """Send all of ``data``; call ``on_wait`` before waiting for the client to read.

        Raises:
            TimeoutError: the client has not read enough of it by ``ends``.
        """
        sent = self.send(data)
        if sent == len(data):
            return
        rest = memoryview(data)[sent:]
        on_wait()
        while rest:
            self._wait(self._writable, ends)
            rest = rest[self.send(rest) :]

    def send(self, data: bytes | memoryview) -> int:
        """Send what fits into the buffer of the kernel; return its size."""
        try:
            sent: int = self._socket.send(data)
        except BlockingIOError:
            return 0
        return sent

    def has_arrived(self) -> bool:
        """Return whether data has arrived that is not read yet; the data is left there."""
        try:
            return bool(self._socket.recv(1, socket.MSG_PEEK))
        except OSError:
            return False

    def set_option(self, option: int, value: int) -> None:
        """Set an option of TCP."""
        self._socket.setsockopt(socket.IPPROTO_TCP, option, value)

    def shutdown(self) -> None:
        """End the connection in both directions; a greenlet that waits for it reads the end of the data."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the socket and stop watching it."""
        for watcher in (self._readable, self._writable, self._timer):
            if watcher is not None:
                watcher.stop()
                watcher.close()
        self._timer = None
        self._socket.close()

    def _wait(self, watcher: Any, ends: float) -> None:
        """Wait for an event; it may also return without one."""
        self._greenlet = getcurrent()
        self._ends = ends
        if ends < self._fires_at:
            self._start_timer()
        watcher.start(self._greenlet.switch)
        try:
            self._hub.switch()
        finally:
            watcher.stop()
            self._ends = _NEVER

    def _start_timer(self) -> None:
        if self._timer is not None:
            self._timer.stop()
            self._timer.close()
        self._fires_at = self._ends
        self._timer = self._loop.timer(max(0.0, self._ends - time.monotonic()))
        self._timer.start(self._expire)

    def _expire(self) -> None:
        """End the current wait, or start the timer again if the deadline has moved."""
        self._fires_at = _NEVER
        if time.monotonic() >= self._ends:
            self._greenlet.throw(TimeoutError("timed out"))
        elif self._ends < _NEVER:
            self._start_timer()
