"""Name resolution with deadlines and stale addresses.

``getaddrinfo`` has no deadline and runs in one of few native threads. So there is at most one resolution of a
name at a time. Callers wait for it until their own deadlines. Earlier addresses are used while the resolver
hangs or fails.
"""

from __future__ import annotations

import ipaddress
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from cachetools import FIFOCache

from webhook.deadlines import Deadline
from webhook.errors import Fault, LookupTimeout, RegistryUnavailable
from webhook.single_flight import SingleFlight

Address = tuple[socket.AddressFamily, str]
"""An address family and a numeric address."""

DNS_TTL: Final = 30.0
"""Seconds for which addresses are used without resolving the name again."""

STALE_WAIT: Final = 0.5
"""Seconds that a caller waits for fresh addresses if there are earlier ones."""

MAX_NAMES: Final = 256
"""Cached names; there is one per configured endpoint, not per image."""


def resolve_by_system(host: str) -> list[Address]:
    """Use the system's resolver, without a time limit."""
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys((family, str(address[0])) for family, _, _, _, address in found))


@dataclass(slots=True)
class _Name:
    addresses: list[Address] = field(default_factory=list)
    resolved_at: float = float("-inf")


class Resolver:
    """Resolves names in the background; numeric addresses need no resolution."""

    def __init__(
        self,
        resolve: Callable[[str], list[Address]] = resolve_by_system,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Call ``resolve``, which may block for long and may raise ``OSError``, in a thread of its own."""
        self._resolve = resolve
        self._clock = clock
        self._lock = threading.Lock()
        self._names: FIFOCache[str, _Name] = FIFOCache(MAX_NAMES)
        self._calls: SingleFlight[list[Address]] = SingleFlight()

    def addresses(self, host: str, deadline: Deadline) -> list[Address]:
        """Return the addresses of a host, fresh ones if possible.

        Raises:
            LookupTimeout: there are none by the deadline.
            RegistryUnavailable: the name cannot be resolved, and never could.
        """
        numeric = _numeric(host)
        if numeric is not None:
            return [numeric]
        with self._lock:
            name = self._name(host)
            if self._clock() - name.resolved_at < DNS_TTL:
                return name.addresses
        call = self._calls.call(host, lambda: self._resolve_name(host, name), background=f"resolve-{host}")
        seconds = deadline.remaining()
        ended = call.wait(min(STALE_WAIT, seconds) if name.addresses else seconds)
        addresses = name.addresses or call.value
        if addresses:
            return addresses
        if not ended:
            raise LookupTimeout(f"{host} could not be resolved in time", fault=Fault.REGISTRY)
        problem = getattr(call.error, "strerror", None) or call.error
        raise RegistryUnavailable(f"{host} cannot be resolved: {problem}")

    def _name(self, host: str) -> _Name:
        name = self._names.get(host)
        if name is None:
            name = self._names[host] = _Name()
        return name

    def _resolve_name(self, host: str, name: _Name) -> list[Address]:
        found = self._resolve(host)
        if not found:
            raise OSError("no address")
        with self._lock:
            name.addresses, name.resolved_at = found, self._clock()
        return found


def _numeric(host: str) -> Address | None:
    try:
        address = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return None
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6  # noqa: PLR2004 - IP version
    return family, str(address)
