"""Limits of a body before it is decoded: the number of its elements and the depth of their nesting.

A decoder creates an object for each element: 7 MiB of ``{},`` become 2.4 million containers and 750 MB. Its
maximum depth depends on the interpreter (998 levels on Python 3.11, 9,999 on 3.13). Therefore both are
counted first, on the bytes, with limits that are the same everywhere.

Each step over the bytes is one call that runs in C, or a loop that is limited, too. The caller can pause
between two pieces of a body: any 7 MiB block the event loop for some milliseconds at most.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate
from typing import Final

from webhook.deadlines import Pause, no_pause

MAX_DEPTH: Final = 500
"""Levels of arrays and objects. Objects of Kubernetes have about twenty; Go's decoder allows 10,000."""

MAX_ELEMENTS: Final = 100_000
"""Commas, and beginnings of arrays and objects, outside of strings: an upper bound of the decoder's objects.
A Deployment with its managed fields has some hundreds, an update of one with 4,000 variables some 80,000.
Fields that may hold many strings of which few are needed stay undecoded (``webhook.admission.request``)."""

PIECE: Final = 1024 * 1024
"""Bytes that are scanned at a time, in some milliseconds."""

_MAX_QUOTES: Final = 4 * (MAX_ELEMENTS + 1)
"""Quotation marks around strings: an element is at most a key and a value."""

_REST: Final = bytes(set(range(256)) - set(b'"{}[],'))
_STEPS: Final = bytes.maketrans(b"{[}]", b"\x01\x01\xff\xff")
"""The change of the level by each bracket, as signed bytes."""


def find_excess(body: bytes, pause: Pause = no_pause) -> str:
    """Return a clause that names the exceeded limit of a body, or ``""`` if it may be decoded.

    Takes microseconds for an ordinary review and milliseconds for a large one. For a body that is not JSON,
    the result covers the part before the error; a decoder stops there, too.
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
    """Return whether a body exceeds a limit if the contents of strings count, too. Few bodies do."""
    begun = commas = 0
    for start in range(0, len(body), PIECE):
        end = start + PIECE
        begun += body.count(b"{", start, end) + body.count(b"[", start, end)
        if len(body) > MAX_ELEMENTS:  # a shorter body cannot have so many
            commas += body.count(b",", start, end)
        # No more levels than beginnings.
        if begun > MAX_DEPTH or begun + commas > MAX_ELEMENTS:
            return True
        if end < len(body):
            pause()
    return False


def split_into_pieces(body: bytes, size: int) -> Iterator[bytes]:
    """Yield a body in pieces of ``size`` bytes, or of one more if the piece would end within an escape."""
    start = 0
    while start < len(body):
        piece = body[start : start + size]
        backslashes = len(piece) - len(piece.rstrip(b"\\"))
        if backslashes % 2:
            piece = body[start : start + size + 1]
        yield piece
        start += len(piece)


class Structure:
    """Counts arrays and objects of a JSON text in pieces, none of which may begin within an escape."""

    def __init__(self) -> None:
        """Start before the first piece."""
        self.elements = 0
        self.deepest = 0
        """The maximum number of open levels."""
        self._level = 0
        self._quotes = 0

    @property
    def excess(self) -> str:
        """A clause that names the limit that the pieces exceed, or ``""``."""
        if self.elements > MAX_ELEMENTS:
            return f"has more than {MAX_ELEMENTS} elements"
        return "is nested too deeply" if self.deepest > MAX_DEPTH else ""

    def add(self, piece: bytes) -> None:
        """Count the elements and levels of the next piece, up to the limits."""
        # An escape begins with a backslash; in a row of backslashes, each pair is one escape.
        unescaped = piece.replace(rb"\\", b"").replace(rb"\"", b"")
        within_string = self._quotes % 2
        self._quotes += unescaped.count(b'"')
        if self._quotes > _MAX_QUOTES:  # splitting at so many quotes would take long
            self.elements = max(self.elements, MAX_ELEMENTS + 1)
            return
        outside = b"".join(unescaped.translate(None, _REST).split(b'"')[within_string::2])
        begun = outside.count(b"{") + outside.count(b"[")
        self.elements += begun + outside.count(b",")
        if self.elements > MAX_ELEMENTS:
            return
        # Invalid JSON may close more levels than it opens; everything before the error is within this slice.
        brackets = outside.translate(_STEPS, b",")[: self._level + 2 * begun]
        levels = list(accumulate(memoryview(brackets).cast("b"), initial=self._level))
        highest, self._level = max(levels), max(0, levels[-1])
        self.deepest = max(self.deepest, highest)
