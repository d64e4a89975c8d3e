"""Globs with one wildcard: ``*`` is any run of characters, the empty one included.

Regular expressions backtrack: ``a*a*a*b`` against a run of ``a`` takes them polynomial time. Here
each literal part is searched for once, from left to right. The time is therefore linear in the text for
each part, for any text of a policy or a Pod's author.
"""

from __future__ import annotations

from typing import Final

WILDCARD: Final = "*"


def matches_glob(glob: str, text: str) -> bool:
    """Return whether ``glob`` matches the whole of ``text``.

    ``text`` may itself be a glob. If it matches, all texts that it matches do, too, because only a ``*`` of
    ``glob`` can match a ``*`` of ``text``.
    """
    first, *rest = glob.split(WILDCARD)
    if not rest:
        return text == first
    last = rest.pop()
    if len(text) < len(first) + len(last) or not text.startswith(first) or not text.endswith(last):
        return False
    position, end = len(first), len(text) - len(last)
    for part in rest:
        # The leftmost place leaves the most for the parts that follow.
        found = text.find(part, position, end)
        if found < 0:
            return False
        position = found + len(part)
    return True
