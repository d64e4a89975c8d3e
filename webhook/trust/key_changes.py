"""Which cached trust stays when the signing keys of a registry change.

``Registry.key`` changes with the keys that count, and so do the keys of all caches. Trust that the new
settings would prove as well is carried over: that of records whose own signers still count and are enough. It
keeps its age. No other trust is carried over.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from webhook.registries import Evidence, Registry, SignatureSettings
from webhook.signatures.check import SignatureCheck, SignatureResult
from webhook.trust.records import TrustRecord, TrustStatus


@dataclass(frozen=True, slots=True)
class KeyChange:
    """The change of the signing keys of one registry."""

    key: str
    """``Registry.key`` after the change."""

    needs_mark: bool
    """Whether the tag detail must also trust the image."""

    threshold: int
    """The number of different keys that must have signed after the change."""

    names: Mapping[str, str]
    """The keys that count before and after the change: names after it by names before it."""

    order: tuple[str, ...]
    """The names after the change, in the order of the configuration."""

    def carry_record(self, record: TrustRecord) -> TrustRecord | None:
        """Return the trusted record as it is after the change, ``None`` if it is no longer proved."""
        if record.status is not TrustStatus.TRUSTED or record.signature is None:
            return None
        if self.needs_mark and record.is_marked is not True:
            return None
        check = self.carry_check(record.signature)
        return replace(record, signature=check) if check is not None else None

    def carry_check(self, check: SignatureCheck) -> SignatureCheck | None:
        """Return the check as it is after the change, ``None`` if its signers are no longer enough."""
        if check.result is not SignatureResult.SIGNED:
            return None
        signers = {self.names[name] for name in check.signers if name in self.names}
        if not 1 <= self.threshold <= len(signers):
            return None
        return replace(check, signers=tuple(name for name in self.order if name in signers))


KeyChanges = Mapping[str, KeyChange]
"""Changes by ``Registry.key`` before them."""


def find_key_changes(before: Iterable[Registry], after: Iterable[Registry]) -> KeyChanges:
    """Return the changes of signing keys between two lists of registries.

    Both registries must be the same except for their signing keys and their threshold.
    """
    successors: dict[str, Registry] = {}
    for registry in after:
        if registry.needs_signature:
            successors.setdefault(registry.identity, registry)
    changes: dict[str, KeyChange] = {}
    for registry in before:
        successor = successors.get(registry.identity)
        if successor is None or successor.key == registry.key:
            continue
        old, new = registry.signatures, successor.signatures
        if old is None or new is None or sorted(old.annotations) != sorted(new.annotations):
            continue
        changes[registry.key] = KeyChange(
            successor.key,
            successor.evidence is Evidence.BOTH,
            new.threshold,
            _find_names(old, new),
            tuple(key.name for key in new.counting),
        )
    return changes


def _find_names(old: SignatureSettings, new: SignatureSettings) -> dict[str, str]:
    """Return the new names of the keys by their old names; keys are compared by their contents.

    A name of several keys is ambiguous and left out. One key under two names is one signer.
    """
    names: dict[bytes, str] = {}
    for key in new.counting:
        names.setdefault(key.content, key.name)
    contents: dict[str, set[bytes]] = {}
    for key in old.counting:
        contents.setdefault(key.name, set()).add(key.content)
    found = {name: names.get(min(keys)) for name, keys in contents.items() if len(keys) == 1}
    return {name: new_name for name, new_name in found.items() if new_name is not None}
