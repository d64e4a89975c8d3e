"""The policy: a validated and compiled configuration file. Immutable; each request is evaluated under one."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import lru_cache
from typing import Final, Literal

from webhook.deadlines import Pause, no_pause
from webhook.images.patterns import ImagePattern
from webhook.images.reference import ImageReference
from webhook.policy.findings import Mode
from webhook.policy.namespaces import NamespacePatterns
from webhook.policy.pattern_index import NamespaceIndex, PatternIndex, positions_in
from webhook.registries import RegistryTable
from webhook.trust.settings import CacheSettings, LookupSettings

MAX_REMEMBERED: Final = 4096
"""Pairs of namespace and image whose matches are cached for each policy."""


STRICTEST_FIRST: Final = (Mode.ENFORCE, Mode.WARN, Mode.AUDIT)
"""The modes in the order of preference of ``Policy.rule_for`` between rules that may match."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A mode and stricter requirements for some images in some namespaces."""

    name: str
    namespaces: NamespacePatterns
    images: tuple[ImagePattern, ...]
    mode: Mode | None = None
    require_digest: bool = False
    require_pull_always: bool = False
    pin_digests: bool | None = None
    """``None`` means as the policy says; see ``Policy.pins``."""

    @property
    def is_about_all(self) -> bool:
        """Whether the rule covers every image of its namespaces."""
        return any(pattern.is_everything for pattern in self.images)


@dataclass(frozen=True, slots=True)
class Exemption:
    """Images that are admitted without a lookup, with the reason.

    ``expires`` is the time in UTC from which the exemption no longer applies; ``None`` means never.
    """

    name: str
    namespaces: NamespacePatterns
    images: tuple[ImagePattern, ...]
    reason: str
    expires: dt.datetime | None = None

    def active(self, now: float) -> bool:
        """Return whether the exemption applies at ``now``, in seconds since the epoch."""
        return self.expires is None or now < self.expires.timestamp()


@dataclass(frozen=True, slots=True)
class BreakGlass:
    """Users and groups that may use break-glass; none by default."""

    annotation: str = "swr-trust/break-glass"
    users: frozenset[str] = frozenset()
    groups: frozenset[str] = frozenset()

    def allows(self, username: str, groups: Sequence[str]) -> bool:
        """Return whether this user may use break-glass."""
        return username in self.users or not self.groups.isdisjoint(groups)


@dataclass(slots=True)
class _Matches:
    """Cached matches of one image in one namespace, independent of the time; filled in on first use."""

    known: bool = False
    rule: Rule | None = None
    exemptions: int = 0
    """The positions of matching exemptions, as a bit set: a list could have a thousand entries for each
    pair."""


@dataclass(slots=True)
class _Scope:
    """The rules and exemptions of one namespace, as bit sets of positions; filled in on first use.

    Nothing larger is cached: users may create any number of namespaces, and a policy may be long.
    """

    known: bool = False
    rules: int = 0
    exemptions: int = 0


@dataclass(frozen=True, slots=True)
class _Index:
    """The indexes of rules and exemptions of a policy, for all namespaces."""

    rules: PatternIndex
    exemptions: PatternIndex
    namespaces_of_rules: NamespaceIndex
    namespaces_of_exemptions: NamespaceIndex
    catching_all: int
    """Rules that apply to unreadable images and objects."""
    lasting: int
    """Exemptions that do not expire: if one matches, later exemptions are never reached."""


MAX_SCOPES: Final = 1024
"""Namespaces whose rules and exemptions are cached for each policy."""


