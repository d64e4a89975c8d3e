"""The policy: a configuration file, checked and compiled. Immutable; one request sees one policy."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final, Literal

from webhook.images.patterns import ImagePattern
from webhook.images.reference import ImageReference
from webhook.policy.findings import Mode
from webhook.policy.namespaces import NamespacePatterns
from webhook.registries import RegistryTable
from webhook.trust.settings import CacheSettings, LookupSettings

MAX_REMEMBERED: Final = 4096
"""Pairs of namespace and image for which a policy remembers what matches."""


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

    @property
    def is_about_all(self) -> bool:
        """Whether it is about every image of its namespaces."""
        return any(pattern.is_everything for pattern in self.images)


@dataclass(frozen=True, slots=True)
class Exemption:
    """Images that are admitted without asking SWR, and why.

    ``expires`` is the instant in UTC from which it no longer counts; ``None`` for never.
    """

    name: str
    namespaces: NamespacePatterns
    images: tuple[ImagePattern, ...]
    reason: str
    expires: dt.datetime | None = None

    def active(self, now: float) -> bool:
        """Whether it still counts at ``now``, in seconds since the epoch."""
        return self.expires is None or now < self.expires.timestamp()

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
class _Matches:
    """All that a policy says about one image in one namespace, whatever the time is."""

    rule: Rule | None
    exemptions: tuple[Exemption, ...]


@dataclass(frozen=True, slots=True)
class Policy:
    """The whole configuration. ``version`` is a fingerprint of the file, for logs and metrics.

    What matches an image in a namespace never changes under one policy, so it is worked out once
    and remembered, within bounds. Only the time is looked at for each request.
    """

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

    _match: Callable[[str, ImageReference | None], _Matches] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Start with an empty memory."""
        object.__setattr__(self, "_match", lru_cache(maxsize=MAX_REMEMBERED)(self._find_matches))

    def exemption_for(self, namespace: str, reference: ImageReference, now: float) -> Exemption | None:
        """Return the first exemption that matches and has not expired at ``now`` (epoch seconds)."""
        for exemption in self._match(namespace, reference).exemptions:
            if exemption.active(now):
                return exemption
        return None

    def rule_for(self, namespace: str, reference: ImageReference | None) -> Rule | None:
        """Return the first rule of the file that matches.

        ``None`` stands for what cannot be read: a string that is no reference, an object without a
        Pod spec. It could be any image, so the first rule of the namespace that is about every
        image or that enforces is the one: nobody gets past a strict rule by being unreadable.
        """
        return self._match(namespace, reference).rule

    def mode_for(self, rule: Rule | None) -> Mode:
        """Return the mode that a rule leads to: its own, or the policy's."""
        return self.mode if rule is None or rule.mode is None else rule.mode

    @property
    def may_enforce(self) -> bool:
        """Whether any image anywhere could be refused under this policy."""
        return self.mode is Mode.ENFORCE or any(rule.mode is Mode.ENFORCE for rule in self.rules)

    def _find_matches(self, namespace: str, reference: ImageReference | None) -> _Matches:
        if reference is None:
            return _Matches(
                next((rule for rule in self.rules if self._catches_all(rule, namespace)), None), ()
            )
        return _Matches(
            rule=next((rule for rule in self.rules if rule.matches(namespace, reference)), None),
            exemptions=tuple(item for item in self.exemptions if item.matches(namespace, reference)),
        )

    def _catches_all(self, rule: Rule, namespace: str) -> bool:
        return rule.namespaces.match(namespace) and (rule.is_about_all or self.mode_for(rule) is Mode.ENFORCE)
