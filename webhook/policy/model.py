"""The policy: a configuration file, checked and compiled. Immutable; one request sees one policy."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from webhook.images.patterns import ImagePattern
from webhook.images.reference import ImageReference
from webhook.policy.findings import Mode
from webhook.policy.namespaces import NamespacePatterns
from webhook.registries import RegistryTable
from webhook.trust.settings import CacheSettings, LookupSettings


@dataclass(frozen=True, slots=True)
class Rule:
    """A mode, and stricter demands, for some images in some namespaces."""

    name: str
    namespaces: NamespacePatterns
    images: tuple[ImagePattern, ...]
    mode: Mode | None = None
    require_digest: bool = False
    require_pull_always: bool = False

    def matches(self, namespace: str, reference: ImageReference) -> bool:
        """Whether the rule is about this image in this namespace."""
        return self.namespaces.match(namespace) and any(p.matches(reference) for p in self.images)


@dataclass(frozen=True, slots=True)
class Exemption:
    """Images that are admitted without asking SWR, and why. ``expires`` is an instant in UTC."""

    name: str
    namespaces: NamespacePatterns
    images: tuple[ImagePattern, ...]
    reason: str
    expires: dt.datetime | None = None

    def active(self, now: float) -> bool:
        """Whether it still counts at ``now``, in seconds since the epoch."""
        return self.expires is None or now <= self.expires.timestamp()

    def matches(self, namespace: str, reference: ImageReference) -> bool:
        """Whether the exemption names this image in this namespace, expired or not."""
        return self.namespaces.match(namespace) and any(p.matches(reference) for p in self.images)


@dataclass(frozen=True, slots=True)
class BreakGlass:
    """Who may pass by annotation in an emergency; nobody by default."""

    annotation: str = "swr-trust/break-glass"
    users: frozenset[str] = frozenset()
    groups: frozenset[str] = frozenset()

    def allows(self, username: str, groups: Sequence[str]) -> bool:
        """Whether this user may break the glass."""
        return username in self.users or not self.groups.isdisjoint(groups)


@dataclass(frozen=True, slots=True)
class Policy:
    """The whole configuration. ``version`` is a fingerprint of the file, for logs and metrics."""

    version: str
    registries: RegistryTable
    mode: Mode = Mode.ENFORCE
    unmanaged_registries: Literal["deny", "warn", "allow"] = "deny"
    digest_only: Literal["deny", "resolve"] = "deny"
    on_lookup_failure: Literal["deny", "allow"] = "deny"
    workloads: Literal["off", "warn", "enforce"] = "warn"
    rules: tuple[Rule, ...] = ()
    exemptions: tuple[Exemption, ...] = ()
    break_glass: BreakGlass = field(default_factory=BreakGlass)
    hint: str = ""
    messages: Literal["en", "zh"] = "en"
    cache: CacheSettings = field(default_factory=CacheSettings)
    lookup: LookupSettings = field(default_factory=LookupSettings)

    def exemption_for(self, namespace: str, reference: ImageReference, now: float) -> Exemption | None:
        """Return the first exemption that matches and has not expired at ``now`` (epoch seconds)."""
        for exemption in self.exemptions:
            if exemption.matches(namespace, reference) and exemption.active(now):
                return exemption
        return None

    def rule_for(self, namespace: str, reference: ImageReference) -> Rule | None:
        """Return the first rule of the file that matches."""
        for rule in self.rules:
            if rule.matches(namespace, reference):
                return rule
        return None

    def mode_for(self, rule: Rule | None) -> Mode:
        """Return the mode that a rule leads to: its own, or the policy's."""
        return self.mode if rule is None or rule.mode is None else rule.mode

    @property
    def may_enforce(self) -> bool:
        """Whether any image anywhere could be refused under this policy."""
        return self.mode is Mode.ENFORCE or any(rule.mode is Mode.ENFORCE for rule in self.rules)
