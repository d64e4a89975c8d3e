"""Indexes of rules and exemptions by image and by namespace, using the literal beginnings of patterns.

A policy may hold thousands of patterns, and a Pod hundreds of images. Comparing all with all took seconds.
A pattern is only compared with what begins as it does up to its first wildcard, and patterns that several
items share are compared once.

Sets of items are bits of an integer, the first item the lowest: a thousand of them take some hundred bytes,
and what is about an image in a namespace is where two of them overlap.
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
"""All items, however many there are."""


def positions_in(items: int) -> Iterator[int]:
    """Yield the positions of a set of items, the first one first."""
    while items:
        lowest = items & -items
        yield lowest.bit_length() - 1
        items ^= lowest


def up_to_first(items: int) -> int:
    """Return all items down to the first of these, it included; every item if there is none."""
    first = items & -items
    return (first << 1) - 1 if first else EVERY


def _find_holders(items: Iterable[Iterable[H]]) -> dict[H, int]:
    """Return what the items hold, each value with the set of items that hold it."""
    holders: dict[H, int] = {}
    for position, values in enumerate(items):
        for value in values:
            holders[value] = holders.get(value, 0) | 1 << position
    return holders


class _Beginnings(Generic[T]):
    """Values by the literal beginning of a glob: returns all that may match a text, and few others."""

    def __init__(self) -> None:
        self._whole: dict[str, list[T]] = {}
        self._by_beginning: dict[str, list[T]] = {}
        self._lengths: list[int] = []

    def add(self, glob: str, value: T) -> None:
        beginning, wildcard, _ = glob.partition(WILDCARD)
        found = self._by_beginning if wildcard else self._whole
        found.setdefault(beginning, []).append(value)
        if wildcard and len(beginning) not in self._lengths:
            self._lengths = sorted((*self._lengths, len(beginning)))

    def find(self, text: str) -> Iterator[T]:
        yield from self._whole.get(text, ())
        for length in self._lengths:
            if length > len(text):
                return
            yield from self._by_beginning.get(text[:length], ())


class PatternIndex:
    """Index of items by their image patterns; immutable."""

    def __init__(self, items: Iterable[Iterable[ImagePattern]]) -> None:
        """Index items by the patterns of each."""
        self._of_host: _Beginnings[tuple[ImagePattern, int]] = _Beginnings()
        self._of_any_host: _Beginnings[tuple[ImagePattern, int]] = _Beginnings()
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
        """Return the items that may match an image and those that certainly do.

        Only those ``among`` count, and none behind the first of ``last`` that certainly is about it.
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
        """Index items by the globs of each."""
        self._globs: _Beginnings[tuple[str, int]] = _Beginnings()
        for glob, held in _find_holders(items).items():
            self._globs.add(glob, (glob, held))

    def match(self, namespace: str, pause: Pause = no_pause) -> int:
        """Return the items that match a namespace; ``pause`` is called before each comparison."""
        found = 0
        for glob, held in self._globs.find(namespace):
            # What is found already needs no second reason.
            if held & ~found:
                pause()
                if matches_glob(glob, namespace):
                    found |= held
        return found
