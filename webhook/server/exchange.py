"""Requests and responses between the conversation with a client and the applications that answer it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import msgspec

JSON: Final = "application/json"


def no_certificate() -> dict[str, Any] | None:
    """Return that the client has shown no certificate."""
    return None


@dataclass(slots=True, repr=False)
class Request:
    """A complete request. It has no other header fields than the ones below."""

    method: str
    path: str
    """Still percent-encoded."""
    query: str = ""
    content_type: str = ""
    host: str = ""
    body: bytes = b""
    began: float = 0.0
    """When its first byte arrived, in monotonic seconds."""
    is_truncated: bool = False
    """Whether ``body`` is only the beginning, because there was no room for more."""
    may_wait: bool = True
    """If not, too many requests wait already, and this one must be answered at once."""
    peer_certificate: Callable[[], dict[str, Any] | None] = no_certificate
    """Returns the verified certificate of the client, if any."""

    def take_body(self) -> bytes:
        """Return the body and drop it: a review may wait for SWR, and the body has up to 7 MiB."""
        body, self.body = self.body, b""
        return body


@dataclass(frozen=True, slots=True)
class Response:
    """A complete response; the conversation adds the fields that concern the connection."""

    status: int
    body: bytes
    content_type: str = JSON
    headers: tuple[tuple[str, str], ...] = ()
    """Further header fields."""


Application = Callable[[Request], Response]
"""Answers one request; never raises."""


def error_response(status: int, message: str, *headers: tuple[str, str]) -> Response:
    """Return the response to a malformed call."""
    return Response(status, msgspec.json.encode({"error": message}), headers=headers)
