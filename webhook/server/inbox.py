"""The data of a connection that has arrived: heads, lines and bytes, in their order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from webhook.errors import BadRequestError
from webhook.server.heads import END, LINE_END, check_incomplete_head
from webhook.server.request_bodies import PIECE

_NO_REQUEST: Final = (b"", b"\r", LINE_END)


class Inbox:
    """Reads a connection piece by piece. Data after a request stays here until the request is answered."""

    def __init__(self, recv: Callable[[int], bytes]) -> None:
        """Read with ``recv``, which returns up to so many bytes, and ``b""`` after the end of the data."""
        self._recv = recv
        self._data = b""

    def read_head(self) -> bytes:
        """Return the next head, up to its empty line; ``b""`` if the client ended the connection before one.

        Raises:
            BadRequestError: a line before the empty one is malformed, or the head is too long.
        """
        data = self._data or self._recv(PIECE)
        if data[:1] == b"\r":  # one empty line may follow the previous body (RFC 9112, section 2.2)
            while data == b"\r":
                data = self._join(data)
            data = data.removeprefix(LINE_END)
        checked = 0  # a client may send one byte in each TLS record, and each is looked at once
        while (end := data.find(END, max(0, checked - len(END)))) < 0:
            check_incomplete_head(data, checked)
            checked = len(data)
            more = self._recv(PIECE)
            if not more:
                self._data = b""
                return b""
            data += more
        end += len(END)
        self._data = data[end:]
        return data[:end]

    def has_begun(self) -> bool:
        """Return whether data of the next request is here; an empty line before it is none."""
        return self._data not in _NO_REQUEST

    def read(self, size: int) -> bytes:
        """Return 1 to ``size`` bytes.

        Raises:
            ConnectionResetError: there are no more.
        """
        data = self._data
        if not data:
            data = self._recv(size)
            if not data:
                raise ConnectionResetError
        self._data = data[size:]
        return data[:size]

    def read_line(self, limit: int) -> bytes:
        """Return the next line of at most ``limit`` bytes, without its end.

        Raises:
            BadRequestError: the line is longer, or ends without a carriage return.
            ConnectionResetError: the data ends before the line.
        """
        data = self._data
        while (end := data.find(LINE_END)) < 0 and len(data) < limit + len(LINE_END):
            data = self._join(data)
        if not 0 <= end <= limit or b"\n" in data[:end]:
            raise BadRequestError(400, "a line of a chunked body is malformed or too long")
        self._data = data[end + len(LINE_END) :]
        return data[:end]

    def _join(self, data: bytes) -> bytes:
        more = self._recv(PIECE)
        if not more:
            raise ConnectionResetError
        return data + more
