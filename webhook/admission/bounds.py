"""What a body may hold before it is decoded: how many elements, and how deeply nested.

A decoder makes an object of each element: 7 MiB of ``{},`` are 2.4 million containers and 750 MB. How deep it
goes depends on the interpreter (998 levels on Python 3.11, 9,999 on 3.13). So both are counted first, on the
bytes, with bounds that are the same everywhere.
"""

from __future__ import annotations

import re
from itertools import accumulate
from typing import Final

MAX_DEPTH: Final = 500
"""Levels of arrays and objects. Kubernetes' own have some twenty; Go's decoder allows 10,000."""

MAX_ELEMENTS: Final = 200_000
"""Commas, and beginnings of arrays and objects. A Deployment with its managed fields has some hundreds; the
annotations of an object and of its predecessor (256 KiB each) may hold a hundred thousand in their text."""

UNCOUNTED: Final = 64 * 1024
"""Bytes of a body that is too small to hold more elements than matter."""

_STRUCTURE: Final = b'"{}[]'
_REST: Final = bytes(set(range(256)) - set(_STRUCTURE))
_STRINGS: Final = re.compile(rb'"[^"]*"')
_STEPS: Final = {ord("{"): 1, ord("["): 1, ord("}"): -1, ord("]"): -1}


def find_excess(body: bytes) -> str:
    """Return in a clause what a body has too much of, ``""`` where it may be decoded.

    Takes microseconds for an ordinary review, and milliseconds for a large one. Of what is no JSON the
    answer means nothing: the decoder refuses it.
    """
    begun = body.count(b"{") + body.count(b"[")
    elements = begun + body.count(b",") if len(body) > UNCOUNTED else begun
    if elements > MAX_ELEMENTS:
        return f"has more than {MAX_ELEMENTS} elements"
    # No more levels than beginnings: most bodies end here.
    if begun > MAX_DEPTH and depth_of(body) > MAX_DEPTH:
        return "is nested too deeply"
    return ""


def depth_of(body: bytes) -> int:
    """Return how deeply the arrays and objects of a JSON text are nested."""
    # An escape begins with a backslash, and of a row of them each pair is one escape.
    unescaped = body.replace(rb"\\", b"").replace(rb"\"", b"")
    structure = _STRINGS.sub(b"", unescaped.translate(None, _REST))
    return max(accumulate(_STEPS.get(byte, 0) for byte in structure), default=0)
