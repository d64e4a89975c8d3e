"""TCP connections to a host with several addresses, some of which may not respond.

A firewall or a broken IPv6 route may drop packets, and a connection attempt then lasts until its time limit.
So attempts overlap, as in RFC 8305 (Happy Eyeballs), and the first connection is used. An address can also
fail while connections to it are open: the kernel watches for that.
"""

from __future__ import annotations

import errno
import os
import select
import socket
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from itertools import chain, zip_longest
from typing import Final

from cachetools import FIFOCache

from webhook.deadlines import Deadline
from webhook.http_client.resolver import Address

ATTEMPT_DELAY: Final = 0.25
"""Seconds between the attempts (RFC 8305, section 5)."""

AVOIDED_SECONDS: Final = 120.0
"""Seconds for which an address that failed is tried last."""

MAX_AVOIDED: Final = 256
"""Addresses whose failures are kept; an endpoint has a few."""

UNACKNOWLEDGED_MS: Final = 1000
"""Milliseconds without an acknowledgement after which a connection is closed (RFC 5482). A slow server
acknowledges a request at once."""

KEEPALIVE_IDLE: Final = 10
"""Seconds until an idle connection is probed, and then every ``KEEPALIVE_INTERVAL`` seconds."""

KEEPALIVE_INTERVAL: Final = 5

_EXHAUSTED: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EAGAIN})

_NO_FAMILY: Final = frozenset({errno.EADDRNOTAVAIL, errno.ENETUNREACH, errno.EAFNOSUPPORT})
"""Errors of a machine without IPv6 for IPv6 addresses; a failure of IPv4 is more relevant."""

Endpoint = tuple[str, int]
"""A numeric address and a port."""


def is_local_limit(error: BaseException) -> bool:
    """Return whether an error means that this process has no descriptor, memory or port left.

    Linux reports exhausted ports as EADDRNOTAVAIL.
    """
    code = error.errno if isinstance(error, OSError) else None
    return code in _EXHAUSTED or code == errno.EADDRNOTAVAIL


class Connector:
    """Connects to the first address that responds, and tries addresses that failed last."""

    def __init__(self, clock: Callable[[], float] | None = None) -> None:
        """Measure ages by ``clock``, in seconds; ``time.monotonic`` unless given."""
        self._clock = clock or time.monotonic
        self._lock = threading.Lock()
        self._failed_at: FIFOCache[Endpoint, float] = FIFOCache(MAX_AVOIDED)
        self._dead_at: FIFOCache[Endpoint, float] = FIFOCache(MAX_AVOIDED)
        self._answered_at: FIFOCache[Endpoint, float] = FIFOCache(MAX_AVOIDED)

    def connect(self, addresses: Sequence[Address], port: int, deadline: Deadline) -> socket.socket:
        """Return a connected socket, non-blocking; the caller closes it.

        Raises:
            TimeoutError: no address has responded by the deadline.
            OSError: every address failed; see ``is_local_limit``.
        """
        race = _Race(self, port, deadline)
        try:
            return race.run(self.order(addresses, port))
        finally:
            race.close()

    def order(self, addresses: Iterable[Address], port: int) -> list[Address]:
        """Return the addresses in the order of the attempts.

        The families alternate, beginning with that of the first address. Addresses that failed within
        ``AVOIDED_SECONDS`` come last, ordered by the time of the failure.
        """
        families: dict[socket.AddressFamily, list[Address]] = {}
        for address in dict.fromkeys(addresses):
            families.setdefault(address[0], []).append(address)
        rows = zip_longest(*families.values())
        alternating = [address for address in chain.from_iterable(rows) if address is not None]
        oldest = self._clock() - AVOIDED_SECONDS
        with self._lock:
            failed_at = {address: self._failed_at.get((address[1], port), oldest) for address in alternating}
        return sorted(alternating, key=lambda address: max(failed_at[address], oldest))

    def record_failure(self, endpoint: Endpoint, *, dead: bool = False) -> None:
        """Record that an address failed, so that it is tried last for ``AVOIDED_SECONDS``.

        ``dead`` means that it does not acknowledge packets; see ``is_dead``.
        """
        with self._lock:
            self._failed_at[endpoint] = self._clock()
            if dead:
                self._dead_at[endpoint] = self._clock()

    def record_success(self, endpoint: Endpoint) -> None:
        """Record that an address accepted a connection."""
        with self._lock:
            self._failed_at.pop(endpoint, None)

    def record_answer(self, endpoint: Endpoint) -> None:
        """Record a response from an address."""
        with self._lock:
            self._answered_at[endpoint] = self._clock()

    def has_answered(self, endpoint: Endpoint, since: float) -> bool:
        """Return whether an address has responded at or after ``since``, a time of ``now``."""
        return self._answered_at.get(endpoint, float("-inf")) >= since

    def is_dead(self, endpoint: Endpoint, since: float) -> bool:
        """Return whether an address was dead at or after ``since``, a time of ``now``."""
        return self._dead_at.get(endpoint, float("-inf")) >= since

    def now(self) -> float:
        """Return the time by the clock of this object."""
        return self._clock()


