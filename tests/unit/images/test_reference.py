"""Image references: the grammar, Docker's normalization, and every reason for a rejection."""

from __future__ import annotations

import sys
from types import FrameType
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.strategies import near_misses, references
from webhook.errors import InvalidReferenceError
from webhook.images.reference import MAX_LENGTH, parse_reference

if TYPE_CHECKING:
    from _typeshed import TraceFunction

D = "sha256:" + "0123456789abcdef" * 4
SWR = "swr.cn-north-4.myhuaweicloud.com"

VALID = [
    ("nginx", "docker.io", "library/nginx", "latest", None),
    ("nginx:1.25", "docker.io", "library/nginx", "1.25", None),
    ("library/nginx", "docker.io", "library/nginx", "latest", None),
    ("docker.io/nginx", "docker.io", "library/nginx", "latest", None),
    ("docker.io/library/nginx", "docker.io", "library/nginx", "latest", None),
    ("index.docker.io/nginx", "docker.io", "library/nginx", "latest", None),
    ("team/app", "docker.io", "team/app", "latest", None),
    ("localhost/app", "localhost", "app", "latest", None),
    ("localhost:5000/app", "localhost:5000", "app", "latest", None),
    ("host:5000/app:v1", "host:5000", "app", "v1", None),
    ("[::1]:5000/app", "[::1]:5000", "app", "latest", None),
    ("[2001:db8::1]/app", "[2001:db8::1]", "app", "latest", None),
    (f"{SWR}/shop/web:1.0", SWR, "shop/web", "1.0", None),
    (f"{SWR.upper()}/shop/web:1.0", SWR, "shop/web", "1.0", None),
    (f"{SWR}:443/shop/web:1.0", f"{SWR}:443", "shop/web", "1.0", None),
    (f"{SWR}/shop/a/b/c", SWR, "shop/a/b/c", "latest", None),
    (f"{SWR}/shop/web@{D}", SWR, "shop/web", None, D),
    (f"{SWR}/shop/web:1.0@{D}", SWR, "shop/web", "1.0", D),
    ("10.125.0.198:20202/shop/web", "10.125.0.198:20202", "shop/web", "latest", None),
    (f"{SWR}/a__b/c-d.e---f", SWR, "a__b/c-d.e---f", "latest", None),
    (f"nginx:{'t' * 128}", "docker.io", "library/nginx", "t" * 128, None),
    ("a:80/b", "a:80", "b", "latest", None),
]


@pytest.mark.parametrize(("text", "domain", "path", "tag", "digest"), VALID, ids=[case[0] for case in VALID])
def test_references_are_parsed_and_normalized(
    text: str, domain: str, path: str, tag: str | None, digest: str | None
) -> None:
    """Domain, path, tag and digest as a container runtime reads them."""
    reference = parse_reference(text)
    assert (reference.domain, reference.path, reference.tag, reference.digest) == (domain, path, tag, digest)


