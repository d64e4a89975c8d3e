"""Namespace globs of rules and exemptions."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from webhook.globs import WILDCARD, matches_glob


@dataclass(frozen=True)
class NamespacePatterns:
    """A list of globs that match whole names of namespaces; ``*`` matches any characters.

    An empty list matches nothing. The default, without a list, matches every namespace.
    """

    globs: tuple[str, ...] = (WILDCARD,)

    @cached_property
    def _names(self) -> frozenset[str]:
        return frozenset(glob for glob in self.globs if WILDCARD not in glob)

    @cached_property
    def _wild(self) -> tuple[str, ...]:
        return tuple(glob for glob in self.globs if WILDCARD in glob)

    def match(self, namespace: str) -> bool:
        """Return whether one of the globs matches the name."""
        return namespace in self._names or any(matches_glob(glob, namespace) for glob in self._wild)

    def covers(self, other: NamespacePatterns) -> bool:
        """Return whether these globs certainly match every namespace that ``other`` matches."""
        return all(any(matches_glob(mine, theirs) for mine in self.globs) for theirs in other.globs)
