"""The rule for an image with a tag if the rule names a digest, or vice versa."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.builders import HOST, policy, rule
from webhook.images.reference import parse_reference
from webhook.policy.findings import Mode
from webhook.policy.model import STRICTEST_FIRST, Policy, Rule

D = "sha256:" + "a" * 64
E = "sha256:" + "b" * 64
X = f"{HOST}/prod/x"

CASES = [
    # The rule is stricter than the policy: it applies if it may be about the image.
    ("audit", [(f"{HOST}/prod/**:v*", "enforce")], f"{X}:v1", "enforce"),
    ("audit", [(f"{HOST}/prod/**:v*", "enforce")], f"{X}:v1@{D}", "enforce"),
    ("audit", [(f"{HOST}/prod/**:v*", "enforce")], f"{X}@{D}", "enforce"),
    # A node ignores the tag beside a digest: dev@D may run the same content as v1.
    ("audit", [(f"{HOST}/prod/**:v*", "enforce")], f"{X}:dev@{D}", "enforce"),
    ("audit", [(f"{HOST}/prod/**:v*", "enforce")], f"{X}:dev", "audit"),
    ("audit", [(f"{HOST}/prod/**:v*", "enforce")], f"{HOST}/test/x:v1@{D}", "audit"),
    ("warn", [(f"{HOST}/prod/**:latest", "enforce")], X, "enforce"),
    ("audit", [("**:*", "enforce")], f"{X}@{D}", "enforce"),
    ("audit", [(f"{X}@{D}", "enforce")], f"{X}:v1", "enforce"),
    ("audit", [(f"{X}@{D}", "enforce")], f"{X}:v1@{D}", "enforce"),
    ("audit", [(f"{X}@{D}", "enforce")], f"{X}:v1@{E}", "audit"),
    # The rule is more lenient: it applies only if it is certainly about the image.
    ("enforce", [(f"{HOST}/prod/**:v*", "audit")], f"{X}:v1", "audit"),
    ("enforce", [(f"{HOST}/prod/**:v*", "audit")], f"{X}:v1@{D}", "enforce"),
    ("enforce", [(f"{HOST}/prod/**:v*", "warn")], f"{X}@{D}", "enforce"),
    ("enforce", [(f"{X}@{D}", "audit")], f"{X}:v1", "enforce"),
    ("enforce", [(f"{X}@{D}", "audit")], f"{X}:v1@{D}", "audit"),
    # Of several, the strictest down to the first that certainly matches.
    ("audit", [("**:v*", "warn"), (f"{HOST}/prod/**", "enforce")], f"{X}:v1@{D}", "enforce"),
    ("audit", [("**:v*", "warn"), (f"{HOST}/prod/**", "enforce")], f"{X}:v1", "warn"),
    ("audit", [("**:v*", "warn"), (f"{HOST}/prod/**", "audit"), ("**", "enforce")], f"{X}@{D}", "warn"),
]


@pytest.mark.parametrize(("mode", "rules", "image", "expected"), CASES)
def test_strictest_of_possible_rules_applies(
    mode: str, rules: list[tuple[str, str]], image: str, expected: str
) -> None:
    """Fault B7: a digest beside or instead of the tag does not bypass a stricter rule."""
    made = tuple(rule(f"r{i}", [pattern], mode=own) for i, (pattern, own) in enumerate(rules))
    current = policy(mode=Mode(mode), rules=made)
    assert current.mode_for(current.rule_for("shop", parse_reference(image))) == expected


def test_demands_of_possible_rules_with_same_mode_are_combined() -> None:
    """Fault B7: it is unknown which of the two applies, so both sets of demands do."""
    first = rule("first", [f"{X}:v*"], require_pull_always=True)
    second = rule("second", [X], require_digest=True)
    found = policy(rules=(first, second)).rule_for("shop", parse_reference(f"{X}:v1@{D}"))
    assert found == rule("first", [f"{X}:v*"], require_digest=True, require_pull_always=True)


@pytest.mark.parametrize(
    ("default", "first", "second", "expected"),
    [
        (False, None, None, False),
        (True, None, None, True),
        (False, True, None, True),
        (False, None, True, True),
        (True, False, False, False),
        (True, False, None, True),
        (False, False, True, True),
    ],
)
def test_image_is_pinned_if_any_possible_rule_pins_it(
    *, default: bool, first: bool | None, second: bool | None, expected: bool
) -> None:
    """A rule without a value has the policy's."""
    rules = (
        rule("first", [f"{X}:v*"], pin_digests=first),
        rule("second", [X], pin_digests=second),
    )
    current = policy(pin_digests=default, rules=rules)
    assert current.pins(current.rule_for("shop", parse_reference(f"{X}:v1@{D}"))) is expected


@pytest.mark.parametrize(("default", "own"), [(True, None), (False, True), (True, False)])
def test_policy_may_pin_if_it_or_a_rule_does(*, default: bool, own: bool | None) -> None:
    """``/mutate`` reads no Pod otherwise."""
    assert policy(pin_digests=default, rules=(rule(pin_digests=own),)).may_pin
    assert not policy(rules=(rule(pin_digests=False),)).may_pin


TAGS = ["v1", "v2", "dev", "latest"]
DIGESTS = [D, E]
PATTERNS = [X, "**", f"{X}:v*", f"{X}:v1", f"{X}:*", "**:latest", f"{X}@{D}", f"**@{E}", f"{HOST}/prod/*:dev"]
IMAGES = [X, f"{X}:v1", f"{X}:dev", f"{X}@{D}", f"{X}:v1@{D}", f"{X}:dev@{E}", f"{X}:latest"]


@st.composite
def some_rules(draw: st.DrawFn) -> tuple[Rule, ...]:
    """Return up to four rules of any mode and demands."""
    patterns = st.lists(st.sampled_from(PATTERNS), min_size=1, max_size=2)
    return tuple(
        Rule(
            f"r{number}",
            rule().namespaces,
            rule(images=draw(patterns)).images,
            draw(st.sampled_from([None, *Mode])),
            draw(st.booleans()),
            draw(st.booleans()),
        )
        for number in range(draw(st.integers(0, 4)))
    )


def rule_of_content(current: Policy, tag: str, digest: str) -> Rule | None:
    """Return the first rule about the content with both this tag and this digest."""
    tagged, pinned = parse_reference(f"{X}:{tag}"), parse_reference(f"{X}@{digest}")
    for item in current.rules:
        if any(pattern.matches(tagged) or pattern.matches(pinned) for pattern in item.images):
            return item
    return None


@given(some_rules(), st.sampled_from(Mode), st.sampled_from(IMAGES))
def test_rule_is_at_least_as_strict_as_for_every_possible_content(
    rules: tuple[Rule, ...], mode: Mode, image: str
) -> None:
    """Fault B7: no form of an image is evaluated more leniently than the content that it may run."""
    current = policy(mode=mode, rules=rules)
    reference = parse_reference(image)
    found = current.rule_for("shop", reference)
    strictness = STRICTEST_FIRST.index(current.mode_for(found))
    tags = TAGS if reference.digest is not None or reference.tag is None else [reference.tag]
    digests = DIGESTS if reference.digest is None else [reference.digest]
    for tag in tags:
        for digest in digests:
            other = rule_of_content(current, tag, digest)
            order = STRICTEST_FIRST.index(current.mode_for(other))
            assert strictness <= order
            if other is not None and strictness == order:
                assert found is not None
                assert found.require_digest >= other.require_digest
                assert found.require_pull_always >= other.require_pull_always
