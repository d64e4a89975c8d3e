"""Name resolution that one dead name cannot stall.

``getaddrinfo`` has no deadline, and under gevent all of the process shares ten threads for it. So
each name has at most one resolution under way, whoever waits for it waits only as long as it can,
and addresses that were good once stand in while the resolver hangs or fails.
"""

from __future__ import annotations

import ipaddress
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from webhook.deadlines import Deadline, spawn
from webhook.errors import Fault, LookupTimeout, RegistryUnavailable

Address = tuple[socket.AddressFamily, str]
"""An address family and a numeric address."""

DNS_TTL: Final = 30.0
"""Seconds for which addresses are used without asking again."""

STALE_WAIT: Final = 0.5
"""Seconds a caller waits for fresh addresses while it holds old ones."""

MAX_NAMES: Final = 256
"""Names that are remembered: there are as many as configured endpoints, not images."""


def resolve_by_system(host: str) -> list[Address]:
    """Ask the system's resolver; may block for as long as it likes."""
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys((family, str(address[0])) for family, _, _, _, address in found))


@dataclass(slots=True)
class _Name:
    addresses: list[Address] = field(default_factory=list)
    resolved_at: float = float("-inf")
    failure: str = ""
    pending: threading.Event | None = None


class Resolver:
    """Resolves names in the background; numeric addresses never wait."""

    def __init__(
        self,
        resolve: Callable[[str], list[Address]] = resolve_by_system,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Ask ``resolve``, which may block and may raise ``OSError``, in a thread of its own."""
        self._resolve = resolve
        self._clock = clock
        self._lock = threading.Lock()
        self._names: dict[str, _Name] = {}

    def addresses(self, host: str, deadline: Deadline) -> list[Address]:
        """Return the addresses of a host, fresh ones if they can be had.

        Raises:
            LookupTimeout: nothing is known by the deadline.
            RegistryUnavailable: there is no such name and never was.
        """
        numeric = _numeric(host)
        if numeric is not None:
            return [numeric]
        with self._lock:
            name = self._name(host)
            if self._clock() - name.resolved_at < DNS_TTL:
                return name.addresses
            pending = name.pending
            if pending is None:
                pending = name.pending = threading.Event()
                spawn(lambda: self._run(host, name, pending), f"resolve-{host}")
            known = bool(name.addresses)
        pending.wait(min(STALE_WAIT, deadline.remaining()) if known else deadline.remaining())
        with self._lock:
            if name.addresses:
                return name.addresses
            if not pending.is_set():
                raise LookupTimeout(f"{host} could not be resolved in time", fault=Fault.REGISTRY)
            raise RegistryUnavailable(f"{host} cannot be resolved: {name.failure}")

    def _name(self, host: str) -> _Name:
        name = self._names.get(host)
        if name is None:
            if len(self._names) >= MAX_NAMES:
                self._names.pop(next(iter(self._names)))
            name = self._names[host] = _Name()
        return name

    def _run(self, host: str, name: _Name, pending: threading.Event) -> None:
        found: list[Address] = []
        failure = "no address"
        try:
            found = self._resolve(host)
        except Exception as error:  # noqa: BLE001 - whatever it is, nobody may go on waiting for it
            failure = str(getattr(error, "strerror", None) or error)
        with self._lock:
            if found:
                name.addresses, name.resolved_at = found, self._clock()
            name.failure = failure
            name.pending = None
        pending.set()


def _numeric(host: str) -> Address | None:
    try:
        address = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return None
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6  # noqa: PLR2004 - IP version
    return family, str(address)
