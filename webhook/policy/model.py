"""The policy: a configuration file, checked and compiled. Immutable; one request sees one policy."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Final, Literal

from webhook.images.patterns import ImagePattern
from webhook.images.reference import ImageReference
from webhook.policy.findings import Mode
from webhook.policy.namespaces import NamespacePatterns
from webhook.policy.pattern_index import PatternIndex
from webhook.registries import RegistryTable
from webhook.trust.settings import CacheSettings, LookupSettings

MAX_REMEMBERED: Final = 4096
"""Pairs of namespace and image for which a policy remembers what matches."""


STRICTEST_FIRST: Final = (Mode.ENFORCE, Mode.WARN, Mode.AUDIT)
"""The modes in the order in which ``Policy.rule_for`` prefers them in doubt."""


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
        """Whether the rule is certainly about this image in this namespace."""
        return self.namespaces.match(namespace) and any(p.matches(reference) for p in self.images)

    def may_match(self, namespace: str, reference: ImageReference) -> bool:
        """Whether the rule could be about this image in this namespace."""
        return self.namespaces.match(namespace) and any(p.may_match(reference) for p in self.images)

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


MAX_SCOPES: Final = 1024
"""Namespaces for which a policy remembers what is about them."""

_Scope = tuple[PatternIndex[Rule], PatternIndex[Exemption]]
"""What is about one namespace."""


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
    _scope: Callable[[str], _Scope] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Start with an empty memory."""
        object.__setattr__(self, "_match", lru_cache(maxsize=MAX_REMEMBERED)(self._find_matches))
        object.__setattr__(self, "_scope", lru_cache(maxsize=MAX_SCOPES)(self._find_scope))

    def exemption_for(self, namespace: str, reference: ImageReference, now: float) -> Exemption | None:
        """Return the first exemption that matches and has not expired at ``now`` (epoch seconds)."""
        for exemption in self._match(namespace, reference).exemptions:
            if exemption.active(now):
                return exemption
        return None

    def rule_for(self, namespace: str, reference: ImageReference | None) -> Rule | None:
        """Return the first rule of the file that matches.

        Where a rule names tags and the image pins a digest, or the other way round, the rule only
        may match. The rules that may match and stand above the first that certainly does, or above
        the policy's own mode, are then candidates like it, and the strictest of them counts.

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
            rule=self._find_rule(namespace, reference),
            exemptions=tuple(
                item
                for item in self._scope(namespace)[1].candidates(reference)
                if item.matches(namespace, reference)
            ),
        )

    def _find_scope(self, namespace: str) -> _Scope:
        return (
            PatternIndex(
                [rule for rule in self.rules if rule.namespaces.match(namespace)], lambda rule: rule.images
            ),
            PatternIndex(
                [item for item in self.exemptions if item.namespaces.match(namespace)],
                lambda item: item.images,
            ),
        )

    def _find_rule(self, namespace: str, reference: ImageReference) -> Rule | None:
        candidates: list[Rule | None] = []
        for rule in self._scope(namespace)[0].candidates(reference):
            if rule.may_match(namespace, reference):
                candidates.append(rule)
                if rule.matches(namespace, reference):
                    break
        else:
            candidates.append(None)
        return candidates[0] if len(candidates) == 1 else self._strictest(candidates)

    def _strictest(self, candidates: Sequence[Rule | None]) -> Rule | None:
        """Return the first candidate of the strictest mode, with the demands of all of that mode."""
        strictest = min((self.mode_for(rule) for rule in candidates), key=STRICTEST_FIRST.index)
        equals = [rule for rule in candidates if rule is not None and self.mode_for(rule) is strictest]
        if not equals:
            return None
        digest = any(rule.require_digest for rule in equals)
        pull_always = any(rule.require_pull_always for rule in equals)
        if (digest, pull_always) == (equals[0].require_digest, equals[0].require_pull_always):
            return equals[0]
        return replace(equals[0], require_digest=digest, require_pull_always=pull_always)

    def _catches_all(self, rule: Rule, namespace: str) -> bool:
        return rule.namespaces.match(namespace) and (rule.is_about_all or self.mode_for(rule) is Mode.ENFORCE)
