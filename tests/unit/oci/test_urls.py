"""URLs that a registry sends: which can be called."""

from __future__ import annotations

import pytest

from webhook.oci.urls import MAX_URL, is_as_safe, read_url

READABLE = [
    (
        "https://Registry.Example.com",
        ("https", "registry.example.com", 443),
        "https://registry.example.com",
        "/",
    ),
    ("https://a.example:8443/t?x=1", ("https", "a.example", 8443), "https://a.example:8443", "/t"),
    ("https://a.example:443/t", ("https", "a.example", 443), "https://a.example:443", "/t"),
    ("http://127.0.0.1:5000/v2/", ("http", "127.0.0.1", 5000), "http://127.0.0.1:5000", "/v2/"),
    ("https://[::1]:5000/v2/", ("https", "::1", 5000), "https://[::1]:5000", "/v2/"),
]


@pytest.mark.parametrize(("text", "origin", "base_url", "path"), READABLE, ids=[case[0] for case in READABLE])
def test_url_is_split(text: str, origin: tuple[str, str, int], base_url: str, path: str) -> None:
    """The origin has the port, so that equal servers are equal."""
    url = read_url(text)
    assert url is not None
    assert (url.origin, url.base_url, url.path) == (origin, base_url, path)


UNREADABLE = [
    "",
    "/token",
    "//a.example/token",
    "ftp://a.example/",
    "https://",
    "https:///token",
    "https://user:hunter2@a.example/",
    "https://user@a.example/",
    "https://a.example/#fragment",
    "https://a.example:0/",
    "https://a.example:99999/",
    "https://a.example:port/",
    "https://a.example/with space",
    "https://a.example/\r\nHost: evil",
    "https://a.example\\@evil.example/",
    "https://a.example\\evil",
    "https://a.example/\tx",
    "https://a.example/\x7f",
    "https://exämple.com/",
    "https://[::1/",
    f"https://{'a' * 254}/",
    "https://a.example/" + "x" * MAX_URL,
    "javascript:alert(1)",
    "file:///etc/passwd",
]


@pytest.mark.parametrize("text", UNREADABLE, ids=lambda text: text[:30])
def test_other_text_is_not_a_url(text: str) -> None:
    """Among them are URLs that programs read differently, and those with a secret."""
    assert read_url(text) is None


def test_representation_omits_query() -> None:
    """The URL of a blob in object storage is signed: whoever has it can read the blob."""
    assert repr(read_url("https://obs.example.com/b?Signature=hunter2")) == "Url('https://obs.example.com')"


SAFE = [
    ("https://obs.example.com/", "https://registry.example.com/", True),
    ("https://obs.example.com/", "http://127.0.0.1:5000/", True),
    ("http://127.0.0.1:5001/", "http://127.0.0.1:5000/", True),
    ("http://localhost:5001/", "http://127.0.0.1:5000/", True),
    ("http://[::1]:5001/", "http://127.0.0.2:5000/", True),
    ("http://obs.example.com/", "https://registry.example.com/", False),
    ("http://obs.example.com/", "http://127.0.0.1:5000/", False),
    ("http://127.0.0.1:5001/", "https://registry.example.com/", False),
    ("http://127.0.0.1:5001/", "https://127.0.0.1:5000/", False),
    ("http://127.0.0.1.example.com/", "http://127.0.0.1:5000/", False),
]


@pytest.mark.parametrize(("target", "endpoint", "is_safe"), SAFE, ids=[f"{c[0]} {c[1]}" for c in SAFE])
def test_plain_http_is_only_for_loopback(target: str, endpoint: str, is_safe: bool) -> None:
    """Both must be there: a registry that is called by https never leads to http."""
    to, at = read_url(target), read_url(endpoint)
    assert to is not None
    assert at is not None
    assert is_as_safe(to, at) is is_safe