@dataclass(frozen=True, slots=True)
class Policy:
    """The policy. ``version`` is a fingerprint of the file, for logs and metrics.

    The matches of an image in a namespace do not change under one policy, so they are cached, within limits.
    Only expiry is checked for each request.
    """

    version: str
    registries: RegistryTable
    mode: Mode = Mode.ENFORCE
    unmanaged_registries: Literal["deny", "warn", "allow"] = "deny"
    digest_only: Literal["deny", "resolve"] = "deny"
    on_lookup_failure: Literal["deny", "allow"] = "deny"
    pin_digests: bool = False
    workloads: Literal["off", "warn", "enforce"] = "warn"
    rules: tuple[Rule, ...] = ()
    exemptions: tuple[Exemption, ...] = ()
    break_glass: BreakGlass = field(default_factory=BreakGlass)
    hint: str = ""
    messages: Literal["en", "zh"] = "en"
    cache: CacheSettings = field(default_factory=CacheSettings)
    lookup: LookupSettings = field(default_factory=LookupSettings)

    may_pin: bool = field(init=False, repr=False, compare=False)
    """Whether the policy or one of its rules pins images."""
    _index: _Index = field(init=False, repr=False, compare=False)
    _match: Callable[[str, ImageReference | None], _Matches] = field(init=False, repr=False, compare=False)
    _scope: Callable[[str], _Scope] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Build the indexes. This may take long, but a policy is parsed outside of the event loop."""
        index = _Index(
            rules=PatternIndex(rule.images for rule in self.rules),
            exemptions=PatternIndex(item.images for item in self.exemptions),
            namespaces_of_rules=NamespaceIndex(rule.namespaces.globs for rule in self.rules),
            namespaces_of_exemptions=NamespaceIndex(item.namespaces.globs for item in self.exemptions),
            catching_all=_set_of(
                rule.is_about_all or self.mode_for(rule) is Mode.ENFORCE for rule in self.rules
            ),
            lasting=_set_of(item.expires is None for item in self.exemptions),
        )
        object.__setattr__(self, "may_pin", self.pin_digests or any(rule.pin_digests for rule in self.rules))
        object.__setattr__(self, "_index", index)
        # Entries are created empty and filled in by the first user, which may pause in between.
        object.__setattr__(self, "_match", lru_cache(maxsize=MAX_REMEMBERED)(lambda *_: _Matches()))
        object.__setattr__(self, "_scope", lru_cache(maxsize=MAX_SCOPES)(lambda _: _Scope()))

    def __reduce__(self) -> tuple[object, ...]:
        """Return how another process builds an equal policy, with indexes and caches of its own."""
        return Policy, tuple(getattr(self, item.name) for item in fields(self) if item.init)

    def exemption_for(
        self,
        namespace: str,
        reference: ImageReference,
        now: float,
        pause: Pause = no_pause,
    ) -> Exemption | None:
        """Return the first exemption that matches and has not expired at ``now`` (epoch seconds).

        ``pause`` is called between comparisons; cached matches need none.
        """
        matching = self._matches_of(namespace, reference, pause).exemptions
        for position in positions_in(matching) if matching else ():
            if self.exemptions[position].active(now):
                return self.exemptions[position]
        return None

    def has_expiring_exemption(
        self, namespace: str, reference: ImageReference | None, pause: Pause = no_pause
    ) -> bool:
        """Return whether a matching exemption expires, so that ``exemption_for`` depends on the time."""
        return bool(self._matches_of(namespace, reference, pause).exemptions & ~self._index.lasting)

    def rule_for(
        self,
        namespace: str,
        reference: ImageReference | None,
        pause: Pause = no_pause,
    ) -> Rule | None:
        """Return the first rule that matches.

        If a rule names tags and the image pins a digest, or the reverse, the rule may match. All rules that
        may match and come before the first certain match, or before the policy's own mode, are candidates.
        The strictest candidate is returned.

        If ``reference`` is ``None``, the image or Pod spec could not be parsed and may be any image. Then the
        first rule of the namespace that covers every image or enforces is returned, so that an unreadable
        object cannot bypass a strict rule.

        ``pause`` is called between comparisons; cached matches need none.
        """
        return self._matches_of(namespace, reference, pause).rule

    def mode_for(self, rule: Rule | None) -> Mode:
        """Return the mode of a rule, which defaults to the policy's."""
        return self.mode if rule is None or rule.mode is None else rule.mode

    def pins(self, rule: Rule | None) -> bool:
        """Return whether images of a rule are pinned to the digest of their tag, by default the policy's."""
        return self.pin_digests if rule is None or rule.pin_digests is None else rule.pin_digests

    @property
    def may_enforce(self) -> bool:
        """Whether the policy or one of its rules enforces."""
        return self.mode is Mode.ENFORCE or any(rule.mode is Mode.ENFORCE for rule in self.rules)

    def _matches_of(self, namespace: str, reference: ImageReference | None, pause: Pause) -> _Matches:
        matches = self._match(namespace, reference)
        if not matches.known:
            scope = self._scope_of(namespace, pause)
            if reference is None:
                catching = next(positions_in(self._index.catching_all & scope.rules), None)
                matches.rule = self.rules[catching] if catching is not None else None
            else:
                matches.rule = self._find_rule(scope, reference, pause)
                _, matches.exemptions = self._index.exemptions.match(
                    reference, scope.exemptions, self._index.lasting, pause
                )
            matches.known = True
        return matches

    def _scope_of(self, namespace: str, pause: Pause) -> _Scope:
        scope = self._scope(namespace)
        if not scope.known:
            scope.rules = self._index.namespaces_of_rules.match(namespace, pause)
            scope.exemptions = self._index.namespaces_of_exemptions.match(namespace, pause)
            scope.known = True
        return scope

    def _find_rule(self, scope: _Scope, reference: ImageReference, pause: Pause) -> Rule | None:
        possible, certain = self._index.rules.match(reference, scope.rules, pause=pause)
        candidates: list[Rule | None] = [self.rules[position] for position in positions_in(possible)]
        if not certain:
            candidates.append(None)
        return candidates[0] if len(candidates) == 1 else self._strictest(candidates)

    def _strictest(self, candidates: Sequence[Rule | None]) -> Rule | None:
        """Return the first candidate of the strictest mode, with the requirements of all of that mode."""
        strictest = min((self.mode_for(rule) for rule in candidates), key=STRICTEST_FIRST.index)
        equals = [rule for rule in candidates if rule is not None and self.mode_for(rule) is strictest]
        if not equals:
            return None
        first = equals[0]
        combined = replace(
            first,
            require_digest=any(rule.require_digest for rule in equals),
            require_pull_always=any(rule.require_pull_always for rule in equals),
        )
        pin = any(self.pins(rule) for rule in candidates if self.mode_for(rule) is strictest)
        if pin != self.pins(first):
            combined = replace(combined, pin_digests=pin)
        return first if combined == first else combined


def _set_of(chosen: Iterable[bool]) -> int:
    """Return the positions of the true values, as a bit set."""
    return sum(1 << position for position, is_chosen in enumerate(chosen) if is_chosen)