def _watch(connection: socket.socket) -> None:
    """Let the kernel close a connection whose peer no longer responds, if the platform supports it."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (
        ("TCP_KEEPIDLE", KEEPALIVE_IDLE),
        ("TCP_KEEPINTVL", KEEPALIVE_INTERVAL),
        ("TCP_USER_TIMEOUT", UNACKNOWLEDGED_MS),
    ):
        option = getattr(socket, name, None)
        if option is not None:
            connection.setsockopt(socket.IPPROTO_TCP, option, value)


class _Race:
    """Overlapping attempts for one connection."""

    def __init__(self, connector: Connector, port: int, deadline: Deadline) -> None:
        self._connector = connector
        self._port = port
        self._deadline = deadline
        self._poll = select.poll()
        self._attempts: dict[int, tuple[socket.socket, str, float]] = {}
        self._failures: list[OSError] = []

    def run(self, order: Sequence[Address]) -> socket.socket:
        """Try the addresses in order, each at most ``ATTEMPT_DELAY`` after the one before."""
        waiting = list(reversed(order))
        next_at = time.monotonic()
        while waiting or self._attempts:
            if self._deadline.expired:
                break
            if waiting and (not self._attempts or time.monotonic() >= next_at):
                self._start(*waiting.pop())
                next_at = time.monotonic() + ATTEMPT_DELAY
            until = min(next_at, self._deadline.at) if waiting else self._deadline.at
            before = len(self._attempts)
            winner = self._wait(until - time.monotonic())
            if winner is not None:
                return winner
            if len(self._attempts) < before:
                next_at = time.monotonic()  # the next attempt need not wait after a failure
        for _, address, _ in self._attempts.values():
            self._connector.record_failure((address, self._port), dead=True)
        raise self._failure()

    def close(self) -> None:
        """Close all attempts except the one that is used."""
        for attempt, _, _ in self._attempts.values():
            attempt.close()
        self._attempts.clear()

    def _start(self, family: socket.AddressFamily, address: str) -> None:
        try:
            attempt = socket.socket(family, socket.SOCK_STREAM)
        except OSError as error:  # no descriptor left, or no IPv6 on this machine
            self._fail(address, error)
            return
        try:
            attempt.settimeout(0.0)
            attempt.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            code = attempt.connect_ex((address, self._port))
        except OSError as error:
            attempt.close()
            self._fail(address, error)
            return
        if code not in (0, errno.EINPROGRESS):
            attempt.close()
            self._fail(address, OSError(code, os.strerror(code)))
            return
        self._attempts[attempt.fileno()] = (attempt, address, time.monotonic())
        self._poll.register(attempt, select.POLLOUT)

    def _wait(self, seconds: float) -> socket.socket | None:
        """Wait for the attempts in progress and return one that has connected, if any."""
        if not self._attempts:
            return None
        # Rounded up, because a poll that ends too early would be repeated without a pause.
        for descriptor, _ in self._poll.poll(max(0, int(seconds * 1000) + 1)):
            attempt, address, _ = self._attempts.pop(descriptor)
            self._poll.unregister(attempt)
            code = attempt.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if code == 0:
                self._connector.record_success((address, self._port))
                self._record_slower()
                _watch(attempt)
                return attempt
            attempt.close()
            self._fail(address, OSError(code, os.strerror(code)))
        return None

    def _record_slower(self) -> None:
        """Record the addresses that had enough time before the one that connected."""
        now = time.monotonic()
        for _, address, started in self._attempts.values():
            if now - started >= ATTEMPT_DELAY:
                self._connector.record_failure((address, self._port), dead=True)

    def _fail(self, address: str, error: OSError) -> None:
        self._failures.append(error)
        if error.errno not in _EXHAUSTED:
            self._connector.record_failure((address, self._port))

    def _failure(self) -> OSError:
        """Return the most relevant error: a local limit first, because it is not a fault of the addresses."""
        for error in self._failures:
            if error.errno in _EXHAUSTED:
                return error
        if self._deadline.expired:
            return TimeoutError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))
        relevant = [error for error in self._failures if error.errno not in _NO_FAMILY]
        return (relevant or self._failures or [OSError("no address")])[-1]
