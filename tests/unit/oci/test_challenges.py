"""Challenges of registries: where a login may be sent."""

from __future__ import annotations

import time

import pytest

from webhook.oci.challenges import MAX_CHALLENGE, ChallengeError, read_challenge
from webhook.oci.urls import read_url

HOSTS = ("swr.example.com", "images.example.com:8443")
REALM = 'realm="https://swr.example.com/token"'


def read(header: str, endpoint: str = "https://swr.example.com") -> tuple[str, tuple[tuple[str, str], ...]]:
    """Return the realm and the query for a repository."""
    at = read_url(endpoint)
    assert at is not None
    challenge = read_challenge(header, at, HOSTS)
    return challenge.realm.base_url + challenge.realm.path, challenge.query("shop/web")


SCOPE = ("scope", "repository:shop/web:pull")
USABLE = [
    (f'Bearer {REALM},service="dockyard"', (("service", "dockyard"), SCOPE)),
    (f'bearer {REALM}, service="a \\"b\\" c"', (("service", 'a "b" c'), SCOPE)),
    (f"Bearer {REALM}", (SCOPE,)),
    (f"Bearer {REALM} , service=dockyard", (("service", "dockyard"), SCOPE)),
    (f'Basic realm="other", Bearer {REALM}', (SCOPE,)),
    (f'Bearer {REALM}, Basic realm="other"', (SCOPE,)),
    (f'Negotiate, Bearer {REALM},service="s"', (("service", "s"), SCOPE)),
    (f'Bearer {REALM},service="s",scope="repository:victim/secret:pull,push"', (("service", "s"), SCOPE)),
    (f'Bearer {REALM},error="insufficient_scope"', (SCOPE,)),
]


@pytest.mark.parametrize(("header", "query"), USABLE, ids=[case[0] for case in USABLE])
def test_bearer_challenge_names_token_service(header: str, query: tuple[tuple[str, str], ...]) -> None:
    """The scope is always our own: the right to pull from one repository."""
    assert read(header) == ("https://swr.example.com/token", query)


def test_query_of_realm_stays() -> None:
    """A realm may have parameters of its own."""
    header = 'Bearer realm="https://swr.example.com/token?tenant=a%2Fb",service="s"'
    assert read(header)[1] == (("tenant", "a/b"), ("service", "s"), SCOPE)


def test_query_without_scope_is_a_login() -> None:
    """So does ``docker login`` ask."""
    at = read_url("https://swr.example.com")
    assert at is not None
    challenge = read_challenge(f'Bearer {REALM},service="s"', at, ())
    assert challenge.query(None) == (("service", "s"),)


OWN = [
    ("https://swr.example.com/t", "https://swr.example.com"),
    ("https://SWR.example.com:443/t", "https://swr.example.com"),
    ("https://images.example.com:8443/t", "https://10.0.0.1"),
    ("https://swr.example.com/t", "https://10.0.0.1"),
    ("http://127.0.0.1:5000/t", "http://127.0.0.1:5000"),
]


@pytest.mark.parametrize(("realm", "endpoint"), OWN, ids=[case[0] for case in OWN])
def test_realm_on_host_of_configuration_is_used(realm: str, endpoint: str) -> None:
    """The endpoint, or a name that the configuration gives the registry."""
    assert read(f'Bearer realm="{realm}"', endpoint)[0].lower() == realm.lower()


FOREIGN = [
    ("https://evil.example.com/t", "its realm for tokens is on another host, evil.example.com"),
    (
        "https://swr.example.com.evil.net/t",
        "its realm for tokens is on another host, swr.example.com.evil.net",
    ),
    ("https://swr.example.com:8443/t", "its realm for tokens is on another host, swr.example.com"),
    ("https://images.example.com/t", "its realm for tokens is on another host, images.example.com"),
    ("http://swr.example.com/t", "its realm for tokens is plain http"),
    ("https://swr.example.com@evil.net/t", "its realm for tokens is not a URL"),
    ("/token", "its realm for tokens is not a URL"),
    ("", "its realm for tokens is not a URL"),
]


@pytest.mark.parametrize(("realm", "problem"), FOREIGN, ids=[case[0] for case in FOREIGN])
def test_realm_elsewhere_is_refused(realm: str, problem: str) -> None:
    """The login would be sent there."""
    with pytest.raises(ChallengeError) as caught:
        read(f'Bearer realm="{realm}",service="s"')
    assert str(caught.value) == problem


def test_realm_on_another_loopback_port_is_refused() -> None:
    """Tests have no exception that could be one of the product."""
    with pytest.raises(ChallengeError, match="on another host"):
        read('Bearer realm="http://127.0.0.1:5001/t"', "http://127.0.0.1:5000")


OTHER = [
    "",
    'Basic realm="https://swr.example.com/token"',
    'Digest realm="x", nonce="y"',
    'Bearer realm="https://swr.example.com/token",realm="https://swr.example.com/other"',
    f"Bearer {REALM}," + "x" * MAX_CHALLENGE,
    '"Bearer"',
    ",,,",
]


@pytest.mark.parametrize("header", OTHER, ids=lambda header: header[:40])
def test_other_header_does_not_ask_for_bearer_token(header: str) -> None:
    """An ambiguous challenge is none."""
    with pytest.raises(ChallengeError, match="it does not ask for a bearer token"):
        read(header)


@pytest.mark.parametrize(
    "header", ["Bearer " + 'a="' * 2000, "Bearer " + "a=b," * 2000, 'Bearer x="' + "\\" * 8000]
)
def test_hostile_header_is_read_in_linear_time(header: str) -> None:
    """The limit of a second is a thousand times what it takes."""
    started = time.process_time()
    with pytest.raises(ChallengeError):
        read(header)
    assert time.process_time() - started < 1.0
