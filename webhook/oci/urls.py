"""URLs that a registry sends: the realm of its token service, and the location of a redirected blob."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl, urlsplit

MAX_URL: Final = 8192
"""Characters; a signed URL of object storage has about a thousand."""

_MAX_HOST: Final = 253
_PORTS: Final = {"https": 443, "http": 80}


@dataclass(frozen=True, slots=True)
class Url:
    """An absolute URL of HTTP without user, password and fragment.

    ``repr`` omits path and query, because the URL of a blob in object storage is signed.
    """

    scheme: str
    host: str
    """Lower case, without the port."""
    port: int
    base_url: str
    """Scheme, host and port, as in ``HttpRequest``."""
    path: str
    query: str

    def __repr__(self) -> str:
        """Return the origin alone."""
        return f"Url({self.base_url!r})"

    @property
    def origin(self) -> tuple[str, str, int]:
        """Scheme, host and port, which are equal for equal servers."""
        return self.scheme, self.host, self.port

    @property
    def is_loopback(self) -> bool:
        """Whether the host is this machine, by its name or its address."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def parameters(self) -> tuple[tuple[str, str], ...]:
        """The query, decoded."""
        return tuple(parse_qsl(self.query, keep_blank_values=True))


def read_url(text: str) -> Url | None:
    """Return a URL, or ``None`` if it is not an absolute one of http or https with a plain host."""
    if len(text) > MAX_URL or not text.isascii() or not text.isprintable() or " " in text or "\\" in text:
        return None
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        return None
    host = parts.hostname
    if (
        parts.scheme not in _PORTS
        or not host
        or len(host) > _MAX_HOST
        or "@" in parts.netloc
        or parts.fragment
    ):
        return None
    if port is None:
        port = _PORTS[parts.scheme]
    elif port == 0:
        return None
    base_url = f"{parts.scheme}://{parts.netloc.lower()}"
    return Url(parts.scheme, host, port, base_url, parts.path or "/", parts.query)


def is_as_safe(target: Url, endpoint: Url) -> bool:
    """Return whether a URL of the registry at ``endpoint`` may be called: by https, or http on loopback.

    Plain http is for tests: both must be on the loopback interface.
    """
    return target.scheme == "https" or (
        endpoint.scheme == "http" and endpoint.is_loopback and target.is_loopback
    )
