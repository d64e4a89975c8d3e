"""``NO_PROXY``: the hosts that are called without a proxy.

There is no standard. The rules are those of Go (golang.org/x/net/http/httpproxy), which the kubelet
and containerd follow. As in curl, spaces separate entries, too, and ``[IPv6]`` needs no port.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Final, Self

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

_SEPARATORS: Final = re.compile(r"[,\s]+")
_PORT: Final = re.compile(r"(?:\[(?P<bracketed>[^\]]*)\]|(?P<plain>[^:\[\]]*))(?::(?P<port>[^:]*))?")
_CIDR: Final = re.compile(r"(?P<address>[0-9a-f:.]+)/[0-9]{1,3}")


@dataclass(frozen=True, slots=True)
class _Entry:
    """One entry: a network, or a domain. An empty ``port`` is every port."""

    network: ipaddress.IPv4Network | ipaddress.IPv6Network | None = None
    domain: str = ""
    exact: bool = False
    """Whether the domain itself matches, not only its subdomains."""
    port: str = ""

    def matches(self, host: str, address: IpAddress | None, port: str) -> bool:
        if self.port not in ("", port):
            return False
        if self.network is not None:
            return address is not None and address in self.network
        return host.endswith(f".{self.domain}") or (self.exact and host == self.domain)


class NoProxy:
    """The entries of one ``NO_PROXY``; entries that cannot be parsed match nothing."""

    def __init__(self, entries: tuple[_Entry, ...], *, everything: bool = False) -> None:
        """Match these entries, or everything."""
        self._entries = entries
        self._everything = everything

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a list such as ``10.0.0.0/8, example.com:8443, .svc, [fd00::1]``; ``*`` is every host."""
        words = [word for word in _SEPARATORS.split(text.lower()) if word]
        if "*" in words:
            return cls((), everything=True)
        return cls(tuple(entry for word in words if (entry := _read_entry(word)) is not None))

    def matches(self, host: str, port: int) -> bool:
        """Return whether a host is called directly; ``host`` is a name or an address without brackets."""
        if self._everything:
            return True
        host = host.lower().rstrip(".")
        address = _read_address(host)
        return any(entry.matches(host, address, str(port)) for entry in self._entries)


def _read_entry(word: str) -> _Entry | None:
    if _CIDR.fullmatch(word) is not None:
        try:
            return _Entry(ipaddress.ip_network(word, strict=False))
        except ValueError:
            return None
    host, port = word, ""
    if _read_address(word) is None:  # an IPv6 address is full of colons
        parts = _PORT.fullmatch(word)
        if parts is None:
            return None
        host, port = parts["bracketed"] or parts["plain"] or "", parts["port"] or ""
    address = _read_address(host)
    if address is not None:
        return _Entry(ipaddress.ip_network(address), port=port)
    below = host.removeprefix("*") if host.startswith("*.") else host
    domain = below.removeprefix(".").rstrip(".")
    return _Entry(domain=domain, exact=not below.startswith("."), port=port) if domain else None


def _read_address(text: str) -> IpAddress | None:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address
