"""Indexes of rules and exemptions by image and by namespace.

A policy may have thousands of patterns, and a Pod hundreds of images. Comparing each pattern with each image
took seconds. The indexes use the prefix of a pattern before its first wildcard: only texts with this prefix
are compared with the pattern. A pattern of several items is compared once.

A set of items is an integer with one bit for each item; the first item has the lowest bit. A set of a
thousand items has about a hundred bytes. The items for an image in a namespace are the intersection of two
sets.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator
from typing import Final, Generic, TypeVar

from webhook.deadlines import Pause, no_pause
from webhook.globs import WILDCARD, matches_glob
from webhook.images.patterns import ImagePattern
from webhook.images.reference import ImageReference

T = TypeVar("T")
H = TypeVar("H", bound=Hashable)

EVERY: Final = -1
"""The set of all items."""


def positions_in(items: int) -> Iterator[int]:
    """Yield the positions of a set of items in ascending order."""
    while items:
        lowest = items & -items
        yield lowest.bit_length() - 1
        items ^= lowest


def up_to_first(items: int) -> int:
    """Return all items up to and including the first of ``items``; all items if it is empty."""
    first = items & -items
    return (first << 1) - 1 if first else EVERY


def _find_holders(items: Iterable[Iterable[H]]) -> dict[H, int]:
    """Return the values of all items, each with the set of items that contain it."""
    holders: dict[H, int] = {}
    for position, values in enumerate(items):
        for value in values:
            holders[value] = holders.get(value, 0) | 1 << position
    return holders


class _PrefixMap(Generic[T]):
    """Values by the literal prefix of a glob. Finds all that may match a text, and few others."""

    def __init__(self) -> None:
        self._whole: dict[str, list[T]] = {}
        self._by_prefix: dict[str, list[T]] = {}
        self._lengths: list[int] = []

    def add(self, glob: str, value: T) -> None:
        prefix, wildcard, _ = glob.partition(WILDCARD)
        found = self._by_prefix if wildcard else self._whole
        found.setdefault(prefix, []).append(value)
        if wildcard and len(prefix) not in self._lengths:
            self._lengths = sorted((*self._lengths, len(prefix)))

    def find(self, text: str) -> Iterator[T]:
        yield from self._whole.get(text, ())
        for length in self._lengths:
            if length > len(text):
                return
            yield from self._by_prefix.get(text[:length], ())


class PatternIndex:
    """Index of items by their image patterns; immutable."""

    def __init__(self, items: Iterable[Iterable[ImagePattern]]) -> None:
        """Index items, each of which is a list of patterns."""
        self._of_host: _PrefixMap[tuple[ImagePattern, int]] = _PrefixMap()
        self._of_any_host: _PrefixMap[tuple[ImagePattern, int]] = _PrefixMap()
        for pattern, held in _find_holders(items).items():
            path = "/".join(pattern.components)
            if WILDCARD in pattern.domain:
                self._of_any_host.add(path, (pattern, held))
            else:
                self._of_host.add(f"{pattern.domain}/{path}", (pattern, held))

    def candidates(self, reference: ImageReference) -> Iterator[tuple[ImagePattern, int]]:
        """Yield the patterns to compare with an image, each with its items."""
        yield from self._of_host.find(f"{reference.domain}/{reference.path}")
        yield from self._of_any_host.find(reference.path)

    def match(
        self,
        reference: ImageReference,
        among: int = EVERY,
        last: int = EVERY,
        pause: Pause = no_pause,
    ) -> tuple[int, int]:
        """Return the items that may match an image, and those that certainly match it.

        Only the items of ``among`` are used, and none after the first of ``last`` that certainly matches.
        ``pause`` is called before each comparison.
        """
        possible = certain = 0
        for pattern, held in self.candidates(reference):
            items = held & among
            if not items:
                continue
            pause()
            if pattern.may_match(reference):
                possible |= items
                if pattern.matches(reference):
                    certain |= items
                    among &= up_to_first(items & last)
        return possible & among, certain & among


class NamespaceIndex:
    """Index of items by the globs of their namespaces; immutable."""

    def __init__(self, items: Iterable[Iterable[str]]) -> None:
        """Index items, each of which is a list of globs."""
        self._globs: _PrefixMap[tuple[str, int]] = _PrefixMap()
        for glob, held in _find_holders(items).items():
            self._globs.add(glob, (glob, held))

    def match(self, namespace: str, pause: Pause = no_pause) -> int:
        """Return the items that match a namespace; ``pause`` is called before each comparison."""
        found = 0
        for glob, held in self._globs.find(namespace):
            # A glob is skipped if all of its items are already found.
            if held & ~found:
                pause()
                if matches_glob(glob, namespace):
                    found |= held
        return found
