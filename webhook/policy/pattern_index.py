"""Which rules or exemptions can be about an image: by its host and the first component of its path.

A policy may hold hundreds of each, and a Pod hundreds of images. Comparing all with all took seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Generic, TypeVar

from webhook.images.patterns import ImagePattern
from webhook.images.reference import ImageReference

T = TypeVar("T")


class PatternIndex(Generic[T]):
    """Items in their order, found by where their patterns begin; immutable."""

    def __init__(self, items: Sequence[T], patterns: Callable[[T], Iterable[ImagePattern]]) -> None:
        """Index ``items`` by their ``patterns``."""
        self._items = tuple(items)
        self._by_start: dict[tuple[str, str], list[int]] = {}
        self._by_host: dict[str, list[int]] = {}
        self._of_any_host: list[int] = []
        for index, item in enumerate(self._items):
            for pattern in patterns(item):
                self._places_of(pattern).append(index)

    def candidates(self, reference: ImageReference) -> list[T]:
        """Return the items with a pattern that can name this image, in their order, each once."""
        found = set(self._of_any_host)
        found.update(self._by_host.get(reference.domain, ()))
        found.update(self._by_start.get((reference.domain, reference.path.partition("/")[0]), ()))
        return [self._items[index] for index in sorted(found)]

    def _places_of(self, pattern: ImagePattern) -> list[int]:
        if "*" in pattern.domain:
            return self._of_any_host
        first = pattern.components[0]
        if "*" in first:
            return self._by_host.setdefault(pattern.domain, [])
        return self._by_start.setdefault((pattern.domain, first), [])
