"""The result of verifying the signatures of one digest.

Imports no cryptography, so that records can hold it in a process that verifies nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

MAX_PROBLEMS: Final = 5
"""Maximum number of problems that a result names."""


class SignatureResult(StrEnum):
    """The result for one digest. Stable: the reason of a finding, and a metric label."""

    SIGNED = "signed"
    """Enough keys have signed the digest, with the annotations that are required."""

    UNSIGNED = "unsigned"
    """There is no signature. Attestations and SBOMs are not signatures."""

    BAD_SIGNATURE = "bad-signature"
    """There are signatures, and none of them is by a configured key and of this digest."""

    THRESHOLD = "threshold"
    """Fewer keys than required have signed."""

    ANNOTATIONS = "annotations"
    """Configured keys have signed, without the annotations that are required."""


@dataclass(frozen=True, slots=True)
class SignatureCheck:
    """The result for one digest at one time."""

    result: SignatureResult

    checked_at: float
    """When the lookup began, in epoch seconds."""

    signers: tuple[str, ...] = ()
    """The names of the keys whose signatures count, in the order of the configuration."""

    formats: tuple[str, ...] = ()
    """The formats of these signatures: ``simple-signing``, ``bundle``."""

    found: int = 0
    """The number of signatures that were read, valid or not."""

    problems: tuple[str, ...] = ()
    """Which limit ended the search, and why other signatures do not count.

    At most ``MAX_PROBLEMS`` different clauses.
    """

    stored: tuple[str, ...] = ()
    """The formats of all signatures that were read, valid or not."""
