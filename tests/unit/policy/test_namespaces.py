"""Namespace globs match the whole name."""

from __future__ import annotations

import pytest

from webhook.policy.namespaces import NamespacePatterns


@pytest.mark.parametrize(
    ("globs", "namespace", "expected"),
    [
        (("*",), "anything", True),
        (("*",), "", True),
        (("shop",), "shop", True),
        (("shop",), "shop2", False),
        (("shop",), "a-shop", False),
        (("sandbox-*",), "sandbox-1", True),
        (("sandbox-*",), "sandbox-", True),
        (("sandbox-*",), "my-sandbox-1", False),
        (("*-dev",), "a-dev", True),
        (("*-dev",), "a-dev2", False),
        (("a*b",), "ab", True),
        (("a*b",), "a.b\nb", True),
        (("a.c",), "abc", False),
        (("x", "y"), "y", True),
        (("x", "y"), "z", False),
    ],
)
def test_namespace_glob_matches_whole_name(globs: tuple[str, ...], namespace: str, expected: bool) -> None:
    """``*`` matches any characters, all others match themselves."""
    assert NamespacePatterns(globs).match(namespace) is expected
