"""The requests that one side read of a connection."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Seen:
    """One request that was accepted."""

    method: str
    target: str
    host: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Reading:
    """All requests that were accepted, in their order, and why no other one followed them."""

    requests: tuple[Seen, ...]
    refusal: str
    """The reason to refuse the rest, ``""`` if it was not refused."""
