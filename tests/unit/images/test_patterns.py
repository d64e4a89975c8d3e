"""Image patterns match whole components; a prefix or a digest does not bypass them."""

from __future__ import annotations

import pytest
from hypothesis import given

from tests.support.strategies import references
from webhook.errors import InvalidPatternError
from webhook.images.patterns import parse_pattern
from webhook.images.reference import parse_reference

D = "sha256:" + "a" * 64
E = "sha256:" + "b" * 64
H = "swr.cn-north-4.myhuaweicloud.com"

MATCHES = [
    (f"{H}/infra/**", f"{H}/infra/x", True),
    (f"{H}/infra/**", f"{H}/infra/x/y:1@{D}", True),
    (f"{H}/infra/**", f"{H}/infra-evil/x", False),
    (f"{H}/infra/**", f"evil.io/{H}/infra/x", False),
    (f"{H}/infra/**", f"{H}.evil.io/infra/x", False),
    (f"{H}/infra/**", f"{H}:444/infra/x", False),
    (f"{H}/infra/*", f"{H}/infra/x", True),
    (f"{H}/infra/*", f"{H}/infra/x/y", False),
    (f"{H}/*/web", f"{H}/shop/web", True),
    (f"{H}/*/web", f"{H}/shop/a/web", False),
    (f"{H}/**/web", f"{H}/shop/a/web", True),
    (f"{H}/**/web", f"{H}/web", False),
    (f"{H}/shop/web-*", f"{H}/shop/web-1", True),
    (f"{H}/shop/web-*", f"{H}/shop/web", False),
    (f"{H}/shop/web", f"{H}/shop/web:1.0", True),
    (f"{H}/shop/web", f"{H}/shop/web@{D}", True),
    (f"{H}/shop/web", f"{H}/shop/web2", False),
    (f"{H}/shop/web:1.*", f"{H}/shop/web:1.7", True),
    (f"{H}/shop/web:1.*", f"{H}/shop/web:2.0", False),
    (f"{H}/shop/web:1.*", f"{H}/shop/web:1.7@{D}", False),
    (f"{H}/shop/web:1.*", f"{H}/shop/web@{D}", False),
    (f"{H}/shop/web@{D}", f"{H}/shop/web:1@{D}", True),
    (f"{H}/shop/web@{D}", f"{H}/shop/web@{E}", False),
    (f"{H}/shop/web@{D}", f"{H}/shop/web:1", False),
    ("nginx", "nginx", True),
    ("nginx", "docker.io/library/nginx:1", True),
    ("nginx", "nginx-evil", False),
    ("nginx", "evil/nginx", False),
    ("library/alpine", "index.docker.io/library/alpine", True),
    ("**", "anything.example.com/x/y:z", True),
    ("**", "nginx", True),
    ("**:latest", "nginx", True),
    ("**:latest", "nginx:1", False),
    ("*.example.com/tools/**", "eu.example.com/tools/lint", True),
    ("*.example.com/tools/**", "example.com/tools/lint", False),
    ("*.example.com/tools/**", "evilexample.com/tools/lint", False),
    ("*.example.com/tools/**", "eu.example.com:1/tools/lint", False),
    ("10.125.0.198:20202/hwofficial/**", "10.125.0.198:20202/hwofficial/x", True),
    (f"{H.upper()}/shop/web", f"{H}/shop/web", True),
]


@pytest.mark.parametrize(("pattern", "image", "expected"), MATCHES, ids=[f"{p} ~ {i}" for p, i, _ in MATCHES])
def test_patterns_match_whole_components(pattern: str, image: str, expected: bool) -> None:
    """A pattern matches exactly the documented images (T19, T20)."""
    assert parse_pattern(pattern).matches(parse_reference(image)) is expected


INVALID = [
    ("", "a pattern has 1 to 512 printable ASCII characters and no space"),
    ("a b", "a pattern has 1 to 512 printable ASCII characters and no space"),
    ("*", "a wildcard host needs a path: write a host and a path, or ** for every image"),
    ("*/shop/web", "a wildcard host is written as *. and a fixed domain, *.example.com for instance"),
    ("**/web", "a wildcard host is written as *. and a fixed domain, *.example.com for instance"),
    ("swr.*.com/a", "a wildcard host is written as *. and a fixed domain, *.example.com for instance"),
    ("*.com/a", "a wildcard host is written as *. and a fixed domain, *.example.com for instance"),
    (f"{H}/a**/b", "** matches whole components and must be alone between slashes"),
    (f"{H}/A*", "an image name must be lower case"),
    (f"{H}/Shop", "an image name must be lower case"),
    (f"{H}/a:b@{D}", "a pattern has a tag or a digest, not both"),
    (f"{H}/a@sha256:1", "the digest must be sha256: and 64 hexadecimal digits"),
    (f"{H}/a:", "after : comes a tag of letters, digits, dots, hyphens, underscores and *"),
    ("ho_st.com/a", "the registry is no host name or address with a port"),
]


@pytest.mark.parametrize(("pattern", "message"), INVALID)
def test_invalid_pattern_error_names_the_fix(pattern: str, message: str) -> None:
    """The message says what to write instead."""
    with pytest.raises(InvalidPatternError) as caught:
        parse_pattern(pattern)
    assert str(caught.value) == message


COVERS = [
    ("**", f"{H}/a/b", True),
    (f"{H}/**", f"{H}/a/b:1", True),
    (f"{H}/a/**", f"{H}/a/*", True),
    (f"{H}/a/*", f"{H}/a/**", False),
    (f"{H}/a/b:1.*", f"{H}/a/b:1.2", True),
    (f"{H}/a/b:1.*", f"{H}/a/b", False),
    (f"{H}/a/b", "**", False),
    ("*.example.com/**", "eu.example.com/a", True),
    (f"{H}/a/b@{D}", f"{H}/a/b", False),
]


@pytest.mark.parametrize(("wide", "narrow", "expected"), COVERS)
def test_pattern_covers_another_only_if_certain(wide: str, narrow: str, expected: bool) -> None:
    """A rule is reported as unreachable only if that is certain."""
    assert parse_pattern(wide).covers(parse_pattern(narrow)) is expected


@given(references())
def test_reference_as_pattern_matches_itself(text: str) -> None:
    """A complete name without a wildcard is the simplest pattern."""
    reference = parse_reference(text)
    name = (
        str(reference)
        if reference.digest is None
        else f"{reference.domain}/{reference.path}@{reference.digest}"
    )
    assert parse_pattern(name).matches(reference)


def test_pattern_with_many_stars_does_not_backtrack() -> None:
    """A glob with many stars and a long name must take little time."""
    pattern = parse_pattern(f"{H}/" + "a*" * 60 + "b")
    assert not pattern.matches(parse_reference(f"{H}/" + "a" * 200))