INVALID = [
    ("", "empty"),
    (" ", "whitespace"),
    ("nginx\n", "whitespace"),
    ("nginx:1\n", "whitespace"),
    ("\tnginx", "whitespace"),
    ("ngi nx", "whitespace"),
    ("nginx\0", "control-character"),
    ("ngi\x07nx", "control-character"),
    ("nginx\x7f", "control-character"),
    ("nginх", "non-ascii"),  # noqa: RUF001 - a Cyrillic letter is the point
    ("nginx:①", "non-ascii"),
    ("Nginx", "uppercase"),
    (f"{SWR}/Shop/web", "uppercase"),
    ("nginx:", "bad-tag"),
    ("nginx:-x", "bad-tag"),
    ("nginx:.x", "bad-tag"),
    ("nginx:a/b:c", "bad-host"),
    (f"nginx:{'t' * 129}", "bad-tag"),
    ("nginx:a:b", "bad-tag"),
    ("nginx@", "bad-digest"),
    ("nginx@sha256:abc", "bad-digest"),
    (f"nginx@sha512:{'a' * 128}", "digest-algorithm"),
    (f"nginx@{D.upper()}", "digest-algorithm"),
    (f"nginx@{D}x", "bad-digest"),
    (f"nginx@{D}@{D}", "bad-digest"),
    ("a" * 64, "image-id"),
    (f"{'a' * 64}:v1", "image-id"),
    (D, "image-id"),
    ("sha512:abc", "image-id"),
    ("INDEX.docker.io/nginx", "uppercase"),
    ("Docker.io/nginx", "uppercase"),
    ("Shop/web", "uppercase"),
    ("/nginx", "bad-path"),
    ("nginx/", "bad-path"),
    ("a//b", "bad-path"),
    ("foo_", "bad-path"),
    ("foo..bar", "bad-path"),
    ("foo___bar", "bad-path"),
    ("-foo", "bad-path"),
    (f"{SWR}/shop/../admin", "bad-path"),
    (f"{SWR}/shop/%2e%2e/admin", "bad-path"),
    (f"{SWR}/shop/a$b", "bad-path"),
    (f"{SWR}/shop/a?x=1", "bad-path"),
    (f"{SWR}/shop/a#x", "bad-path"),
    ("https://swr.example.com/a", "scheme"),
    ("host:080/app", "bad-host"),
    ("a..b/c", "bad-host"),
    ("-a.b/c", "bad-host"),
    ("host:0/app", "bad-host"),
    ("host:99999/app", "bad-host"),
    ("host:/app", "bad-host"),
    ("ho_st.com/app", "bad-host"),
    ("[::1/app", "bad-host"),
    ("[1:2]/app", "bad-host"),
    ("[:::1]:5000/app", "bad-host"),
    (f"{SWR}/{'a' * 256}", "too-long"),
    ("a" * 20_000, "too-long"),
]


@pytest.mark.parametrize(("text", "reason"), INVALID, ids=[repr(case[0][:40]) for case in INVALID])
def test_invalid_reference_has_specific_reason(text: str, reason: str) -> None:
    """Each kind of error has its own reason (T23, T25)."""
    with pytest.raises(InvalidReferenceError) as caught:
        parse_reference(text)
    assert caught.value.reason == reason


def test_reference_error_does_not_quote_input() -> None:
    """The text of an error must not come from an author."""
    with pytest.raises(InvalidReferenceError) as caught:
        parse_reference("evil\x1b[31m/x")
    assert "evil" not in str(caught.value)


@given(references())
def test_canonical_reference_parses_to_itself(text: str) -> None:
    """``parse(str(parse(text))) == parse(text)`` for every valid reference."""
    reference = parse_reference(text)
    assert parse_reference(str(reference)) == reference


@given(st.one_of(near_misses(), st.text(max_size=300)))
def test_any_text_is_parsed_or_rejected_as_invalid(text: str) -> None:
    """No other exception is raised, and an accepted reference is safe in a URL path."""
    try:
        reference = parse_reference(text)
    except InvalidReferenceError:
        return
    assert ".." not in reference.path
    assert not set(reference.path) & set("$%?#@: \n\0")


@settings(max_examples=30)
@given(
    st.sampled_from(["a", "a_", "a.", "a-", "a/", "_", ":", "@", "a__"]),
    st.sampled_from(["", "!", "_", ":x@"]),
)
def test_parsing_work_is_linear_in_text_length(unit: str, end: str) -> None:
    """Four times the text is about four times the work, counted in executed lines, not in seconds."""
    short, long = (_lines(unit * count + end) for count in (60 // len(unit), 240 // len(unit)))
    assert long <= 8 * short + 50


def _lines(text: str) -> int:
    count = 0

    def trace(frame: FrameType, event: str, argument: object) -> TraceFunction:
        nonlocal count
        count += event == "line"
        return trace

    previous = sys.gettrace()
    sys.settrace(trace)
    try:
        parse_reference(text)
    except InvalidReferenceError:
        pass
    finally:
        sys.settrace(previous)
    return count


def test_too_long_reference_is_rejected_before_parsing() -> None:
    """The regular expressions never get more than the length of the longest reference."""
    with pytest.raises(InvalidReferenceError, match=f"at most {MAX_LENGTH} characters"):
        parse_reference("a_" * 5000 + "!")
