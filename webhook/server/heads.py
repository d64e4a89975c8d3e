"""Heads of HTTP/1.1 requests, read strictly.

llhttp (through httptools) parses the head. It rejects bare line feeds, folded lines, odd white space, and
lengths that conflict. It tolerates white space in the request line, repeated fields, and unknown transfer
codings and versions; these are checked here. A proxy in front could read such a request differently: a part
of the body would be another request for it (request smuggling; RFC 9112, section 11.2).

Sizes are limited because 2,000 connections may each hold a head, and the budget of bodies does not count
them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

import httptools

from webhook.errors import BadRequestError

MAX_LINE: Final = 2048
"""Bytes of the request line. kube-apiserver sends less than 50."""

MAX_HEAD: Final = 8 * 1024
"""Bytes of all header fields, and separately of all trailer fields. kube-apiserver sends about 500, and
Prometheus a token of 1 to 2 KB."""

MAX_FIELD: Final = 4 * 1024
"""Bytes of one header field."""

MAX_FIELDS: Final = 32

LINE_END: Final = b"\r\n"
END: Final = b"\r\n\r\n"
"""The end of a head."""

TOKEN: Final = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
"""A method or the name of a field (RFC 9110, section 5.6.2), as a regular expression."""
_REQUEST_LINE: Final = re.compile(rb"(" + TOKEN + rb") ([!\"$-~]+) HTTP/1\.([01])\r\n")
"""Method, target and minor version. A target has no white space and no fragment."""
_HOST: Final = re.compile(rb"[0-9A-Za-z!$%&'()*+,.:;=\[\]_~-]*")
"""The characters of a host and port (RFC 3986, section 3.2)."""
_LOWER_CASE: Final = re.compile(rb"[a-z]")
_ABSOLUTE: Final = re.compile(r"https?://[^/?]*", re.IGNORECASE)
_MAX_DIGITS: Final = 18


@dataclass(slots=True)
class Head:
    """The parts of a head that are used. All others are checked and dropped.

    A review may wait for seconds, and a token should not stay in memory.
    """

    method: str
    target: str
    content_type: str
    host: str
    length: int
    """Bytes of the body, 0 if it is chunked."""
    is_chunked: bool
    is_last: bool
    """Whether the client wants the connection to end after the response."""
    expects_continue: bool

    def split_target(self) -> tuple[str, str]:
        """Return the path, still percent-encoded, and the query, which is ``""`` if there is none."""
        target = self.target
        if target[0] != "/" and (absolute := _ABSOLUTE.match(target)) is not None:
            target = target[absolute.end() :]
        path, _, query = target.partition("?")
        return path, query


class _Fields:
    """Receives the header fields from the parser."""

    __slots__ = ("found", "is_complete")

    def __init__(self) -> None:
        self.found: list[tuple[bytes, bytes]] = []
        self.is_complete = False

    def on_header(self, name: bytes, value: bytes) -> None:
        self.found.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        self.is_complete = True


def parse_head(data: bytes) -> Head:
    """Return the head that ``data`` contains, from its first byte to its empty line.

    Raises:
        BadRequestError: it is not a head of HTTP/1.0 or HTTP/1.1, or exceeds a limit.
    """
    line = _REQUEST_LINE.match(data)
    if line is None:
        check_incomplete_head(data)
        raise BadRequestError(400, "the request line is not one of HTTP/1.1")
    if line.end() - len(LINE_END) > MAX_LINE:
        raise BadRequestError(414, f"a request line has at most {MAX_LINE} bytes")
    if len(data) - line.end() > MAX_HEAD:
        raise BadRequestError(431, f"the header fields have at most {MAX_HEAD} bytes")
    return _read_fields(line, _parse_fields(data))


def check_incomplete_head(data: bytes, checked: int = 0) -> None:
    """Check the beginning of a head, so that a malformed one is not waited for.

    The first ``checked`` bytes were checked before.

    Raises:
        BadRequestError: ``data`` is not the beginning of a head, regardless of the rest.
    """
    is_divided = data[checked - 1 : checked] == b"\r"  # a line end, between two pieces
    new = data[checked - is_divided :]
    if new.count(b"\n") != new.count(LINE_END):
        raise BadRequestError(400, "a line ends without a carriage return")
    length = data.find(LINE_END)
    if (length if length >= 0 else len(data) - 1) > MAX_LINE:
        raise BadRequestError(414, f"a request line has at most {MAX_LINE} bytes")
    if length >= 0 and len(data) - length > MAX_HEAD + len(END):
        raise BadRequestError(431, f"the header fields have at most {MAX_HEAD} bytes")


def _parse_fields(data: bytes) -> list[tuple[bytes, bytes]]:
    fields = _Fields()
    try:
        httptools.HttpRequestParser(fields).feed_data(data)
    except httptools.HttpParserUpgrade:
        pass  # no other protocol is offered, so the request is an ordinary one
    except httptools.HttpParserInvalidMethodError:
        if _LOWER_CASE.match(data):
            raise BadRequestError(400, "the method is not in capital letters") from None
        raise BadRequestError(405, "the method is not known") from None
    except httptools.HttpParserError:
        raise BadRequestError(400, "the header fields are not those of HTTP/1.1") from None
    if not fields.is_complete:
        raise BadRequestError(400, "the header fields are not those of HTTP/1.1")
    return fields.found


def _read_fields(line: re.Match[bytes], fields: list[tuple[bytes, bytes]]) -> Head:
    if len(fields) > MAX_FIELDS:
        raise BadRequestError(431, f"a request has at most {MAX_FIELDS} header fields")
    used: dict[bytes, bytes] = {}
    options = b""
    for name, value in fields:
        if len(name) + len(value) > MAX_FIELD:
            raise BadRequestError(431, f"a header field has at most {MAX_FIELD} bytes")
        if name == b"connection":
            options += b"," + value.lower()
        elif name in _SINGLE:
            if name in used:
                raise BadRequestError(400, f"{name.decode()} is repeated")
            used[name] = value.strip()
    is_old = line[3] == b"0"
    if not is_old and b"host" not in used:
        raise BadRequestError(400, "a request of HTTP/1.1 has a Host")
    if not _HOST.fullmatch(used.get(b"host", b"")):
        raise BadRequestError(400, "Host is not a host")
    tokens = [token.strip() for token in options.split(b",")] if options else ()
    expectation = used.get(b"expect", b"").lower()
    if expectation not in _EXPECTATIONS:
        raise BadRequestError(417, "the only expectation is 100-continue")
    return Head(
        method=line[1].decode("ascii"),
        target=line[2].decode("ascii"),
        content_type=used.get(b"content-type", b"").decode("latin-1"),
        host=used.get(b"host", b"").decode("latin-1"),
        length=_content_length(used) if b"content-length" in used else 0,
        is_chunked=b"transfer-encoding" in used and _is_chunked(used, is_old=is_old),
        is_last=b"close" in tokens or (is_old and b"keep-alive" not in tokens),
        expects_continue=bool(expectation) and not is_old,
    )


_SINGLE: Final = frozenset({b"content-length", b"content-type", b"expect", b"host", b"transfer-encoding"})
"""Fields that are used and may occur once. kube-apiserver repeats none of them."""

_EXPECTATIONS: Final = frozenset({b"", b"100-continue"})


def _content_length(used: dict[bytes, bytes]) -> int:
    value = used[b"content-length"]
    if not value.isdigit() or len(value) > _MAX_DIGITS or b"transfer-encoding" in used:
        raise BadRequestError(400, "the length of the body is not one number")
    return int(value)


def _is_chunked(used: dict[bytes, bytes], *, is_old: bool) -> bool:
    if is_old:
        raise BadRequestError(400, "HTTP/1.0 has no transfer codings")
    codings = used[b"transfer-encoding"]
    if codings.lower() != b"chunked":
        raise BadRequestError(501, "the only transfer coding is chunked")
    return True
