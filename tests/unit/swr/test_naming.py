"""SWR's naming rules, which are checked before a name becomes part of a URL."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.strategies import path
from webhook.errors import InvalidReferenceError
from webhook.swr.naming import check_names, escape_repository, split_path


@pytest.mark.parametrize(
    ("organization", "repository"),
    [
        ("shop", "web"),
        ("a", "0"),
        ("a.b-c_d", "x__y/z"),
        ("a" * 64, "b" * 128),
        ("shop", "a/b/c"),
        ("a__b", "1"),
        ("a--b", "c---d"),
    ],
)
def test_valid_names_are_accepted(organization: str, repository: str) -> None:
    check_names(organization, repository)


BAD = [
    ("", "web", "organization"),
    ("0shop", "web", "organization"),
    ("Shop", "web", "organization"),
    ("shop-", "web", "organization"),
    ("a___b", "web", "organization"),
    ("a.-b", "web", "organization"),
    ("a..b", "web", "organization"),
    ("a" * 65, "web", "organization"),
    ("..", "web", "organization"),
    ("a/b", "web", "organization"),
    ("shop", "", "repository"),
    ("shop", "web/", "repository"),
    ("shop", "/web", "repository"),
    ("shop", "a//b", "repository"),
    ("shop", "../x", "repository"),
    ("shop", "a$b", "repository"),
    ("shop", "a%24b", "repository"),
    ("shop", "a.-b", "repository"),
    ("shop", "web\n", "repository"),
    ("shop", "b" * 129, "repository"),
]


@pytest.mark.parametrize(("organization", "repository", "reason"), BAD)
def test_invalid_names_are_rejected_before_url(organization: str, repository: str, reason: str) -> None:
    """A name that SWR would not allow is rejected here (T22, T23)."""
    with pytest.raises(InvalidReferenceError) as caught:
        check_names(organization, repository)
    assert caught.value.reason == reason


def test_path_of_one_component_is_not_swr_image() -> None:
    """An SWR image has an organization."""
    with pytest.raises(InvalidReferenceError, match="organization/name"):
        split_path("web")
    assert split_path("shop/a/b") == ("shop", "a/b")


@given(st.sets(path, min_size=2, max_size=5))
def test_repositories_have_distinct_escaped_paths(names: set[str]) -> None:
    """``/`` becomes ``$``, which no name contains: the mapping is one to one."""
    assert len({escape_repository(name) for name in names}) == len(names)
