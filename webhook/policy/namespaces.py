"""Namespace globs of rules and exemptions."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property


@dataclass(frozen=True)
class NamespacePatterns:
    """A list of globs, compared with the whole name of a namespace; ``*`` is any run of characters."""

    globs: tuple[str, ...] = ("*",)

    @cached_property
    def _regex(self) -> re.Pattern[str]:
        alternatives = (".*".join(re.escape(part) for part in glob.split("*")) for glob in self.globs)
        return re.compile("|".join(f"(?:{alternative})" for alternative in alternatives), re.DOTALL)

    def match(self, namespace: str) -> bool:
        """Whether any of the globs is the whole name."""
        return self.globs == ("*",) or self._regex.fullmatch(namespace) is not None
