"""Unusual and malformed HTTP over TLS: each case has one defined answer."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.emulator.server import Emulator
from tests.http.wire import chunked, handshake, read_answers
from tests.support.builders import HOST, pod, review
from tests.support.serving import ServerProcess, make_certificate

pytestmark = pytest.mark.slow

TRUSTED = review(pod(f"{HOST}/shop/web:1.0"))
UNTRUSTED = review(pod(f"{HOST}/shop/web:2.0"))
PROBE = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
LAST_PROBE = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """Return one webhook for the whole module."""
    folder = tmp_path_factory.mktemp("requests")
    with Emulator() as emulator, ServerProcess(folder, emulator.url, make_certificate(folder)) as running:
        yield running


def post(body: bytes, *headers: str, path: str = "/validate", length: bool = True) -> bytes:
    """Return a POST of JSON with additional headers."""
    lines = [f"POST {path} HTTP/1.1", "Host: x", "Content-Type: application/json", *headers]
    if length:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body


SMUGGLED = b"0\r\n\r\nGET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"

ODD: list[tuple[str, bytes, list[int]]] = [
    ("two requests at once", PROBE + LAST_PROBE, [200, 200]),
    ("a review and a probe at once", post(TRUSTED) + LAST_PROBE, [200, 200]),
    (
        "a review in chunks",
        post(chunked(TRUSTED[:7], TRUSTED[7:]), "Transfer-Encoding: chunked", length=False) + LAST_PROBE,
        [200, 200],
    ),
    ("HTTP/1.0", b"GET /healthz HTTP/1.0\r\n\r\n", [200]),
    ("an absolute URI", b"GET https://x/healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", [200]),
    ("an empty line first", b"\r\n" + LAST_PROBE, [200]),
    ("a length and chunks", post(SMUGGLED, "Transfer-Encoding: chunked"), [400]),
    ("chunks named twice", post(SMUGGLED, *["Transfer-Encoding: chunked"] * 2, length=False), [400]),
    ("a coding nobody knows", post(b"{}", "Transfer-Encoding: br, chunked", length=False), [501]),
    ("a coding that has no end", post(b"{}", "Transfer-Encoding: gzip", length=False), [400]),
    ("two lengths", post(b"{}", "Content-Length: 40"), [400]),
    ("two lengths that agree", post(b"{}", "Content-Length: 2"), [400]),
    ("a length with a sign", post(b"{}", "Content-Length: +2", length=False), [400]),
    ("a negative length", post(b"{}", "Content-Length: -1", length=False), [400]),
    ("a length in hexadecimal", post(b"{}", "Content-Length: 0x2", length=False), [400]),
    ("a length that is a list", post(b"{}", "Content-Length: 2, 2", length=False), [400]),
    ("a chunk of no size", post(b"xyz\r\n", "Transfer-Encoding: chunked", length=False), [400]),
    ("a chunk of negative size", post(b"-1\r\n", "Transfer-Encoding: chunked", length=False), [400]),
    (
        "a chunk without its end",
        post(b"2\r\n{}xx0\r\n\r\n", "Transfer-Encoding: chunked", length=False),
        [400],
    ),
    ("a folded header", post(b"{}", "X-A: b", " c"), [400]),
    ("a space before a colon", post(b"{}", "X-A : b"), [400]),
    ("a header without a colon", post(b"{}", "X-A"), [400]),
    ("a name with a control character", post(b"{}", "X-\x01: b"), [400]),
    ("a null in a value", post(b"{}", "X-A: b\0c"), [400]),
    ("a carriage return in a value", post(b"{}", "X-A: b\rX-B: c"), [400]),
    ("lines that end without a carriage return", b"GET /healthz HTTP/1.1\nHost: x\n\n" + LAST_PROBE, [400]),
    ("a request line too long", b"GET /" + b"a" * 3000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", [414]),
    ("too many headers", post(b"{}", *(f"X-{index}: y" for index in range(60))), [431]),
    ("a header too long", post(b"{}", "X-A: " + "b" * 10_000), [431]),
    ("a version nobody knows", b"GET /healthz HTTP/7.3\r\nHost: x\r\n\r\n", [400]),
    ("no version", b"GET /healthz\r\n\r\n", [400]),
    ("HTTP/2 at once", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", [400]),
    ("a method in small letters", b"get /healthz HTTP/1.1\r\nHost: x\r\n\r\n", [400]),
    ("a method nobody knows", b"BREW /validate HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", [405]),
    ("no HTTP at all", b"\x00\x01\x02\x03\r\n\r\n", [400]),
    ("a tunnel", b"CONNECT x:443 HTTP/1.1\r\nHost: x:443\r\nConnection: close\r\n\r\n", [404]),
    ("an upgrade", post(b"{}", "Connection: Upgrade", "Upgrade: h2c") + LAST_PROBE, [400, 200]),
    ("an announced body", post(TRUSTED, "Expect: 100-continue", "Connection: close"), [100, 200]),
    ("another expectation", post(b"{}", "Expect: 200-ok"), [417]),
    ("a path from above", b"GET /../healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", [404]),
    ("a path with an escape", b"GET /%68ealthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", [200]),
]


@pytest.mark.parametrize(("data", "expected"), [case[1:] for case in ODD], ids=[case[0] for case in ODD])
def test_unusual_request_gets_defined_response(
    server: ServerProcess, data: bytes, expected: list[int]
) -> None:
    """After a request that is rejected as malformed, the rest is never read as another request."""
    connection = handshake(server)
    connection.settimeout(10)
    connection.sendall(data)
    assert [answer.status for answer in read_answers(connection)] == expected
    connection.close()
    assert "Traceback" not in server.logs()


def test_pipelined_responses_are_in_request_order(server: ServerProcess) -> None:
    """Twenty reviews in one write, alternately trusted and untrusted."""
    bodies = [
        body.replace(b"000000000001", b"%012d" % index)
        for index, body in enumerate([TRUSTED, UNTRUSTED] * 10)
    ]
    connection = handshake(server)
    connection.sendall(b"".join(post(body) for body in bodies) + LAST_PROBE)
    answers = read_answers(connection)
    connection.close()
    assert [answer.status for answer in answers] == [200] * 21
    for index, answer in enumerate(answers[:-1]):
        assert (b'-%012d"' % index) in answer.body
        assert (b'"allowed":true' in answer.body) is (index % 2 == 0)


@pytest.mark.parametrize("announced", [True, False], ids=["with a length", "in chunks"])
def test_too_large_body_gets_413_and_closes_connection(server: ServerProcess, announced: bool) -> None:
    """24 MiB of blanks: the answer arrives although the rest is discarded."""
    body = b" " * (3 * 2**23)
    data = post(body) if announced else post(chunked(body), "Transfer-Encoding: chunked", length=False)
    connection = handshake(server)
    connection.sendall(data + LAST_PROBE)
    answers = read_answers(connection)
    connection.close()
    assert [(answer.status, answer.headers.get("connection")) for answer in answers] == [(413, "close")]


def test_malformed_request_is_counted_and_not_logged(server: ServerProcess) -> None:
    """Text that a client controls must not be in our log."""
    before = server.metric("swr_trust_connections_cut_total", stage="malformed")
    connection = handshake(server)
    connection.sendall(b"GET /secret-of-a-stranger HTTP/9.9\r\n\r\n")
    assert [answer.status for answer in read_answers(connection)] == [400]
    connection.close()
    assert server.metric("swr_trust_connections_cut_total", stage="malformed") == before + 1
    assert "secret-of-a-stranger" not in server.logs()
