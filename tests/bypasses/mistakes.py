"""Mistakes that would open a bypass, each with the test that detects it.

A mistake is an edit of the source: it removes a defense, or adds a shortcut that other admission webhooks
really had. ``make defences`` applies each of them to a copy of the repository and requires that its test
fails there. The suite checks that the edits still fit the source, and that every case of
``docs/threat-model.md`` has one.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Edit:
    """A piece of source that occurs once in ``path``, and its replacement."""

    path: str
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Mistake:
    """A wrong implementation of one of ``cases``, and the test (``path::name``) that then fails."""

    cases: tuple[str, ...]
    mistake: str
    test: str
    edits: tuple[Edit, ...]


def mistake(cases: str, what: str, test: str, *edits: tuple[str, str, str]) -> Mistake:
    """Return a mistake; ``cases`` are separated by spaces, an edit is path, old and new text."""
    return Mistake(tuple(cases.split()), what, test, tuple(Edit(*edit) for edit in edits))
