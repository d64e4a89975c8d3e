"""Hostile and broken registries over real connections: a clear error each, and nothing is stuck."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.emulator.registry import TOKEN_PATH
from tests.emulator.signing import generate_key
from tests.support.fakes import free
from tests.support.registry_environment import IMAGE, RegistryEnvironment
from webhook.deadlines import Deadline
from webhook.errors import TrustLookupError
from webhook.signatures.limits import MAX_MANIFEST

CHUNK = 64 * 1024
"""Bytes that a transport reads at a time."""

MANIFEST, BLOB, REFERRERS, TOKEN = "/manifests/", "/blobs/", "/referrers/", TOKEN_PATH
TOO_LARGE = "the answer is larger than"
HTML = {"status": 404, "body": "<html>not here</html>", "headers": {"Content-Type": "text/html"}}
NO_CODE = "without an error code of a registry"
TOKEN_OF_IMAGE = "signed%3Apull"
TOKEN_ODD = "the token service answered 200"
UNDOCUMENTED = "the token service does not answer as documented"

Case = tuple[str, str, dict[str, Any], str, str]
CASES: dict[str, Case] = {
    "endless manifest": (
        "manifest",
        MANIFEST,
        {"kind": "huge"},
        "malformed, image",
        f"{TOO_LARGE} 1048576 bytes",
    ),
    "endless listing": (
        "referrers",
        REFERRERS,
        {"kind": "huge"},
        "malformed, image",
        f"{TOO_LARGE} 1048576 bytes",
    ),
    "endless blob": ("blob", BLOB, {"kind": "huge"}, "malformed, image", f"{TOO_LARGE} 65536 bytes"),
    "endless token": (
        "manifest",
        TOKEN_OF_IMAGE,
        {"kind": "huge"},
        "unavailable, image",
        f"{UNDOCUMENTED}: {TOO_LARGE} 65536 bytes",
    ),
    "bomb": (
        "manifest",
        MANIFEST,
        {"kind": "gzip"},
        "malformed, image",
        "the answer is compressed although the request does not allow it",
    ),
    "bomb of token": (
        "manifest",
        TOKEN_OF_IMAGE,
        {"kind": "gzip"},
        "unavailable, image",
        f"{UNDOCUMENTED}: the answer is compressed although the request does not allow it",
    ),
    "no HTTP": (
        "manifest",
        MANIFEST,
        {"kind": "garbage"},
        "unavailable, image",
        "HOST: the connection broke",
    ),
    "reset": ("manifest", MANIFEST, {"kind": "reset"}, "unavailable, image", "HOST: the connection broke"),
    "cut": ("manifest", MANIFEST, {"kind": "cut"}, "unavailable, image", "HOST: the connection broke"),
    "cut token": (
        "manifest",
        TOKEN,
        {"kind": "cut", "times": 1},
        "unavailable, image",
        "HOST: the connection broke",
    ),
    "404 HTML": (
        "manifest",
        MANIFEST,
        {"kind": "status", **HTML},
        "unavailable, image",
        f"the registry answered 404 {NO_CODE}",
    ),
    "404 HTML of a tag": (
        "tag",
        MANIFEST,
        {"kind": "status", **HTML},
        "unavailable, image",
        f"the registry answered 404 {NO_CODE}",
    ),
    "404 HTML of both lists": (
        "referrers",
        IMAGE,
        {"kind": "status", **HTML},
        "unavailable, image",
        f"the registry answered 404 {NO_CODE}",
    ),
    "404 HTML of token service": (
        "manifest",
        TOKEN_OF_IMAGE,
        {"kind": "status", **HTML},
        "unavailable, image",
        f"the token service answered 404 {NO_CODE}",
    ),
    "portal": (
        "manifest",
        MANIFEST,
        {"kind": "status", "body": "<html>", "headers": {"Content-Type": "text/html"}},
        "unavailable, image",
        "the registry answered 200 with text/html to a manifest",
    ),
    "redirected manifest": (
        "manifest",
        MANIFEST,
        {"kind": "redirect", "body": "http://127.0.0.1:1/x"},
        "unavailable, image",
        "the registry answered 302, a redirect that is not followed",
    ),
    "redirected token": (
        "manifest",
        TOKEN_OF_IMAGE,
        {"kind": "redirect", "body": "http://127.0.0.1:1/x"},
        "unavailable, image",
        "the token service answered 302, a redirect that is not followed",
    ),
    "redirect to itself": (
        "blob",
        BLOB,
        {"kind": "redirect", "body": f"/v2/{IMAGE}/blobs/x"},
        "unavailable, image",
        "the registry redirected a blob to HOST, which redirected it once more",
    ),
    "redirect without location": (
        "blob",
        BLOB,
        {"kind": "redirect"},
        "unavailable, image",
        "the registry answered 302 to a blob without a usable location",
    ),
    "redirect to http elsewhere": (
        "blob",
        BLOB,
        {"kind": "redirect", "body": "http://obs.example.com/x"},
        "unavailable, image",
        "the registry redirected a blob to plain http on obs.example.com",
    ),
    "HTML token": (
        "manifest",
        TOKEN_OF_IMAGE,
        {"kind": "status", "body": "<html>"},
        "unavailable, image",
        f"{TOKEN_ODD} without a JSON object",
    ),
    "token without token": (
        "manifest",
        TOKEN_OF_IMAGE,
        {"kind": "status", "body": "{}"},
        "unavailable, image",
        f"{TOKEN_ODD} without a token",
    ),
    "token with line break": (
        "manifest",
        TOKEN_OF_IMAGE,
        {"kind": "status", "body": '{"token": "a\\r\\nHost: b"}'},
        "unavailable, image",
        f"{TOKEN_ODD} without a token",
    ),
    "negative life": (
        "manifest",
        TOKEN_OF_IMAGE,
        {"kind": "status", "body": '{"token": "t", "expires_in": -1}'},
        "unavailable, image",
        f"{TOKEN_ODD} with an expires_in that is not a lifetime",
    ),
    "throttled": (
        "manifest",
        MANIFEST,
        {"kind": "status", "status": 429, "headers": {"Retry-After": "9"}},
        "throttled, registry",
        "the registry answered 429",
    ),
    "token throttled": (
        "manifest",
        TOKEN,
        {"kind": "status", "status": 429},
        "throttled, registry",
        "the token service answered 429",
    ),
    "503 for the image": (
        "manifest",
        MANIFEST,
        {"kind": "status", "status": 503},
        "unavailable, image",
        "the registry answered 503",
    ),
    "503 for all": (
        "manifest",
        "/v2/",
        {"kind": "status", "status": 503},
        "unavailable, registry",
        "the registry answered 503 to GET /v2/: is registryEndpoint right?",
    ),
    "503 of token service for the image": (
        "manifest",
        TOKEN_OF_IMAGE,
        {"kind": "status", "status": 503},
        "unavailable, image",
        "the token service answered 503",
    ),
    "503 of token service for all": (
        "manifest",
        TOKEN,
        {"kind": "status", "status": 503},
        "unavailable, registry",
        "the token service answered 503",
    ),
}


@pytest.mark.parametrize(("what", "match", "fault", "reason", "detail"), CASES.values(), ids=CASES)
def test_bad_answer_is_a_clear_error_and_nothing_is_stuck(
    environment: RegistryEnvironment, what: str, match: str, fault: dict[str, Any], reason: str, detail: str
) -> None:
    """When the registry works again, the same client reads the same thing."""
    environment.emulator.break_with(match=match, **fault)
    said = environment.read(what)
    host = environment.emulator.url.partition("//")[2]
    assert str(said).replace(host, "HOST") == f"{reason}: {detail}"
    environment.emulator.mend()
    result = environment.read(what)
    assert result is not None
    assert not isinstance(result, str) or what == "tag"


LIMITS = [
    ("manifest", MANIFEST, MAX_MANIFEST),
    ("referrers", REFERRERS, MAX_MANIFEST),
    ("blob", BLOB, CHUNK),
    ("manifest", TOKEN_OF_IMAGE, CHUNK),
]


@pytest.mark.parametrize(("what", "match", "limit"), LIMITS, ids=[f"{case[0]} {case[1]}" for case in LIMITS])
def test_endless_answer_is_read_up_to_its_limit(
    environment: RegistryEnvironment, what: str, match: str, limit: int
) -> None:
    """The bytes are counted while they arrive: a hundred MiB are never in memory."""
    environment.emulator.break_with("huge", match=match)
    environment.read(what)
    received = environment.transport.received(environment.emulator.url)
    assert limit < received <= limit + CHUNK + 4096


def test_large_manifest_with_its_size_is_read_up_to_the_limit(environment: RegistryEnvironment) -> None:
    """Nor does the stated size matter: nothing is allocated for it."""
    media_type = "application/vnd.oci.image.manifest.v1+json"
    environment.emulator.state.put_manifest(IMAGE, "1", media_type, b" " * 2**24)
    assert environment.read("manifest") == "malformed, image: the answer is larger than 1048576 bytes"
    assert environment.transport.received(environment.emulator.url) <= MAX_MANIFEST + CHUNK + 4096


def lie_about_digest(environment: RegistryEnvironment) -> None:
    environment.emulator.state.put_blob(IMAGE, b"another", environment.blob)


def lie_about_size(environment: RegistryEnvironment) -> None:
    environment.emulator.state.put_blob(IMAGE, b"longer than 7", environment.blob)


@pytest.mark.parametrize("redirects", [False, True], ids=["direct", "redirected"])
@pytest.mark.parametrize(
    ("lie", "detail"),
    [
        (lie_about_digest, "a blob does not have its digest"),
        (lie_about_size, "a blob does not have its digest"),
    ],
)
def test_other_blob_is_refused(
    environment: RegistryEnvironment, lie: Callable[[RegistryEnvironment], None], detail: str, redirects: bool
) -> None:
    """Whoever sends it."""
    if redirects:
        environment.redirect()
    lie(environment)
    assert environment.read("blob") == f"malformed, image: {detail}"


def test_other_manifest_is_refused(environment: RegistryEnvironment) -> None:
    """A registry that answers with another manifest than that of the digest."""
    environment.emulator.state.put_manifest(IMAGE, environment.digest, "application/json", b"{}")
    with pytest.raises(TrustLookupError) as caught:
        environment.client.get_manifest(IMAGE, environment.digest, Deadline.after(5), free)
    assert str(caught.value) == "the registry answered with another manifest than that of the digest"


def test_referrers_of_both_kinds_of_registries(environment: RegistryEnvironment) -> None:
    """With the referrers API and without it, the same bundle is listed."""
    state, key = environment.emulator.state, generate_key()
    bundle = state.sign_bundle(IMAGE, environment.digest, key)
    listed = environment.read("referrers")
    assert isinstance(listed, bytes)
    assert [entry["digest"] for entry in json.loads(listed)["manifests"]] == [bundle]
    state.registry.has_referrers_api = False
    assert environment.read("referrers") is None
    second = state.sign_bundle(IMAGE, environment.digest, key)
    listed = environment.read("referrers")
    assert isinstance(listed, bytes)
    assert {entry["digest"] for entry in json.loads(listed)["manifests"]} == {bundle, second}
