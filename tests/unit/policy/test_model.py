"""Matches of a policy are the same with and without its memo; only times are compared each time."""

from __future__ import annotations

import datetime as dt
import functools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.builders import DIGEST, HOST, NOW, exemption, policy, rule
from webhook.images.reference import ImageReference, parse_reference
from webhook.policy.findings import Mode
from webhook.policy.model import MAX_REMEMBERED, STRICTEST_FIRST, BreakGlass, Exemption, Policy, Rule

IMAGES = [
    None,
    *map(
        parse_reference,
        [
            "nginx",
            "nginx:1",
            f"nginx@{DIGEST}",
            f"{HOST}/shop/web:1",
            f"{HOST}/shop/web:2",
            f"{HOST}/shop/a/b",
            f"{HOST}/infra/x@{DIGEST}",
            "quay.io/a/b",
        ],
    ),
]
NAMESPACES = ["shop", "shop-dev", "sandbox-1", ""]
PATTERNS = ["**", "**:1", "nginx", f"{HOST}/**", f"{HOST}/shop/*", f"{HOST}/shop/web:1", f"**@{DIGEST}"]
MOMENTS = [NOW + offset for offset in (-100.0, -1.0, 0.0, 1.0, 100.0)]

globs = st.lists(st.sampled_from(["*", "shop", "shop*", "sandbox-*", "*-dev"]), min_size=1, max_size=2)
patterns = st.lists(st.sampled_from(PATTERNS), min_size=1, max_size=3)
modes = st.sampled_from([None, "enforce", "warn", "audit"])


@st.composite
def rules(draw: st.DrawFn) -> tuple[Rule, ...]:
    """Return some rules."""
    made = []
    for number in range(draw(st.integers(0, 4))):
        mode = draw(modes)
        rest = {} if mode is None else {"mode": mode}
        made.append(rule(f"r{number}", draw(patterns), draw(globs), **rest))
    return tuple(made)


@st.composite
def exemptions(draw: st.DrawFn) -> tuple[Exemption, ...]:
    """Return some exemptions, with or without an end."""
    made = []
    for number in range(draw(st.integers(0, 4))):
        end = draw(st.none() | st.sampled_from(MOMENTS))
        expires = None if end is None else dt.datetime.fromtimestamp(end, dt.UTC)
        made.append(exemption(f"e{number}", draw(patterns), draw(globs), expires=expires))
    return tuple(made)


def plain_rule(current: Policy, namespace: str, image: ImageReference | None) -> Rule | None:
    """Return the rule that applies, without the memo; these rules have no further demands."""
    here = [item for item in current.rules if item.namespaces.match(namespace)]
    if image is None:
        catching = (item for item in here if item.is_about_all or current.mode_for(item) is Mode.ENFORCE)
        return next(catching, None)
    candidates: list[Rule | None] = []
    for item in here:
        if any(pattern.may_match(image) for pattern in item.images):
            candidates.append(item)
        if any(pattern.matches(image) for pattern in item.images):
            break
    else:
        candidates.append(None)
    return min(candidates, key=lambda item: STRICTEST_FIRST.index(current.mode_for(item)))


def plain_exemption(
    current: Policy, namespace: str, image: ImageReference | None, now: float
) -> Exemption | None:
    """Return the exemption that applies, without the memo."""
    for item in current.exemptions:
        if (
            image is not None
            and (item.expires is None or now < item.expires.timestamp())
            and item.namespaces.match(namespace)
            and any(pattern.matches(image) for pattern in item.images)
        ):
            return item
    return None


questions = st.lists(
    st.tuples(st.sampled_from(NAMESPACES), st.sampled_from(IMAGES), st.sampled_from(MOMENTS)),
    min_size=1,
    max_size=12,
)


@given(rules(), exemptions(), st.sampled_from(Mode), questions)
def test_memoized_matches_equal_computed_matches(
    some_rules: tuple[Rule, ...],
    some_exemptions: tuple[Exemption, ...],
    mode: Mode,
    asked: list[tuple[str, ImageReference | None, float]],
) -> None:
    """In any order of the calls, once or repeated."""
    current = policy(mode=mode, rules=some_rules, exemptions=some_exemptions)
    for namespace, image, now in asked * 2:
        assert current.rule_for(namespace, image) is plain_rule(current, namespace, image)
        if image is not None:
            expected = plain_exemption(current, namespace, image, now)
            assert current.exemption_for(namespace, image, now) is expected


def test_policies_do_not_share_memoized_matches() -> None:
    """Not even equal policies."""
    image = parse_reference("nginx")
    first, second = policy(rules=(rule("a", mode="audit"),)), policy(rules=(rule("b", mode="warn"),))
    found = [item.rule_for("shop", image) for item in (first, second, first)]
    assert [item.name if item is not None else None for item in found] == ["a", "b", "a"]


def test_exemption_ends_for_memoized_images() -> None:
    """At the exact moment; then the next one in the file applies."""
    ending = exemption("ending", expires=dt.datetime.fromtimestamp(NOW, dt.UTC))
    current = policy(exemptions=(ending, exemption("lasting")))
    image = parse_reference("nginx")
    names = [
        found.name
        for now in (NOW - 1, NOW, NOW - 1)
        if (found := current.exemption_for("shop", image, now)) is not None
    ]
    assert names == ["ending", "lasting", "ending"]


def test_memoized_matches_are_bounded() -> None:
    """With any namespaces and images."""
    current = policy(rules=(rule("a", mode="audit"),))
    for number in range(MAX_REMEMBERED + 100):
        current.rule_for(f"ns-{number}", parse_reference("nginx"))
    assert isinstance(current._match, functools._lru_cache_wrapper)
    assert current._match.cache_info().currsize == MAX_REMEMBERED


@pytest.mark.parametrize(
    ("username", "groups", "allowed"),
    [
        ("alice", [], True),
        ("alic", [], False),
        ("Alice", [], False),
        ("bob", ["oncall"], True),
        ("bob", ["a", "oncall"], True),
        ("bob", ["oncall2"], False),
        ("oncall", [], False),
        ("bob", ["alice"], False),
        ("", [], False),
    ],
)
def test_break_glass_users_and_groups_match_whole_names(
    username: str, groups: list[str], allowed: bool
) -> None:
    """A user is not a group, and a name is not a pattern (T17)."""
    glass = BreakGlass(users=frozenset({"alice"}), groups=frozenset({"oncall"}))
    assert glass.allows(username, groups) is allowed


def test_break_glass_is_not_allowed_by_default() -> None:
    """Not even for a cluster administrator."""
    assert not BreakGlass().allows("admin", ["system:masters"])
