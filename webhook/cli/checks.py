"""What ``swr-trust doctor`` looks at, one by one."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class CheckStatus(StrEnum):
    """How something fares."""

    OK = "ok"
    WARNING = "warning"
    """It works, and is not as it should be."""
    FAILED = "failed"
    UNKNOWN = "unknown"
    """It could not be looked at."""
    SKIPPED = "skipped"
    """It was not looked at, because it does not apply or something before it failed."""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at.

    ``found`` is a clause, ``advice`` a whole sentence that says what to do, empty where nothing
    is to be done.
    """

    area: str
    name: str
    health: CheckStatus
    found: str
    advice: str = ""
