"""Client of a registry: what each answer means, and which requests it takes."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

import pytest

from tests.support.fakes import free
from tests.support.registries import (
    CHALLENGE,
    Answer,
    ScriptedRegistry,
    guarded_login,
    refuse,
    respond,
    scripted_client,
)
from webhook.deadlines import Deadline
from webhook.errors import (
    Fault,
    LookupTimeout,
    MalformedAnswer,
    RegistryUnavailable,
    TrustLookupError,
    WrongContent,
)
from webhook.oci.answers import compute_digest
from webhook.oci.blobs import MAX_BLOB
from webhook.oci.client import OciClient
from webhook.oci.manifests import ACCEPT, OCI_INDEX
from webhook.signatures.limits import MAX_MANIFEST

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONTENT = b'{"schemaVersion":2}'
DIGEST = compute_digest(CONTENT)
OTHER = "sha256:" + "b" * 64
IMAGE = "shop/web"
TAG = "GET /v2/shop/web/manifests/1"
HEAD = "HEAD /v2/shop/web/manifests/1"
BY_DIGEST = f"/v2/shop/web/manifests/{DIGEST}"
FOUND = respond(200, CONTENT, content_type=OCI_MANIFEST, docker_content_digest=DIGEST)
BARE = respond(200, CONTENT, content_type=f"{OCI_MANIFEST}; charset=utf-8")
STATED = respond(200, b"", content_type=OCI_MANIFEST, docker_content_digest=DIGEST)
MISSING = refuse(404, "MANIFEST_UNKNOWN")
HTML = respond(404, b"<html>", content_type="text/html")
PORTAL = respond(200, b"<html>", content_type="text/html")
UNAUTHORIZED = refuse(401, "UNAUTHORIZED", www_authenticate=CHALLENGE)
DENIED = refuse(403, "DENIED")

Read = Callable[[OciClient], object]


def resolve(client: OciClient) -> object:
    return client.resolve_tag(IMAGE, "1", Deadline.after(5), free)


def has(client: OciClient) -> object:
    return client.has_manifest(IMAGE, DIGEST, Deadline.after(5), free)


def manifest(client: OciClient, reference: str = "1") -> object:
    found = client.get_manifest(IMAGE, reference, Deadline.after(5), free)
    return found if found is None else (found.content, found.media_type, found.digest)


def by_digest(client: OciClient) -> object:
    return manifest(client, DIGEST)


def referrers(client: OciClient) -> object:
    return client.list_referrers(IMAGE, OTHER, Deadline.after(5), free)


def blob(client: OciClient, size: int = len(CONTENT)) -> object:
    return client.get_blob(IMAGE, DIGEST, size, Deadline.after(5), free)


def ask(read: Read, answers: dict[str, Answer | Sequence[Answer]]) -> tuple[object, list[str]]:
    """Return the result, or a description of the failure, and the requests after those for the token."""
    transport = ScriptedRegistry(answers)
    client = scripted_client(transport, guarded_login())
    client.has_manifest("shop/warm", OTHER, Deadline.after(5), free)
    transport.take()
    try:
        result = read(client)
    except TrustLookupError as error:
        result = f"{error.reason}, {error.fault}: {error.detail}"
    return result, [name for name in transport.take() if name != "token shop/web"]


RESOLVED: list[tuple[dict[str, Answer | Sequence[Answer]], object, list[str]]] = [
    ({HEAD: STATED}, DIGEST, [HEAD]),
    ({HEAD: respond(200), TAG: FOUND}, DIGEST, [HEAD, TAG]),
    ({HEAD: respond(200, docker_content_digest="sha512:" + "a" * 128), TAG: BARE}, DIGEST, [HEAD, TAG]),
    ({HEAD: respond(405), TAG: BARE}, DIGEST, [HEAD, TAG]),
    ({HEAD: respond(404), TAG: MISSING}, None, [HEAD, TAG]),
    (
        {HEAD: respond(404), TAG: HTML},
        "unavailable, image: the registry answered 404 without an error code of a registry",
        [HEAD, TAG, "GET /v2/"],
    ),
    (
        {HEAD: respond(200), TAG: PORTAL},
        "unavailable, image: the registry answered 200 with text/html to a manifest",
        [HEAD, TAG, "GET /v2/"],
    ),
    ({HEAD: respond(429)}, "throttled, registry: the registry answered 429", [HEAD]),
]


@pytest.mark.parametrize(
    ("answers", "result", "requests"), RESOLVED, ids=[str(case[1])[:60] for case in RESOLVED]
)
def test_tag_is_resolved(
    answers: dict[str, Answer | Sequence[Answer]], result: object, requests: list[str]
) -> None:
    """By one request without a body if the registry states the digest, and otherwise from the manifest.

    An answer to ``HEAD`` has no error code, which shows that a 404 is the registry's.
    """
    assert ask(resolve, answers) == (result, requests)


EXISTING: list[tuple[dict[str, Answer | Sequence[Answer]], object]] = [
    ({f"HEAD {BY_DIGEST}": STATED}, True),
    ({f"HEAD {BY_DIGEST}": respond(200), f"GET {BY_DIGEST}": BARE}, True),
    ({f"HEAD {BY_DIGEST}": respond(404), f"GET {BY_DIGEST}": MISSING}, False),
    (
        {
            f"HEAD {BY_DIGEST}": respond(200, docker_content_digest=OTHER),
            f"GET {BY_DIGEST}": respond(200, b"{}", content_type=OCI_MANIFEST, docker_content_digest=OTHER),
        },
        "malformed, image: the registry answered with another manifest than that of the digest",
    ),
]


@pytest.mark.parametrize(("answers", "result"), EXISTING, ids=[str(case[1])[:50] for case in EXISTING])
def test_digest_exists_if_registry_has_its_manifest(
    answers: dict[str, Answer | Sequence[Answer]], result: object
) -> None:
    """A statement about another digest is verified, and then refused."""
    assert ask(has, answers)[0] == result


MANIFESTS: list[tuple[Read, Answer, object]] = [
    (manifest, FOUND, (CONTENT, OCI_MANIFEST, DIGEST)),
    (manifest, BARE, (CONTENT, OCI_MANIFEST, DIGEST)),
    (manifest, MISSING, None),
    (
        manifest,
        respond(200, b"{}", content_type=OCI_MANIFEST, docker_content_digest=DIGEST),
        "malformed, image: the manifest of the registry does not have the digest that it states",
    ),
    (
        manifest,
        MalformedAnswer(f"the answer is larger than {MAX_MANIFEST} bytes"),
        "malformed, image: the answer is larger than 1048576 bytes",
    ),
    (
        manifest,
        respond(200, CONTENT),
        "unavailable, image: the registry answered 200 with no media type to a manifest",
    ),
    (
        manifest,
        respond(307, location="https://elsewhere/"),
        "unavailable, image: the registry answered 307, a redirect that is not followed",
    ),
    (by_digest, FOUND, (CONTENT, OCI_MANIFEST, DIGEST)),
    (
        by_digest,
        respond(200, b"{}", content_type=OCI_MANIFEST, docker_content_digest=DIGEST),
        "malformed, image: the registry answered with another manifest than that of the digest",
    ),
]


@pytest.mark.parametrize(
    ("read", "answer", "result"), MANIFESTS, ids=[str(case[2])[:60] for case in MANIFESTS]
)
def test_manifest_is_compared_with_its_digest(read: Read, answer: Answer, result: object) -> None:
    """Nothing that a registry states about content is believed."""
    assert ask(read, {TAG: answer, f"GET {BY_DIGEST}": answer})[0] == result


INDEX = json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []}).encode()
LISTED = respond(200, INDEX, content_type=OCI_INDEX)
API = f"GET /v2/shop/web/referrers/{OTHER}"
FALLBACK = f"GET /v2/shop/web/manifests/{OTHER.replace(':', '-')}"
NO_API: list[Answer] = [
    MISSING,
    respond(404, b"404 page not found", content_type="text/plain"),
    refuse(400, "UNSUPPORTED"),
    respond(405),
    respond(406),
    respond(200, INDEX, content_type="application/json"),
    PORTAL,
]


def test_referrers_are_those_of_the_api() -> None:
    """One request."""
    assert ask(referrers, {API: LISTED}) == (INDEX, [API])


@pytest.mark.parametrize("answer", NO_API, ids=lambda answer: str(answer.status))
def test_registry_without_referrers_api_has_fallback_tag(answer: Answer) -> None:
    """As go-containerregistry, and so cosign, reads it."""
    assert ask(referrers, {API: answer, FALLBACK: LISTED}) == (INDEX, [API, FALLBACK])


ORDINARY = [
    (MISSING, None),
    (respond(200, b"{}", content_type=OCI_MANIFEST), None),
    (respond(200, b"{}", content_type="application/vnd.docker.distribution.manifest.list.v2+json"), None),
    (HTML, "unavailable, image: the registry answered 404 without an error code of a registry"),
]


@pytest.mark.parametrize(("answer", "result"), ORDINARY, ids=[str(case[1]) for case in ORDINARY])
def test_other_manifest_under_fallback_tag_counts_as_none(answer: Answer, result: object) -> None:
    """A repository may have an ordinary tag of that name."""
    assert ask(referrers, {API: MISSING, FALLBACK: answer})[0] == result


@pytest.mark.parametrize(
    ("answer", "result"),
    [
        (respond(503), "unavailable, image: the registry answered 503"),
        (DENIED, "forbidden, image: the registry answered 403 DENIED to a new token for shop/web"),
        (respond(429), "throttled, registry: the registry answered 429"),
        (respond(302), "unavailable, image: the registry answered 302, a redirect that is not followed"),
    ],
    ids=["503", "403", "429", "302"],
)
def test_failure_of_referrers_api_is_not_none(answer: Answer, result: str) -> None:
    """Otherwise an outage would make signed images unsigned."""
    assert ask(referrers, {API: answer, FALLBACK: LISTED})[0] == result


BLOB = f"GET /v2/shop/web/blobs/{DIGEST}"
BLOBS: list[tuple[Answer, object]] = [
    (respond(200, CONTENT), CONTENT),
    (refuse(404, "BLOB_UNKNOWN"), None),
    (HTML, "unavailable, image: the registry answered 404 without an error code of a registry"),
    (respond(200, CONTENT + b" "), "malformed, image: a blob does not have its digest"),
    (respond(200, CONTENT[:-1]), "malformed, image: a blob does not have its digest"),
    (PORTAL, "malformed, image: a blob does not have its digest"),
    (respond(200, b"x" * len(CONTENT)), "malformed, image: a blob does not have its digest"),
    (respond(206, CONTENT), "unavailable, image: the registry answered 206"),
    (
        respond(307, location="http://obs.example.com/x"),
        "unavailable, image: the registry redirected a blob to plain http on obs.example.com",
    ),
]


@pytest.mark.parametrize(("answer", "result"), BLOBS, ids=[str(case[1])[:60] for case in BLOBS])
def test_blob_has_stated_size_and_digest(answer: Answer, result: object) -> None:
    """A blob is what a manifest describes, or nothing."""
    assert ask(blob, {BLOB: answer})[0] == result


WRONG: dict[str, tuple[Read, Answer]] = {
    "page instead of a blob": (blob, PORTAL),
    "blob cut short": (blob, respond(200, CONTENT[:-1])),
    "answer larger than a blob": (blob, MalformedAnswer("the answer is larger than 65536 bytes")),
    "compressed answer": (blob, WrongContent("the answer is compressed")),
    "manifest of another digest": (by_digest, respond(200, b"{}", content_type=OCI_MANIFEST)),
    "manifest that is not what its answer states": (
        manifest,
        respond(200, b"{}", content_type=OCI_MANIFEST, docker_content_digest=DIGEST),
    ),
}


@pytest.mark.parametrize(("read", "answer"), WRONG.values(), ids=WRONG)
def test_bytes_that_nobody_can_have_pushed_are_a_failure_of_the_store(read: Read, answer: Answer) -> None:
    """They say nothing about signatures, so that they must not revoke trust."""
    names: dict[Read, str] = {blob: BLOB, by_digest: f"GET {BY_DIGEST}", manifest: TAG}
    client = scripted_client(ScriptedRegistry({names[read]: answer}), guarded_login())
    with pytest.raises(WrongContent) as caught:
        read(client)
    assert caught.value.fault is Fault.IMAGE


def test_size_that_a_manifest_states_wrongly_is_no_failure_of_the_store() -> None:
    """Whoever has written the manifest is the cause, so that the result is known."""
    for size in (len(CONTENT) - 1, len(CONTENT) + 1):
        client = scripted_client(ScriptedRegistry({BLOB: respond(200, CONTENT)}), guarded_login())
        with pytest.raises(MalformedAnswer) as caught:
            blob(client, size)
        assert not isinstance(caught.value, WrongContent)
        assert caught.value.detail == f"a blob does not have the {size} bytes that its manifest states"


STORED = "GET https://obs.example.com/b?Signature=a%2Fb"
REDIRECT = respond(307, location="https://obs.example.com/b?Signature=a%2Fb")
REDIRECTED: list[tuple[Answer, object]] = [
    (respond(200, CONTENT), CONTENT),
    (respond(200, b"x" * len(CONTENT)), "malformed, image: a blob does not have its digest"),
    (
        REDIRECT,
        "unavailable, image: the registry redirected a blob to obs.example.com, which redirected it once more",
    ),
    (
        respond(403),
        "unavailable, image: the registry redirected a blob to obs.example.com, which answered 403",
    ),
    (
        LookupTimeout("late", fault=Fault.REGISTRY),
        "timeout, image: the registry redirected a blob to obs.example.com, which did not answer in time",
    ),
    (
        RegistryUnavailable("obs.example.com: no connection", was_sent=False),
        "unavailable, registry: the registry redirected a blob to obs.example.com: no connection",
    ),
]


@pytest.mark.parametrize(("answer", "result"), REDIRECTED, ids=[str(case[1])[:80] for case in REDIRECTED])
def test_redirected_blob_is_verified_as_well(answer: Answer, result: object) -> None:
    """Whoever sends the bytes."""
    assert ask(blob, {BLOB: REDIRECT, STORED: answer}) == (result, [BLOB, STORED])


def test_object_storage_gets_no_credentials() -> None:
    """The token and the login are for the registry."""
    transport = ScriptedRegistry({BLOB: REDIRECT, STORED: respond(200, CONTENT)})
    assert blob(scripted_client(transport, guarded_login())) == CONTENT
    sent = {transport.name(request): dict(request.headers) for request in transport.requests}
    assert sent.pop(STORED) == {}
    assert sent.pop("GET /v2/") == {}
    assert all("Authorization" in headers for headers in sent.values())


@pytest.mark.parametrize("size", [-1, MAX_BLOB + 1])
def test_blob_of_impossible_size_is_not_requested(size: int) -> None:
    """A manifest may state any."""
    result, requests = ask(lambda client: blob(client, size), {})
    assert result == f"malformed, image: a blob of {size} bytes is not read"
    assert requests == []


def test_request_has_token_media_types_and_limits() -> None:
    """Docker's types, too, because cosign may store signatures so."""
    transport = ScriptedRegistry({TAG: FOUND, BLOB: respond(200, CONTENT), API: LISTED})
    client = scripted_client(transport)
    for read in (manifest, blob, referrers):
        read(client)
    read_manifest, read_blob, read_list = transport.requests[2:]
    assert dict(read_manifest.headers) == {"Accept": ACCEPT, "Authorization": "Bearer t2"}
    assert dict(read_list.headers) == {"Accept": OCI_INDEX, "Authorization": "Bearer t2"}
    assert (read_manifest.max_answer, read_list.max_answer) == (MAX_MANIFEST, MAX_MANIFEST)
    assert read_blob.max_answer == 64 * 1024
