"""Heads of requests: what is read of them, their limits, and what is rejected."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webhook.errors import BadRequestError
from webhook.server.heads import (
    END,
    MAX_FIELD,
    MAX_FIELDS,
    MAX_HEAD,
    MAX_LINE,
    Head,
    check_incomplete_head,
    parse_head,
)

KIBIBYTE = "x" * 1020


def head(*fields: str, line: str = "POST /validate?timeout=10s HTTP/1.1", host: str = "Host: x") -> bytes:
    """Return a head with these fields."""
    return "\r\n".join((line, *([host] if host else []), *fields, "", "")).encode("latin-1")


def refusal(data: bytes) -> int:
    """Return the status with which a head is refused, 0 if it is accepted."""
    try:
        parse_head(data)
    except BadRequestError as error:
        return error.status
    return 0


def test_head_of_api_server_is_read() -> None:
    """As kube-apiserver 1.37 sends it."""
    data = head(
        "User-Agent: kube-apiserver-admission",
        "Content-Length: 2631",
        "Accept: application/json, */*",
        "Content-Type: application/json",
        "Accept-Encoding: gzip",
        host="Host: swr-trust-webhook.swr-trust.svc:443",
    )
    assert parse_head(data) == Head(
        method="POST",
        target="/validate?timeout=10s",
        content_type="application/json",
        host="swr-trust-webhook.swr-trust.svc:443",
        length=2631,
        is_chunked=False,
        is_last=False,
        expects_continue=False,
    )


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("/validate?timeout=10s", ("/validate", "timeout=10s")),
        ("/validate", ("/validate", "")),
        ("/validate?a=1?b", ("/validate", "a=1?b")),
        ("/%68ealthz", ("/%68ealthz", "")),
        ("//validate", ("//validate", "")),
        ("https://x:443/validate?a", ("/validate", "a")),
        ("HTTP://x?a", ("", "a")),
        ("*", ("*", "")),
    ],
)
def test_target_is_split_at_first_question_mark(target: str, expected: tuple[str, str]) -> None:
    """An absolute target counts without its authority (RFC 9112, section 3.2.2)."""
    assert Head("GET", target, "", "", 0, False, False, False).split_target() == expected


@pytest.mark.parametrize(
    ("line", "fields", "expected"),
    [
        ("GET / HTTP/1.1", (), False),
        ("GET / HTTP/1.1", ("Connection: close",), True),
        ("GET / HTTP/1.1", ("Connection: x, Close",), True),
        ("GET / HTTP/1.1", ("Connection: x", "connection: CLOSE"), True),
        ("GET / HTTP/1.1", ("Connection: closed",), False),
        ("GET / HTTP/1.0", (), True),
        ("GET / HTTP/1.0", ("Connection: keep-alive",), False),
        ("GET / HTTP/1.0", ("Connection: keep-alive, close",), True),
    ],
)
def test_client_may_ask_for_end_of_connection(line: str, fields: tuple[str, ...], expected: bool) -> None:
    """HTTP/1.0 ends by default, HTTP/1.1 does not (RFC 9112, section 9.3)."""
    assert parse_head(head(*fields, line=line)).is_last is expected


REJECTED: list[tuple[str, bytes, int]] = [
    ("lines without a carriage return", b"GET / HTTP/1.1\nHost: x\n\n", 400),
    ("one line without a carriage return", b"GET / HTTP/1.1\r\nHost: x\nA: b\r\n\r\n", 400),
    ("a folded field", head("X-A: b", " c"), 400),
    ("a folded first field", b"GET / HTTP/1.1\r\n X: y\r\nHost: x\r\n\r\n", 400),
    ("a space before the colon", head("X-A : b"), 400),
    ("a tab before the colon", head("Content-Length\t: 2"), 400),
    ("a field without a colon", head("X-A"), 400),
    ("a field without a name", head(": b"), 400),
    ("a control character in a name", head("X-\x01: b"), 400),
    ("a control character in a value", head("X-A: b\x01"), 400),
    ("a null in a value", head("X-A: b\0c"), 400),
    ("a carriage return in a value", head("X-A: b\rX-B: c"), 400),
    ("two spaces in the request line", head(line="GET  / HTTP/1.1"), 400),
    ("a tab in the request line", head(line="GET\t/ HTTP/1.1"), 400),
    ("a space after the version", head(line="GET / HTTP/1.1 "), 400),
    ("a space before the method", head(line=" GET / HTTP/1.1"), 400),
    ("an empty line first", b"\r\n" + head(), 400),
    ("a line feed first", b"\n" + head(), 400),
    ("a fragment in the target", head(line="GET /a#b HTTP/1.1"), 400),
    ("a character beyond ASCII in the target", head(line="GET /\xe4 HTTP/1.1"), 400),
    ("a control character in the target", head(line="GET /\x7f HTTP/1.1"), 400),
    ("no target", head(line="GET HTTP/1.1"), 400),
    ("no version", head(line="GET /"), 400),
    ("HTTP/0.9", head(line="GET / HTTP/0.9"), 400),
    ("HTTP/1.2", head(line="GET / HTTP/1.2"), 400),
    ("HTTP/2.0", b"PRI * HTTP/2.0\r\n\r\n", 400),
    ("a version in small letters", head(line="GET / http/1.1"), 400),
    ("a method in small letters", head(line="get / HTTP/1.1"), 400),
    ("an unknown method", head(line="BREW / HTTP/1.1"), 405),
    ("no host", head(host=""), 400),
    ("two hosts", head("Host: y"), 400),
    ("a host with a path", head(host="Host: x/y"), 400),
    ("a host with a space", head(host="Host: x y"), 400),
    ("a list of hosts", head(host="Host: x, y"), 400),
    ("a host with a user", head(host="Host: a@x"), 400),
    ("a host beyond ASCII", head(host="Host: \xe4"), 400),
    ("a malformed host of HTTP/1.0", head(host="Host: x/y", line="GET / HTTP/1.0"), 400),
    ("a length and chunks", head("Content-Length: 2", "Transfer-Encoding: chunked"), 400),
    ("chunks and a length", head("Transfer-Encoding: chunked", "Content-Length: 2"), 400),
    ("two lengths", head("Content-Length: 2", "Content-Length: 40"), 400),
    ("two lengths that agree", head("Content-Length: 2", "content-length: 2"), 400),
    ("a list of lengths", head("Content-Length: 2, 2"), 400),
    ("an empty length", head("Content-Length:"), 400),
    ("a length with a sign", head("Content-Length: +2"), 400),
    ("a length with a space", head("Content-Length: 2 2"), 400),
    ("a hexadecimal length", head("Content-Length: 0x2"), 400),
    ("a length with an underscore", head("Content-Length: 1_0"), 400),
    ("a length of other digits", head("Content-Length: \xb2"), 400),
    ("a length beyond all numbers", head("Content-Length: 99999999999999999999999"), 400),
    ("chunks named twice", head("Transfer-Encoding: chunked", "Transfer-Encoding: chunked"), 400),
    ("chunks named twice in one field", head("Transfer-Encoding: chunked, chunked"), 400),
    ("chunks that are not the last coding", head("Transfer-Encoding: chunked, gzip"), 400),
    ("another coding", head("Transfer-Encoding: gzip"), 400),
    ("a coding that ends like chunks", head("Transfer-Encoding: xchunked"), 400),
    ("another coding before chunks", head("Transfer-Encoding: br, chunked"), 501),
    ("an empty coding before chunks", head("Transfer-Encoding: , chunked"), 501),
    ("chunks in HTTP/1.0", head("Transfer-Encoding: chunked", line="POST / HTTP/1.0"), 400),
    ("two media types", head("Content-Type: a/b", "Content-Type: c/d"), 400),
    ("another expectation", head("Expect: 200-ok"), 417),
    ("a long request line", head(line=f"GET /{'a' * MAX_LINE} HTTP/1.1"), 414),
    ("a long field", head(f"X-A: {'b' * MAX_FIELD}"), 431),
    ("many fields", head(*(f"X-{number}: y" for number in range(MAX_FIELDS))), 431),
    ("long fields together", head(*(f"X-{number}: {KIBIBYTE}" for number in range(8))), 431),
]


@pytest.mark.parametrize(
    ("data", "status"), [case[1:] for case in REJECTED], ids=[case[0] for case in REJECTED]
)
def test_malformed_head_is_refused(data: bytes, status: int) -> None:
    """A proxy that reads such a head differently would take a part of the body for another request."""
    assert refusal(data) == status


@pytest.mark.parametrize(
    "data",
    [
        head("Content-Length:\t2 "),
        head("Transfer-Encoding: Chunked"),
        head("Expect: 100-Continue"),
        head("X-A: \xff\xfe"),
        head("X-A:"),
        head("Connection: Upgrade", "Upgrade: h2c"),
        head(line="CONNECT x:443 HTTP/1.1"),
        head(line="GET / HTTP/1.0", host=""),
        head(host="Host:"),
        head(host="Host: [fe80::1%25eth0]:8443"),
        head(host="Host: web-1.shop_a.svc.:8443"),
    ],
    ids=[
        *("white space", "capitals", "expectation", "octets", "empty", "upgrade", "tunnel", "HTTP/1.0"),
        *("empty host", "address", "name"),
    ],
)
def test_unusual_head_is_accepted(data: bytes) -> None:
    """RFC 9110 and 9112 allow these."""
    assert refusal(data) == 0


def test_total_size_of_header_fields_is_limited() -> None:
    """Fault C2: each within its limit, and all of them 130 KB."""
    assert refusal(head(*(f"X-{number}: {KIBIBYTE}" for number in range(7)))) == 0
    assert refusal(head(*(f"X-{number}: {KIBIBYTE}" for number in range(9)))) == 431


def test_unused_fields_are_dropped() -> None:
    """Fault C2: a review that waits for SWR keeps no token."""
    assert "secret" not in repr(parse_head(head("Authorization: Bearer secret")))


def test_header_with_service_account_token_is_accepted() -> None:
    """Prometheus sends one, and a proxy adds its own fields."""
    assert refusal(head(f"Authorization: Bearer {'x' * 3000}", *(f"X-{n}: {n}" for n in range(20)))) == 0
    assert MAX_HEAD >= 2 * MAX_FIELD


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"GET /" + b"a" * MAX_LINE, 414),
        (head()[: -len(END)] + b"\r\nX: " + b"y" * MAX_HEAD, 431),
        (b"GET / HTTP/1.1\nHost: x\n\n", 400),
    ],
    ids=["line", "fields", "line feeds"],
)
def test_incomplete_head_is_refused_as_soon_as_possible(data: bytes, status: int) -> None:
    """Fault C2: otherwise it would be kept until the time limit of the request."""
    with pytest.raises(BadRequestError) as caught:
        check_incomplete_head(data)
    assert caught.value.status == status


@given(st.integers(0, len(head("Content-Length: 2", "X-A: b"))))
def test_beginning_of_head_is_not_refused(size: int) -> None:
    """Wherever the network divides it."""
    check_incomplete_head(head("Content-Length: 2", "X-A: b")[:size])


@given(st.binary(max_size=200), st.integers(0, 60))
def test_any_head_is_read_or_refused(noise: bytes, place: int) -> None:
    """No other error, whatever is inserted anywhere."""
    valid = head("Content-Length: 2")
    assert refusal(valid[:place] + noise + valid[place:]) in {0, 400, 405, 414, 417, 431, 501}
