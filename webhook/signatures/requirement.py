"""The requirement that the configuration has for the signatures of an image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from webhook.signatures.keys import Message, PublicKey
from webhook.signatures.limits import MAX_SIGNATURES, MAX_VERIFICATION_TIME

MAX_COST: Final = 1.0
"""Milliseconds for which one signature may keep the event loop."""


@dataclass(frozen=True, slots=True)
class Requirement:
    """Which keys count, how many of them must have signed, and which annotations must be signed with it."""

    keys: tuple[tuple[str, PublicKey], ...]
    """Keys by their names. Only keys that count: not those that are lapsed or unreadable."""

    threshold: int = 1
    """The number of different keys that must have signed. Less than one is never reached."""

    annotations: tuple[tuple[str, str], ...] = ()
    """Names and values, each of which the signed payload must contain."""

    _distinct: tuple[tuple[str, PublicKey], ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Keep the first name of each key: one key under two names is one signer."""
        names: dict[bytes, tuple[str, PublicKey]] = {}
        for name, key in self.keys:
            names.setdefault(key.der, (name, key))
        object.__setattr__(self, "_distinct", tuple(names.values()))

    @property
    def is_slow(self) -> bool:
        """Whether one signature may take over a millisecond, so that it must not run in the event loop.

        A signature by a stranger is verified with all keys.
        """
        return self._cost > MAX_COST

    @property
    def max_signatures(self) -> int:
        """The number of signatures of one digest that may be examined."""
        fitting = int(MAX_VERIFICATION_TIME / self._cost) if self._cost else MAX_SIGNATURES
        return max(1, min(MAX_SIGNATURES, fitting))

    @property
    def _cost(self) -> float:
        return sum(key.cost for _, key in self._distinct)

    def find_signers(self, signature: bytes, message: bytes) -> tuple[str, ...]:
        """Return the names of all keys that made this signature of exactly these bytes."""
        signed = Message(message)
        return tuple(name for name, key in self._distinct if key.verifies(signature, signed))

    def accepts_annotations(self, signed: Mapping[str, Any]) -> bool:
        """Return whether these annotations contain all that are required. Values are compared as strings."""
        return all(signed.get(name) == value for name, value in self.annotations)
