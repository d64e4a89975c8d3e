"""The data of a connection: heads and lines, however the network divides them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from webhook.errors import BadRequestError
from webhook.server.heads import MAX_HEAD, MAX_LINE
from webhook.server.inbox import Inbox

HEAD = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


def arriving(data: bytes, at_once: int = 4096) -> Inbox:
    """Return what has ``data`` arriving in pieces."""
    pieces: Iterator[bytes] = (data[start : start + at_once] for start in range(0, len(data), at_once))
    return Inbox(lambda _: next(pieces, b""))


@pytest.mark.parametrize("at_once", [1, 2, 5, 4096])
@pytest.mark.parametrize("before", [b"", b"\r\n"])
def test_heads_are_read_one_after_the_other(at_once: int, before: bytes) -> None:
    """One empty line may precede each (RFC 9112, section 2.2)."""
    inbox = arriving((before + HEAD) * 3, at_once)
    assert [inbox.read_head() for _ in range(4)] == [HEAD, HEAD, HEAD, b""]


def test_second_empty_line_is_not_skipped() -> None:
    """It is the end of an empty head, which is malformed."""
    assert arriving(b"\r\n\r\n\r\n" + HEAD).read_head() == b"\r\n\r\n"


def test_connection_that_ends_in_a_head_has_no_request() -> None:
    """The client has gone, and no answer would reach it."""
    assert arriving(HEAD[:-1]).read_head() == b""


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"GET /" + b"a" * (MAX_LINE + 8000), 414),
        (HEAD[:-2] + b"X: " + b"y" * (MAX_HEAD + 8000), 431),
        (b"GET / HTTP/1.1\nHost: x\n", 400),
    ],
)
@pytest.mark.parametrize("at_once", [7, 4096])
def test_endless_head_is_refused(data: bytes, status: int, at_once: int) -> None:
    """Fault C2: before more of it is held than the limits allow."""
    with pytest.raises(BadRequestError) as caught:
        arriving(data, at_once).read_head()
    assert caught.value.status == status


@pytest.mark.parametrize("at_once", [1, 4096])
def test_line_is_read_without_its_end(at_once: int) -> None:
    """What follows is left."""
    inbox = arriving(b"ab\r\n\r\ncd", at_once)
    assert (inbox.read_line(2), inbox.read_line(0), inbox.read(1)) == (b"ab", b"", b"c")


@pytest.mark.parametrize("data", [b"abc\r\n", b"abcdefgh", b"a\nb\r\n"])
def test_malformed_line_is_refused(data: bytes) -> None:
    """It is too long, has no end, or a line feed in it."""
    with pytest.raises(BadRequestError):
        arriving(data).read_line(2 if b"\n" not in data[:2] else 10)


def test_end_of_data_in_a_line_is_a_lost_connection() -> None:
    """Nobody waits for an answer."""
    with pytest.raises(ConnectionResetError):
        arriving(b"ab\r").read_line(10)
