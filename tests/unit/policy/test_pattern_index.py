"""The index over patterns finds whatever comparing all with all finds."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.builders import DIGEST, exemption, policy, rule
from webhook.images.patterns import parse_pattern
from webhook.images.reference import parse_reference
from webhook.policy.model import Policy
from webhook.policy.pattern_index import PatternIndex

HOSTS = ["swr.cn-north-4.myhuaweicloud.com", "a.example.com", "b.example.com:5000", "docker.io"]
PATHS = ["shop", "shop/web", "shop/web/x", "base/web", "library/nginx", "shop-2/web"]
references = st.builds(
    lambda host, path, version: parse_reference(f"{host}/{path}{version}"),
    st.sampled_from(HOSTS),
    st.sampled_from([path for path in PATHS if "/" in path]),
    st.sampled_from(["", ":1", ":v2", f"@{DIGEST}", f":v2@{DIGEST}"]),
)
patterns = st.one_of(
    st.just("**"),
    st.builds(
        lambda host, path, version: f"{host}/{path}{version}",
        st.sampled_from([*HOSTS, "*.example.com"]),
        st.sampled_from(
            [*(path for path in PATHS if "/" in path), "**", "shop/**", "*/web", "sh*/*", "**/web", "*/**"]
        ),
        st.sampled_from(["", ":1", ":v*", f"@{DIGEST}"]),
    ),
)
lists = st.lists(patterns, min_size=1, max_size=3)
namespaces = st.lists(st.sampled_from(["*", "shop", "team-*", "dev"]), min_size=1, max_size=2)


@given(st.lists(lists, max_size=20), references)
def test_whatever_matches_is_a_candidate(items: list[list[str]], reference: object) -> None:
    """In the order of the file, each once."""
    compiled = [tuple(map(parse_pattern, texts)) for texts in items]
    found = PatternIndex(list(enumerate(compiled)), lambda item: item[1]).candidates(reference)  # type: ignore[arg-type]
    indices = [index for index, _ in found]
    assert indices == sorted(set(indices))
    possible = [index for index, one in enumerate(compiled) if any(p.may_match(reference) for p in one)]  # type: ignore[arg-type]
    assert set(possible) <= set(indices)


def naive(chosen: Policy) -> Policy:
    """Return the same policy, which compares all with all."""

    class Everything(PatternIndex):  # type: ignore[type-arg]
        def candidates(self, reference: object) -> list[object]:
            del reference
            return list(self._items)

    chosen = policy(rules=chosen.rules, exemptions=chosen.exemptions, mode=chosen.mode)
    object.__setattr__(
        chosen,
        "_scope",
        lambda _: (
            Everything(chosen.rules, lambda r: r.images),
            Everything(chosen.exemptions, lambda e: e.images),
        ),
    )
    return chosen


@given(
    st.lists(st.tuples(lists, namespaces, st.sampled_from([None, "audit", "warn", "enforce"])), max_size=12),
    st.lists(st.tuples(lists, namespaces), max_size=6),
    references,
    st.sampled_from(["shop", "team-1", "dev", "other"]),
)
def test_a_policy_decides_as_if_it_compared_all_with_all(
    rules: list[tuple[list[str], list[str], str | None]],
    exemptions: list[tuple[list[str], list[str]]],
    reference: object,
    namespace: str,
) -> None:
    """Fault C3: the first rule of the file still wins, and no exemption is missed or added."""
    chosen = policy(
        rules=tuple(
            rule(f"r{index}", images, spaces, **({"mode": mode} if mode else {}))
            for index, (images, spaces, mode) in enumerate(rules)
        ),
        exemptions=tuple(
            exemption(f"e{index}", images, spaces) for index, (images, spaces) in enumerate(exemptions)
        ),
    )
    other = naive(chosen)
    assert chosen.rule_for(namespace, reference) == other.rule_for(namespace, reference)  # type: ignore[arg-type]
    assert chosen.exemption_for(namespace, reference, 0.0) == other.exemption_for(namespace, reference, 0.0)  # type: ignore[arg-type]


def test_few_of_many_are_compared() -> None:
    """Fault C3: of two hundred rules about as many organisations one is a candidate."""
    index = PatternIndex(
        [parse_pattern(f"{HOSTS[0]}/team-{n}/**") for n in range(200)], lambda pattern: [pattern]
    )
    found = index.candidates(parse_reference(f"{HOSTS[0]}/team-7/web:1"))
    assert [pattern.text for pattern in found] == [f"{HOSTS[0]}/team-7/**"]
