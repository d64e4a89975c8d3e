"""Which rules or exemptions can be about an image: by its host and the beginning of its path.

A policy may hold a thousand of each, and a Pod hundreds of images. Comparing all with all took seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, Generic, TypeVar

from webhook.images.patterns import ImagePattern
from webhook.images.reference import ImageReference

T = TypeVar("T")

ANY_HOST: Final = ""
"""Where the patterns of more than one host are kept."""


class PatternIndex(Generic[T]):
    """Items in their order, found by where their patterns begin; immutable."""

    def __init__(self, items: Sequence[T], patterns: Callable[[T], Iterable[ImagePattern]]) -> None:
        """Index ``items`` by their ``patterns``."""
        self._items = tuple(items)
        self._by_host: dict[str, dict[str, list[int]]] = {}
        for index, item in enumerate(self._items):
            for pattern in patterns(item):
                host = ANY_HOST if "*" in pattern.domain else pattern.domain
                # What stands before the first wildcard is the beginning of every path that matches.
                beginning = "/".join(pattern.components).partition("*")[0]
                self._by_host.setdefault(host, {}).setdefault(beginning, []).append(index)
        self._lengths = {
            host: sorted({len(beginning) for beginning in beginnings})
            for host, beginnings in self._by_host.items()
        }

    def candidates(self, reference: ImageReference, selected: Sequence[int]) -> list[T]:
        """Return the items with a pattern that can name this image, in their order, each once.

        ``selected`` holds for each item whether it is of interest, by its place.
        """
        found = {
            index
            for host in (reference.domain, ANY_HOST)
            for indices in self._find(host, reference.path)
            for index in indices
            if selected[index]
        }
        return [self._items[index] for index in sorted(found)]

    def _find(self, host: str, path: str) -> Iterator[list[int]]:
        beginnings = self._by_host.get(host)
        if beginnings is None:
            return
        for length in self._lengths[host]:
            if length > len(path):
                return
            indices = beginnings.get(path[:length])
            if indices is not None:
                yield indices
