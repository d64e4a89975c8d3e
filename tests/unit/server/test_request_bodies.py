"""Bodies of requests: with a length, or in chunks."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.http.wire import chunked
from tests.unit.server.test_inbox import arriving
from webhook.errors import BadRequestError
from webhook.server.heads import MAX_HEAD, Head
from webhook.server.request_bodies import MAX_CHUNK_LINE, PIECE, RequestBody

CHUNKED = Head("POST", "/", "", "", 0, is_chunked=True, is_last=False, expects_continue=False)


def with_length(length: int) -> Head:
    """Return the head of a body of so many bytes."""
    return Head("POST", "/", "", "", length, is_chunked=False, is_last=False, expects_continue=False)


def read_all(body: RequestBody, size: int = PIECE) -> bytes:
    """Return the whole body."""
    return b"".join(iter(lambda: body.read(size), b""))


@pytest.mark.parametrize("at_once", [1, 3, PIECE])
def test_body_ends_after_its_length(at_once: int) -> None:
    """What follows is the next request."""
    inbox = arriving(b"abcdeGET / HTTP/1.1\r\n\r\n", at_once)
    assert read_all(RequestBody(inbox, with_length(5))) == b"abcde"
    assert inbox.read_head() == b"GET / HTTP/1.1\r\n\r\n"


@pytest.mark.parametrize("at_once", [1, 3, PIECE])
def test_chunked_body_ends_after_its_last_chunk(at_once: int) -> None:
    """Extensions and trailers are dropped."""
    data = b"2;a=b\r\nab\r\n03\r\ncde\r\n0\r\nX-Late: y\r\n\r\nGET / HTTP/1.1\r\n\r\n"
    inbox = arriving(data, at_once)
    assert read_all(RequestBody(inbox, CHUNKED)) == b"abcde"
    assert inbox.read_head() == b"GET / HTTP/1.1\r\n\r\n"


REJECTED: list[tuple[str, bytes]] = [
    ("no size", b"\r\nab\r\n"),
    ("a negative size", b"-1\r\nab\r\n"),
    ("a size with a prefix", b"0x2\r\nab\r\n"),
    ("a size with an underscore", b"1_0\r\nab\r\n"),
    ("a space before the size", b" 2\r\nab\r\n"),
    ("a space after the size", b"2 \r\nab\r\n"),
    ("a size of nine digits", b"000000002\r\nab\r\n"),
    ("a size beyond all numbers", b"fffffffffffffffff2\r\nab\r\n"),
    ("a line feed after the size", b"2\nab\r\n0\r\n\r\n"),
    ("a line feed in an extension", b"2;a\nb\r\nab\r\n0\r\n\r\n"),
    ("a control character in an extension", b"2;\x00\r\nab\r\n0\r\n\r\n"),
    ("a long extension", b"2;" + b"a" * MAX_CHUNK_LINE + b"\r\nab\r\n0\r\n\r\n"),
    ("a chunk longer than its size", b"2\r\nabx\r\n0\r\n\r\n"),
    ("a chunk that ends with a line feed", b"2\r\nab\n0\r\n\r\n"),
    ("a folded trailer", b"0\r\nX: y\r\n z\r\n\r\n"),
    ("a trailer without a colon", b"0\r\nX\r\n\r\n"),
    ("a trailer that ends with a line feed", b"0\r\nX: y\n\r\n\r\n"),
]


@pytest.mark.parametrize("data", [case[1] for case in REJECTED], ids=[case[0] for case in REJECTED])
def test_malformed_chunks_are_refused(data: bytes) -> None:
    """A proxy that reads them differently would take a part of them for another request."""
    with pytest.raises(BadRequestError) as caught:
        read_all(RequestBody(arriving(data), CHUNKED))
    assert caught.value.status == 400


def test_total_size_of_trailers_is_limited() -> None:
    """Fault C2: each is within its limit, and a connection could send them for as long as a request may take."""
    trailers = b"".join(b"X-%d: %b\r\n" % (number, b"x" * 1020) for number in range(9))
    with pytest.raises(BadRequestError) as caught:
        read_all(RequestBody(arriving(b"0\r\n" + trailers + b"\r\n"), CHUNKED))
    assert caught.value.status == 431
    assert len(trailers) > MAX_HEAD


@pytest.mark.parametrize("at_once", [1, 700, PIECE])
def test_small_pieces_are_joined(at_once: int) -> None:
    """Fault C2: one object for each byte takes 40 times the memory that the budget counts."""
    body = RequestBody(arriving(b"x" * (2 * PIECE), at_once), with_length(2 * PIECE))
    assert len(body.read(2 * PIECE)) >= PIECE


def test_small_chunks_are_joined() -> None:
    """Fault C2: a chunk may have one byte."""
    body = RequestBody(arriving(chunked(*[b"x"] * (2 * PIECE))), CHUNKED)
    assert len(body.read(2 * PIECE)) >= PIECE


@pytest.mark.parametrize(
    ("head", "data"), [(with_length(5), b"abc"), (CHUNKED, b"5\r\nabc"), (CHUNKED, b"3\r\nabc\r\n")]
)
def test_body_that_ends_early_is_not_a_body(head: Head, data: bytes) -> None:
    """A review that lost its end must not be evaluated."""
    with pytest.raises(ConnectionResetError):
        read_all(RequestBody(arriving(data), head))


@given(st.lists(st.binary(min_size=1, max_size=50), max_size=20), st.integers(1, 40), st.integers(1, 60))
def test_chunks_are_read_as_they_were_sent(chunks: list[bytes], at_once: int, size: int) -> None:
    """However the network and the reader divide them."""
    inbox = arriving(chunked(*chunks) + b"X", at_once)
    assert read_all(RequestBody(inbox, CHUNKED), size) == b"".join(chunks)
    assert inbox.read(5) == b"X"
