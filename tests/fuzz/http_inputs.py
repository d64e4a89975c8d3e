"""Generators of bytes that a client could send over a connection."""

from __future__ import annotations

from random import Random
from typing import Final

HIDDEN: Final = b"GET /hidden HTTP/1.1\r\nHost: x\r\n\r\n"

VALID: Final = [
    b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n",
    b"HEAD /a?b=c HTTP/1.1\r\nHost: x\r\nAccept: */*\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET http://x:1/a HTTP/1.1\r\nHost: x:1\r\nConnection: keep-alive\r\n\r\n",
    b"GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    b"POST /a HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: 3\r\n\r\nabc",
    b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
    b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 11\r\n\r\nhello world",
    b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b" % (len(HIDDEN), HIDDEN),
    b"POST /a HTTP/1.1\r\nContent-Length: 4\r\nExpect: 100-continue\r\nHost: x\r\n\r\n\r\n\r\n",
    b"POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    b"POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\nHost: x\r\n\r\n%X;a=b\r\n%b\r\n0\r\nX-A: b\r\n\r\n"
    % (len(HIDDEN), HIDDEN),
    b"PUT /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n0\r\n02\r\n\r\n\r\n0\r\n\r\n",
]

PIECES: Final = [
    *(b"\r", b"\n", b"\r\n", b"\n\r", b"\r\r\n", b"\r\n\r\n", b"\n\n", b" ", b"  ", b"\t", b"\v", b"\f"),
    *(b"\0", b"\x7f", b"\x80", b"\xa0", b"\xff", b":", b";", b",", b"=", b'"', b"/", b"#", b"%", b"?", b"*"),
    *(b"0", b"1", b"3", b"a", b"F", b"00", b"10", b"0x", b"+", b"-", b"_", b".", b"99999999999", b"x"),
    *(b"\r\n ", b"\r\n\t", b" :", b": ", b"0\r\n", b"0\r\n\r\n", b"1\r\nZ\r\n", b"3\r\nabc\r\n", b";a=b"),
    *(b"chunked", b"Chunked", b"identity", b"gzip, chunked", b"close", b"keep-alive", b"100-continue"),
    *(b"Content-Length: 0\r\n", b"Content-Length: 3\r\n", b"Content-Length: 33\r\n", b"Content-Length:"),
    *(b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding: gzip\r\n", b"Transfer-Encoding:"),
    *(b"Connection: close\r\n", b"Connection: keep-alive\r\n", b"Expect: 100-continue\r\n", b"Host: y\r\n"),
    *(b"Trailer: X-A\r\n", b"Trailer: Content-Length\r\n", b"Upgrade: h2c\r\n", b"X-A: b\r\n", b"X-A: b\n"),
    *(b"HTTP/1.0", b"HTTP/1.1", b"HTTP/2.0", b"http/1.1", b"HTTP/1.1 ", b"GET", b"HEAD", b"CONNECT", b"get"),
    HIDDEN,
]
"""What parsers read differently, and the words of the protocol."""

FIELDS: Final = [
    *(b"Content-Length: 0", b"Content-Length: 3", b"Content-Length: 33", b"Content-Length: +3"),
    *(b"Transfer-Encoding: chunked", b"Transfer-Encoding: gzip, chunked", b"Transfer-Encoding: x"),
    *(b"Connection: close", b"Connection: keep-alive", b"Expect: 100-continue", b"Host: y", b" folded"),
]
"""Lines that change where a request ends, if they are inserted into a head."""

BORDERS: Final = b"\r\n :;,/"


def requests(random: Random, valid: list[bytes]) -> bytes:
    """Return one to four valid requests, one after the other."""
    return b"".join(random.choices(valid, k=random.randint(1, 4)))


def change(random: Random, data: bytes) -> bytes:
    """Return ``data`` with one to three pieces removed, repeated, replaced or inserted."""
    for _ in range(random.choice([1, 1, 1, 2, 2, 3])):
        kind = random.randrange(8)
        if kind < 2:
            data = _change_head(random, data)
            continue
        start = _place(random, data)
        end = min(len(data), start + random.choice([0, 0, 1, 1, 2, 4, 20, 60]))
        if kind == 2:
            piece = b""
        elif kind == 3:
            piece = data[start:end] * 2
        elif kind == 4:
            piece = random.choice(data.split(b"\r\n")) + b"\r\n"
        elif kind == 5:
            piece = random.randbytes(random.randint(1, 3))
        else:
            piece = random.choice(PIECES)
        data = data[:start] + piece + data[end:]
    return data


def _change_head(random: Random, data: bytes) -> bytes:
    """Return ``data`` with another line after one of its lines, or with another version of one request."""
    if random.randrange(4):
        lines = data.split(b"\r\n")
        lines.insert(random.randint(1, len(lines)), random.choice(FIELDS))
        return b"\r\n".join(lines)
    start = data.find(b"HTTP/1.1", random.randint(0, len(data)))
    return data if start < 0 else data[:start] + b"HTTP/1.0" + data[start + len(b"HTTP/1.0") :]


def divide(random: Random, data: bytes) -> list[bytes]:
    """Return ``data`` in pieces of random sizes."""
    largest = random.choice([1, 3, 20, 200, 5000])
    pieces = []
    while data:
        size = random.randint(1, largest)
        pieces.append(data[:size])
        data = data[size:]
    return pieces


def _place(random: Random, data: bytes) -> int:
    """Return a position, two times out of three one where a parser ends a part of a request."""
    place = random.randint(0, len(data))
    if random.randrange(3):
        while place < len(data) and data[place] not in BORDERS:
            place += 1
        place = min(len(data), place + random.choice([0, 0, 1]))
    return place
