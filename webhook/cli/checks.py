"""The result of one check of ``swr-trust doctor``."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

SECONDS: Final = 10.0
"""Seconds until the deadline of each check of a registry."""

CLUSTER: Final = "cluster"
"""The area of all checks of the cluster."""


class CheckStatus(StrEnum):
    """The status of a check."""

    OK = "ok"
    WARNING = "warning"
    """It works, but should be corrected."""
    FAILED = "failed"
    UNKNOWN = "unknown"
    """The check could not run."""
    SKIPPED = "skipped"
    """The check does not apply, or an earlier one failed."""


@dataclass(frozen=True, slots=True)
class Check:
    """The result of one check.

    ``found`` is a clause. ``advice`` is a sentence that says what to do, empty if there is nothing to do.
    """

    area: str
    name: str
    status: CheckStatus
    found: str
    advice: str = ""
