"""The result of verifying the signatures of one digest."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class SignatureResult(StrEnum):
    """What the signatures of a digest prove. Stable: reasons of findings and a metric label."""

    SIGNED = "signed"
    UNSIGNED = "unsigned"
    """No signature was found."""
    BAD_SIGNATURE = "bad-signature"
    """Signatures were found, and none of them counts."""
    THRESHOLD = "threshold"
    """Fewer different keys have signed than the configuration asks for."""
    ANNOTATIONS = "annotations"
    """The signatures of configured keys lack annotations that the configuration asks for."""


@dataclass(frozen=True, slots=True)
class SignatureCheck:
    """The result for one digest, at ``checked_at`` (epoch seconds).

    ``signers`` are the names of the keys whose signatures count, and ``formats`` those of their signatures:
    ``simple-signing`` or ``bundle``. ``found`` is the number of signatures that were examined. ``problems``
    say why others do not count, one clause each; they are few and bounded.
    """

    result: SignatureResult
    checked_at: float
    signers: tuple[str, ...] = ()
    formats: tuple[str, ...] = ()
    found: int = 0
    problems: tuple[str, ...] = ()
