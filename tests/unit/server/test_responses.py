"""Responses on the wire."""

from __future__ import annotations

import pytest

from webhook.server.exchange import Response, error_response
from webhook.server.responses import ResponseWriter

NOON = 1_785_585_600.0
"""2026-08-01T12:00:00Z, in epoch seconds."""


def test_response_has_length_date_and_type() -> None:
    """The whole response."""
    assert ResponseWriter(lambda: NOON).encode(Response(200, b"{}"), is_last=False) == (
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: keep-alive\r\n"
        b"Date: Sat, 01 Aug 2026 12:00:00 GMT\r\nContent-Length: 2\r\n\r\n{}"
    )


def test_last_response_announces_end_of_connection() -> None:
    """A client that sent another request at this moment would not repeat it."""
    encoded = ResponseWriter().encode(error_response(405, "no", ("Allow", "POST")), is_last=True)
    head, _, body = encoded.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 405 Method Not Allowed\r\n")
    assert {b"Connection: close", b"Allow: POST"} <= set(head.split(b"\r\n"))
    assert body == b'{"error":"no"}'


def test_response_to_head_has_no_body() -> None:
    """Its length is that of the body that GET would get."""
    encoded = ResponseWriter().encode(Response(200, b"ok\n", "text/plain"), is_last=False, has_body=False)
    assert encoded.endswith(b"Content-Length: 3\r\n\r\n")


@pytest.mark.parametrize("later", [0.0, 0.4, 0.999])
def test_date_follows_clock(later: float) -> None:
    """It is formatted once for each second."""
    times = iter([NOON, NOON + 1 + later])
    writer = ResponseWriter(lambda: next(times))
    first, second = (writer.encode(Response(200, b""), is_last=False) for _ in range(2))
    assert (b"12:00:00" in first, b"12:00:01" in second) == (True, True)
