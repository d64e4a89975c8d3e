"""Lines of a log, taken out of what collectors wrap around them; in memory that is bounded.

Three shapes are unwrapped, mixed as they may be: the prefix of a container runtime (CRI: ``TIME stdout F
text``, with ``P`` for a part of a line), Docker's objects with the line under ``log``, which cut long lines
into parts without a line end, and objects of collectors that hold the line under another name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, Protocol

import msgspec

MAX_LINE: Final = 1_000_000
"""Bytes of a line; a decision takes some thousands. Longer lines are passed over and counted."""

MAX_WRAPPERS: Final = 3
"""Objects within each other: a collector wraps what another one has wrapped."""

CHUNK: Final = 64 * 1024

_CRI: Final = re.compile(rb"\S+ (?:stdout|stderr) ([PF])\S* ")
_HELD_UNDER: Final = ("log", "message", "msg", "content", "MESSAGE", "@message", "textPayload")

TOO_LONG: Final = None
"""Stands for a line that was passed over."""


class Stream(Protocol):
    """Bytes that can be read in pieces."""

    def read(self, size: int, /) -> bytes:
        """Return at most ``size`` bytes, none at the end."""
        ...  # pragma: no cover


def split_lines(stream: Stream) -> Iterator[bytes | None]:
    """Yield the lines of a stream, ``TOO_LONG`` for each that has more than ``MAX_LINE`` bytes."""
    rest = b""
    skipping = False
    while chunk := stream.read(CHUNK):
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            if skipping or len(line) > MAX_LINE:
                yield TOO_LONG
            else:
                yield line
            skipping = False
        if len(rest) > MAX_LINE:
            skipping, rest = True, b""
    if rest or skipping:
        yield TOO_LONG if skipping else rest


class Unwrapper:
    """Takes the webhook's own records out of lines; parts of a line are put together again."""

    def __init__(self) -> None:
        """Start with no part of a line."""
        self._parts = b""
        self._text = ""

    def unwrap(self, line: bytes) -> Mapping[str, Any] | bool:
        """Return the record of a line, ``False`` where it holds none, ``True`` where it cannot be read.

        A part of a line is ``False``: the record comes with its last part.
        """
        cri = _CRI.match(line)
        if cri is not None:
            whole = self._parts + line[cri.end() :]
            if len(whole) > MAX_LINE:
                self._parts = b""
                return True
            if cri[1] == b"P":
                self._parts = whole
                return False
            self._parts, line = b"", whole
        start = line.find(b"{")
        return self._read(line[start:]) if start >= 0 else False

    @property
    def is_in_the_middle(self) -> bool:
        """Whether the last part of a line is missing."""
        return bool(self._parts or self._text)

    def _read(self, text: bytes) -> Mapping[str, Any] | bool:
        for _ in range(MAX_WRAPPERS + 1):
            try:
                value = msgspec.json.decode(text)
            except (msgspec.DecodeError, UnicodeError, RecursionError):
                return True
            if not isinstance(value, dict):
                return True
            held = _held_by(value)
            if held is None:
                return value
            if "log" in value and "stream" in value and not held.endswith("\n"):
                self._text += held
                if len(self._text) > MAX_LINE:
                    self._text = ""
                    return True
                return False
            held, self._text = self._text + held, ""
            start = held.find("{")
            if start < 0:
                return False
            text = held[start:].encode()
        return True


def _held_by(value: Mapping[str, Any]) -> str | None:
    """Return the line that an object of a collector holds, ``None`` for a record of the webhook's own."""
    if "logger" in value:
        return None
    return next((held for key in _HELD_UNDER if isinstance(held := value.get(key), str)), None)
