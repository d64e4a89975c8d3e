"""Redirects of blobs: where they may lead, and whose fault a failure there is."""

from __future__ import annotations

import pytest

from tests.support.registries import ENDPOINT, respond
from webhook.errors import (
    Fault,
    LookupTimeout,
    MalformedAnswer,
    RegistryUnavailable,
    Throttled,
    TrustLookupError,
)
from webhook.http_client.messages import HttpRequest, HttpResponse
from webhook.oci.blobs import attribute, follow, read_redirected
from webhook.oci.urls import read_url

BLOB = HttpRequest(
    "GET", ENDPOINT, "/v2/shop/web/blobs/sha256:x", headers={"Authorization": "Bearer t"}, max_answer=500
)
STORED = HttpRequest("GET", "https://obs.example.com", "/b?Signature=hunter2")


def go(location: str, endpoint: str = ENDPOINT) -> HttpRequest:
    """Follow a redirect."""
    at = read_url(endpoint)
    assert at is not None
    return follow(respond(307, location=location), BLOB, at)


TARGETS = [
    ("https://obs.example.com/bucket/x?A=a%2Fb&B=c%3D", "https://obs.example.com/bucket/x?A=a%2Fb&B=c%3D"),
    ("https://obs.example.com", "https://obs.example.com/"),
    ("/storage/x", f"{ENDPOINT}/storage/x"),
]


@pytest.mark.parametrize(("location", "url"), TARGETS, ids=[case[0] for case in TARGETS])
def test_target_gets_same_query_and_no_headers(location: str, url: str) -> None:
    """A signature of object storage covers the query; the token is for the registry only."""
    target = go(location)
    assert target.base_url + target.path == url
    assert (target.method, target.query, dict(target.headers), target.max_answer) == ("GET", (), {}, 500)


NOT_USABLE = "the registry answered 307 to a blob without a usable location"
REFUSED = [
    ("", NOT_USABLE),
    ("https://", NOT_USABLE),
    ("//obs.example.com/x", NOT_USABLE),
    ("sha256:y", NOT_USABLE),
    ("/\\evil.example.com/x", NOT_USABLE),
    ("https://user:hunter2@obs.example.com/", NOT_USABLE),
    ("ftp://obs.example.com/", NOT_USABLE),
    ("https://obs.example.com/\r\nHost: evil", NOT_USABLE),
    ("http://obs.example.com/x", "the registry redirected a blob to plain http on obs.example.com"),
    ("http://127.0.0.1:2375/x", "the registry redirected a blob to plain http on 127.0.0.1"),
    (
        "http://swr.cn-north-4.myhuaweicloud.com/x",
        "the registry redirected a blob to plain http on swr.cn-north-4.myhuaweicloud.com",
    ),
]


@pytest.mark.parametrize(("location", "problem"), REFUSED, ids=[case[0] for case in REFUSED])
def test_other_location_is_not_called(location: str, problem: str) -> None:
    """Nothing of a location but its host is quoted, because it may be signed."""
    with pytest.raises(RegistryUnavailable) as caught:
        go(location)
    assert (str(caught.value), caught.value.fault) == (problem, Fault.IMAGE)


def test_plain_http_is_followed_between_loopback_addresses() -> None:
    """For tests."""
    assert go("http://127.0.0.1:5001/x", "http://127.0.0.1:5000").base_url == "http://127.0.0.1:5001"


def test_bytes_of_storage_are_returned() -> None:
    """They are compared with the digest by the caller."""
    assert read_redirected(respond(200, b"blob"), STORED) == b"blob"


ANSWERS = [
    (
        respond(302, location="https://x/"),
        "the registry redirected a blob to obs.example.com, which redirected it once more",
    ),
    (
        respond(403, b"<Error>AccessDenied hunter2"),
        "the registry redirected a blob to obs.example.com, which answered 403",
    ),
    (respond(404), "the registry redirected a blob to obs.example.com, which answered 404"),
    (respond(206, b"bl"), "the registry redirected a blob to obs.example.com, which answered 206"),
    (respond(503, retry_after="9"), "the registry redirected a blob to obs.example.com, which answered 503"),
]


@pytest.mark.parametrize(("response", "problem"), ANSWERS, ids=[str(case[0].status) for case in ANSWERS])
def test_other_answer_of_storage_is_image_fault(response: HttpResponse, problem: str) -> None:
    """The registry works, and the author chose the blob."""
    with pytest.raises(RegistryUnavailable) as caught:
        read_redirected(response, STORED)
    assert (str(caught.value), caught.value.fault) == (problem, Fault.IMAGE)
    assert caught.value.retry_after == (9.0 if response.status == 503 else None)


BROKEN = RegistryUnavailable("obs.example.com: the connection broke")
UNSENT = RegistryUnavailable("obs.example.com: no connection: Connection refused", was_sent=False)
FULL = RegistryUnavailable("obs.example.com: no descriptor", fault=Fault.LOCAL, was_sent=False)
FAILURES: list[tuple[TrustLookupError, str]] = [
    (
        UNSENT,
        "registry: the registry redirected a blob to obs.example.com: no connection: Connection refused",
    ),
    (BROKEN, "image: the registry redirected a blob to obs.example.com: the connection broke"),
    (FULL, "local: the registry redirected a blob to obs.example.com: no descriptor"),
    (
        LookupTimeout("late", fault=Fault.REGISTRY),
        "image: the registry redirected a blob to obs.example.com, which did not answer in time",
    ),
    (LookupTimeout("too little time", fault=Fault.LOCAL), "local: too little time"),
    (Throttled("our own rate limit", fault=Fault.LOCAL), "local: our own rate limit"),
    (MalformedAnswer("larger"), "image: larger"),
]


@pytest.mark.parametrize(("error", "said"), FAILURES, ids=[case[1][:40] for case in FAILURES])
def test_failure_is_registry_fault_only_before_request(error: TrustLookupError, said: str) -> None:
    """Before the request is sent the image cannot matter, and afterwards its author may be the cause."""
    failure = attribute(error, STORED)
    assert type(failure) is type(error)
    assert f"{failure.fault}: {failure.detail}" == said
