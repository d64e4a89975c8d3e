"""The index of patterns finds the same matches as a comparison with every pattern."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.builders import DIGEST, exemption, policy, rule
from webhook.images.patterns import ImagePattern, parse_pattern
from webhook.images.reference import ImageReference, parse_reference
from webhook.policy.model import Policy
from webhook.policy.namespaces import NamespacePatterns
from webhook.policy.pattern_index import (
    EVERY,
    NamespaceIndex,
    PatternIndex,
    positions_in,
    up_to_first,
)

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
            [
                *(path for path in PATHS if "/" in path),
                "**",
                "shop/**",
                "*/web",
                "sh*/*",
                "**/web",
                "*/**",
                "shop/w*",
                "shop/web*",
                "shop*/**",
                "s*/w*b/x",
                "shop/*b",
            ]
        ),
        st.sampled_from(["", ":1", ":v*", f"@{DIGEST}"]),
    ),
)
lists = st.lists(patterns, min_size=1, max_size=3)
namespaces = st.lists(st.sampled_from(["*", "shop", "team-*", "dev"]), min_size=1, max_size=2)


@given(st.lists(lists, max_size=20), references)
def test_index_finds_every_matching_pattern(items: list[list[str]], reference: ImageReference) -> None:
    """Certain and possible matches are those of a comparison with every pattern."""
    compiled = [tuple(map(parse_pattern, texts)) for texts in items]
    index = PatternIndex(compiled)
    possible, certain = index.match(reference, last=0)
    assert list(positions_in(possible)) == [
        position for position, one in enumerate(compiled) if any(p.may_match(reference) for p in one)
    ]
    assert list(positions_in(certain)) == [
        position for position, one in enumerate(compiled) if any(p.matches(reference) for p in one)
    ]
    bound = up_to_first(certain)
    assert index.match(reference) == (possible & bound, certain & bound)


@given(
    st.lists(st.lists(st.text("ab*-", min_size=1, max_size=5), max_size=3), max_size=20),
    st.text("ab-", min_size=1, max_size=6),
)
def test_namespace_index_finds_every_matching_glob(items: list[list[str]], namespace: str) -> None:
    """They are those of a comparison with every glob."""
    expected = [
        position for position, globs in enumerate(items) if NamespacePatterns(tuple(globs)).match(namespace)
    ]
    assert list(positions_in(NamespaceIndex(items).match(namespace))) == expected


def naive(chosen: Policy) -> Policy:
    """Return the same policy without the index."""

    class Everything(PatternIndex):
        def candidates(self, reference: object) -> Iterator[tuple[ImagePattern, int]]:
            del reference
            for found in (self._of_host, self._of_any_host):
                for values in (*found._whole.values(), *found._by_prefix.values()):
                    yield from values

    chosen = policy(rules=chosen.rules, exemptions=chosen.exemptions, mode=chosen.mode)
    index = replace(
        chosen._index,
        rules=Everything(item.images for item in chosen.rules),
        exemptions=Everything(item.images for item in chosen.exemptions),
    )
    object.__setattr__(chosen, "_index", index)
    return chosen


@given(
    st.lists(st.tuples(lists, namespaces, st.sampled_from([None, "audit", "warn", "enforce"])), max_size=12),
    st.lists(st.tuples(lists, namespaces), max_size=6),
    references,
    st.sampled_from(["shop", "team-1", "dev", "other"]),
)
def test_indexed_policy_equals_exhaustive_comparison(
    rules: list[tuple[list[str], list[str], str | None]],
    exemptions: list[tuple[list[str], list[str]]],
    reference: ImageReference,
    namespace: str,
) -> None:
    """Fault C3: the first rule of the file still applies, and no exemption is missing or added."""
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
    assert chosen.rule_for(namespace, reference) == other.rule_for(namespace, reference)
    assert chosen.exemption_for(namespace, reference, 0.0) == other.exemption_for(namespace, reference, 0.0)


@pytest.mark.parametrize(
    ("pattern", "image"),
    [
        ("team-{}/**", "team-7/web:1"),
        ("shop/t{}-*", "shop/t7-web:1"),
        ("shop/t{}", "shop/t7:1"),
        ("shop/team/x{}-*/**", "shop/team/x7-a/web:1"),
    ],
)
def test_index_compares_few_of_many_patterns(pattern: str, image: str) -> None:
    """Fault C3: of two hundred rules for as many names one is compared, regardless of where the paths
    differ.
    """
    index = PatternIndex([[parse_pattern(f"{HOSTS[0]}/{pattern.format(n)}")] for n in range(200)])
    found = list(index.candidates(parse_reference(f"{HOSTS[0]}/{image}")))
    assert [compared.text for compared, _ in found] == [f"{HOSTS[0]}/{pattern.format(7)}"]
    assert [list(positions_in(held)) for _, held in found] == [[7]]


def test_index_compares_few_of_many_namespace_globs() -> None:
    """Fault C3: a glob of many rules is compared once, and only if its first characters are equal."""
    globs = [[f"team-{n % 100}-*", "*-dev"] for n in range(1000)]
    pauses: list[None] = []
    found = NamespaceIndex(globs).match("team-7-prod", lambda: pauses.append(None))
    assert list(positions_in(found)) == list(range(7, 1000, 100))
    assert len(pauses) == 2


def test_index_does_not_compare_after_first_certain_match() -> None:
    """Neither rules after a certain match, nor exemptions after one without an end."""
    reference = parse_reference(f"{HOSTS[0]}/shop/web:1")
    index = PatternIndex([[parse_pattern(f"*.{n}.example.com/**")] for n in range(9)])
    first = PatternIndex([[parse_pattern("**")], *([parse_pattern(f"**:{n}*")] for n in range(9))])
    pauses: list[None] = []
    assert index.match(reference, pause=lambda: pauses.append(None)) == (0, 0)
    assert len(pauses) == 9
    pauses.clear()
    assert first.match(reference, pause=lambda: pauses.append(None)) == (1, 1)
    assert len(pauses) == 1
    assert first.match(reference, last=EVERY ^ 1, pause=lambda: pauses.append(None)) == (5, 5)


def test_memoized_matches_use_little_memory_per_namespace() -> None:
    """Fault C2: an author creates a thousand namespaces. The policy is not copied for each."""
    current = policy(
        rules=[rule(f"r{n}", [f"{HOSTS[0]}/o{n}-{i}/**" for i in range(3)], mode="audit") for n in range(200)]
    )
    image = parse_reference(f"{HOSTS[0]}/shop/web:1")
    names = [f"team-{n}" for n in range(100)]
    current.rule_for("other", image)
    tracemalloc.start()
    try:
        for name in names:
            assert current.rule_for(name, image) is None
        used, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert used < len(names) * 2048
