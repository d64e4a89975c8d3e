"""Bodies of HTTP/1.1 requests: with a length, or in chunks (RFC 9112, sections 6 and 7), read strictly."""

from __future__ import annotations

import re
from typing import Final, Protocol

from webhook.errors import BadRequestError
from webhook.server.heads import MAX_HEAD, TOKEN, Head

PIECE: Final = 4096
"""Bytes that are read at a time. Smaller pieces are joined: an object takes 40 bytes of memory, which no
budget counts, and a client may send one byte in each chunk or record."""

MAX_CHUNK_LINE: Final = 256
"""Bytes of the line before a chunk. It has the size, and may have extensions, which nobody uses."""

_CHUNK_LINE: Final = re.compile(rb"([0-9A-Fa-f]{1,8})(?:;[\t -~\x80-\xff]*)?")
_FIELD: Final = re.compile(TOKEN + rb":[\t -~\x80-\xff]*")
"""A trailer field."""


class Source(Protocol):
    """The data of a connection, from the end of the head; ``conversation.Inbox`` is one."""

    def read(self, size: int) -> bytes:
        """Return 1 to ``size`` bytes.

        Raises:
            ConnectionResetError: there are no more.
        """
        ...  # pragma: no cover

    def read_line(self, limit: int) -> bytes:
        """Return the next line of at most ``limit`` bytes, without its end.

        Raises:
            BadRequestError: the line is longer, or ends without a carriage return.
            ConnectionResetError: the data ends before the line.
        """
        ...  # pragma: no cover


class RequestBody:
    """The body of one request."""

    def __init__(self, source: Source, head: Head) -> None:
        """Read the body that ``head`` announces from ``source``."""
        self._source = source
        self._is_chunked = head.is_chunked
        self._left = head.length
        """Bytes left of the body, or of the current chunk."""
        self._is_complete = not head.is_chunked and not head.length
        self._has_begun = False

    def read(self, size: int, at_least: int = PIECE) -> bytes:
        """Return up to ``size`` bytes, at least ``at_least`` unless the body ends; ``b""`` at its end.

        Raises:
            BadRequestError: the chunks are malformed.
            ConnectionResetError: the client has gone.
        """
        wanted = min(size, at_least)
        data = self._read_some(size)
        if len(data) >= wanted or self.has_ended():
            return data
        joined = bytearray(data)
        while len(joined) < wanted and not self.has_ended():
            joined += self._read_some(size - len(joined))
        return bytes(joined)

    def has_ended(self) -> bool:
        """Return whether all of the body was read."""
        return self._is_complete

    def _read_some(self, size: int) -> bytes:
        if self._is_complete or (self._is_chunked and not self._left and not self._start_chunk()):
            return b""
        data = self._source.read(min(size, self._left))
        self._left -= len(data)
        if not self._left and not self._is_chunked:
            self._is_complete = True
        return data

    def _start_chunk(self) -> bool:
        """Read what is before the next chunk; return whether there is one."""
        if self._has_begun:
            self._source.read_line(0)  # a chunk ends where its size says
        self._has_begun = True
        line = _CHUNK_LINE.fullmatch(self._source.read_line(MAX_CHUNK_LINE))
        if line is None:
            raise BadRequestError(400, "a chunk does not begin with its size")
        self._left = int(line[1], 16)
        if not self._left:
            self._skip_trailers()
            self._is_complete = True
        return not self._is_complete

    def _skip_trailers(self) -> None:
        size = 0
        while line := self._source.read_line(MAX_HEAD):
            size += len(line)
            if size > MAX_HEAD:
                raise BadRequestError(431, f"the trailer fields have at most {MAX_HEAD} bytes")
            if _FIELD.fullmatch(line) is None:
                raise BadRequestError(400, "a trailer is not a header field")
