"""What a body may hold before it is decoded: how many elements, and how deeply nested.

A decoder makes an object of each element: 7 MiB of ``{},`` are 2.4 million containers and 750 MB. How deep it
goes depends on the interpreter (998 levels on Python 3.11, 9,999 on 3.13). So both are counted first, on the
bytes, with bounds that are the same everywhere.

Each step over the bytes is one call that runs in C, or a loop that the bounds limit, too, and others have
their turns between two pieces of a body: 7 MiB of anything hold the loop for some milliseconds.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate
from typing import Final

from webhook.deadlines import Pause, no_pause

MAX_DEPTH: Final = 500
"""Levels of arrays and objects. Kubernetes' own have some twenty; Go's decoder allows 10,000."""

MAX_ELEMENTS: Final = 100_000
"""Commas, and beginnings of arrays and objects, outside of strings: what a decoder may make an object of. A
Deployment with its managed fields has some hundreds, an update of one with 4,000 variables some 80,000. What
many strings could stand in and few are read is not decoded (``webhook.admission.request``)."""

PIECE: Final = 1024 * 1024
"""Bytes that are looked through at a time: some milliseconds, whatever they are."""

_MAX_QUOTES: Final = 4 * (MAX_ELEMENTS + 1)
"""Quotation marks around strings: an element is at most a key and a value."""

_REST: Final = bytes(set(range(256)) - set(b'"{}[],'))
_STEPS: Final = bytes.maketrans(b"{[}]", b"\x01\x01\xff\xff")
"""One level more or less, as signed bytes."""


def find_excess(body: bytes, pause: Pause = no_pause) -> str:
    """Return in a clause what a body has too much of, ``""`` where it may be decoded.

    Takes microseconds for an ordinary review, and milliseconds for a large one. Of what is no JSON the
    answer is about the part before the error, which is as far as a decoder goes.
    """
    if not _may_exceed(body, pause):
        return ""
    structure = Structure()
    for piece in split_into_pieces(body, PIECE):
        structure.add(piece)
        if excess := structure.excess:
            return excess
        pause()
    return ""


def _may_exceed(body: bytes, pause: Pause) -> bool:
    """Whether a body has too much of anything if strings count, too: most have not."""
    begun = commas = 0
    for start in range(0, len(body), PIECE):
        end = start + PIECE
        begun += body.count(b"{", start, end) + body.count(b"[", start, end)
        if len(body) > MAX_ELEMENTS:  # else there is no room for so many
            commas += body.count(b",", start, end)
        # No more levels than beginnings.
        if begun > MAX_DEPTH or begun + commas > MAX_ELEMENTS:
            return True
        if end < len(body):
            pause()
    return False


def split_into_pieces(body: bytes, size: int) -> Iterator[bytes]:
    """Yield a body in pieces of ``size`` bytes, or one more where an escape would be cut."""
    start = 0
    while start < len(body):
        piece = body[start : start + size]
        backslashes = len(piece) - len(piece.rstrip(b"\\"))
        if backslashes % 2:
            piece = body[start : start + size + 1]
        yield piece
        start += len(piece)


class Structure:
    """The arrays and objects of a JSON text that comes in pieces, none of which begins within an escape."""

    def __init__(self) -> None:
        """Start before the first piece."""
        self.elements = 0
        self.deepest = 0
        """The most levels that were open at a time."""
        self._level = 0
        self._quotes = 0

    @property
    def excess(self) -> str:
        """What the pieces so far have too much of, in a clause; ``""`` where they may be decoded."""
        if self.elements > MAX_ELEMENTS:
            return f"has more than {MAX_ELEMENTS} elements"
        return "is nested too deeply" if self.deepest > MAX_DEPTH else ""

    def add(self, piece: bytes) -> None:
        """Count what another piece holds, as far as the bounds go."""
        # An escape begins with a backslash, and of a row of them each pair is one escape.
        unescaped = piece.replace(rb"\\", b"").replace(rb"\"", b"")
        within_string = self._quotes % 2
        self._quotes += unescaped.count(b'"')
        if self._quotes > _MAX_QUOTES:  # a list of so many strings would take long itself
            self.elements = max(self.elements, MAX_ELEMENTS + 1)
            return
        outside = b"".join(unescaped.translate(None, _REST).split(b'"')[within_string::2])
        begun = outside.count(b"{") + outside.count(b"[")
        self.elements += begun + outside.count(b",")
        if self.elements > MAX_ELEMENTS:
            return
        # A text with an error may end more than it begins; all before the error is among the first ones.
        brackets = outside.translate(_STEPS, b",")[: self._level + 2 * begun]
        levels = list(accumulate(memoryview(brackets).cast("b"), initial=self._level))
        highest, self._level = max(levels), max(0, levels[-1])
        self.deepest = max(self.deepest, highest)
