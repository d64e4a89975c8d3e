"""gunicorn's request parser with a limit on the size of all header fields together.

gunicorn limits the size of one field and the number of fields, so a connection may hold the product of both.
The budget of bodies does not count this memory, and 2,000 connections may be open.
"""

from __future__ import annotations

from typing import Any, Final

from gunicorn import http
from gunicorn.http.errors import LimitRequestHeaders

MAX_HEAD: Final = 8 * 1024
"""Maximum bytes of all header fields, and separately of all trailer fields. kube-apiserver sends about 500,
and Prometheus a token of 1 to 2 KB. gunicorn holds up to three copies of incomplete fields. With the buffers
of TLS this is about 32 KB for a connection, and 64 MiB for all."""

MAX_FIELD: Final = 4 * 1024
MAX_FIELDS: Final = 32

KEPT: Final = frozenset(
    {"CONNECTION", "CONTENT-LENGTH", "CONTENT-TYPE", "EXPECT", "HOST", "TRANSFER-ENCODING"},
)
"""Fields that are used. All others are checked and dropped: a review may wait for seconds, and a token should
not stay in memory."""


class Request(http.Request):  # type: ignore[misc]  # gunicorn ships no types
    """A request with limited header fields."""

    def parse(self, unreader: Any) -> Any:
        """Read the head; return the data after it."""
        self.max_buffer_headers = MAX_HEAD  # for trailers, too
        return super().parse(unreader)

    def parse_headers(self, data: bytes, from_trailer: bool = False) -> list[tuple[str, str]]:  # noqa: FBT001, FBT002 - as gunicorn has it
        """Return the fields that are kept; all are checked."""
        if len(data) > MAX_HEAD:  # gunicorn does not check fields that arrived in one piece
            raise LimitRequestHeaders("limit request headers size")
        fields = super().parse_headers(data, from_trailer)
        return [field for field in fields if field[0] in KEPT]

    def _peer_is_trusted_proxy(self) -> bool:
        """Trust no proxy. gunicorn would evaluate ``forwarded_allow_ips`` again for each request."""
        return False


class Parser(http.RequestParser):  # type: ignore[misc]  # gunicorn ships no types
    """Reads successive requests from a connection."""

    mesg_class = Request
