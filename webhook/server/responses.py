"""Responses on the wire."""

from __future__ import annotations

import time
from collections.abc import Callable
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus

from webhook.server.exchange import Response


class ResponseWriter:
    """Encodes responses; the ``Date`` of one second is formatted once."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        """Take the date from ``clock``, in epoch seconds."""
        self._clock = clock
        self._second = -1
        self._date = b""

    def encode(self, response: Response, *, is_last: bool, has_body: bool = True) -> bytes:
        """Return head and body, for one TLS record and one system call.

        ``is_last`` announces the end of the connection. Without ``has_body``, only the head is returned: the
        response to HEAD.
        """
        second = int(self._clock())
        if second != self._second:
            self._second = second
            self._date = f"Date: {formatdate(second, usegmt=True)}\r\n".encode()
        body = response.body
        head = _head(response.status, response.content_type, response.headers, is_last=is_last)
        return b"%b%bContent-Length: %d\r\n\r\n%b" % (head, self._date, len(body), body if has_body else b"")


@lru_cache(maxsize=64)
def _head(status: int, content_type: str, headers: tuple[tuple[str, str], ...], *, is_last: bool) -> bytes:
    """Return the head as far as it is the same for many responses; none of it comes from a request."""
    fields = [("Content-Type", content_type), *headers, ("Connection", "close" if is_last else "keep-alive")]
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields)
    return f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n{lines}".encode("latin-1")
