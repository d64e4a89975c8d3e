"""The outcome of reading one candidate: an object in the registry that may be a signature."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum, StrEnum, auto
from typing import TypeVar

from webhook.signatures.limits import MAX_SIGNATURES

T = TypeVar("T")


class SignatureFormat(StrEnum):
    """The formats of signatures that are read. Stable: in annotations and reports."""

    SIMPLE_SIGNING = "simple-signing"
    BUNDLE = "bundle"


class Outcome(Enum):
    """The kinds of candidates."""

    VALID = auto()
    """A signature of this digest by a configured key, with the annotations that are required."""

    ANNOTATIONS = auto()
    """The same, without these annotations."""

    OTHER_IMAGE = auto()
    """A signature of another digest by a configured key."""

    BAD = auto()
    """A signature that no configured key has made."""

    MALFORMED = auto()
    """It is announced as a signature and is not in the format of one."""

    NOT_EXAMINED = auto()
    """Not one candidate, but all that remain when a limit is reached."""

    NOT_A_SIGNATURE = auto()
    """Something else: an attestation, an SBOM, the signature of a blob."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """The outcome of one candidate."""

    format: SignatureFormat
    outcome: Outcome

    signers: tuple[str, ...] = ()
    """The names of the keys that made it, if it is ``VALID`` or lacks annotations."""

    problem: str = ""
    """Why it does not count: one clause, which quotes nothing of the registry's data."""


def take_candidates(kind: SignatureFormat, found: Iterable[T | Attempt]) -> list[T | Attempt]:
    """Return the first ``MAX_SIGNATURES`` candidates, and whether there are more.

    Objects that are not signatures cost no request and are not counted.
    """
    taken: list[T | Attempt] = []
    candidates = 0
    for one in found:
        candidates += not (isinstance(one, Attempt) and one.outcome is Outcome.NOT_A_SIGNATURE)
        if candidates > MAX_SIGNATURES:
            return [*taken, report_limit(kind, MAX_SIGNATURES)]
        taken.append(one)
    return taken


def report_limit(kind: SignatureFormat, examined: int) -> Attempt:
    """Return what stands for all candidates beyond the limit."""
    return Attempt(kind, Outcome.NOT_EXAMINED, problem=f"only {examined} signatures are examined")
