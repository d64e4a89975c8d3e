"""Heads of requests: gunicorn's parser with a bound on all header fields together.

gunicorn bounds a field and how many there are, so what a connection may hold before its request is even a
request is the product of both: no budget of bodies sees it, and 2,000 connections may be open.
"""

from __future__ import annotations

from typing import Any, Final

from gunicorn import http
from gunicorn.http.errors import LimitRequestHeaders

MAX_HEAD: Final = 8 * 1024
"""Bytes of all header fields, and as many of trailer fields. kube-apiserver sends some 500, and Prometheus a
token of 1 to 2 KB. gunicorn holds them up to three times while it waits for their end; with what TLS needs
for them that is some 32 KB for a connection, and 64 MiB for all."""

MAX_FIELD: Final = 4 * 1024
MAX_FIELDS: Final = 32

KEPT: Final = frozenset(
    {"CONNECTION", "CONTENT-LENGTH", "CONTENT-TYPE", "EXPECT", "HOST", "TRANSFER-ENCODING"},
)
"""Fields that somebody reads. The rest is forgotten once it has been checked: a review may wait for long, and
a token is best held by nobody."""


class Request(http.Request):  # type: ignore[misc]  # gunicorn ships no types
    """A request of bounded header fields."""

    def parse(self, unreader: Any) -> Any:
        """Read the head; returns what came after it."""
        self.max_buffer_headers = MAX_HEAD  # for trailers, too
        return super().parse(unreader)

    def parse_headers(self, data: bytes, from_trailer: bool = False) -> list[tuple[str, str]]:  # noqa: FBT001, FBT002 - as gunicorn has it
        """Return the fields that are kept; all are checked."""
        if len(data) > MAX_HEAD:  # what arrived at once was not measured before
            raise LimitRequestHeaders("limit request headers size")
        fields = super().parse_headers(data, from_trailer)
        return [field for field in fields if field[0] in KEPT]

    def _peer_is_trusted_proxy(self) -> bool:
        """Say that nobody may speak for others, as ``forwarded_allow_ips`` does for each request anew."""
        return False


class Parser(http.RequestParser):  # type: ignore[misc]  # gunicorn ships no types
    """Reads one request after another from a connection."""

    mesg_class = Request
