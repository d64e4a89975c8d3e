"""Client of a registry: refused tokens, failures, and what probes and the doctor see."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from tests.support.fakes import free
from tests.support.registries import (
    CHALLENGE,
    OPEN,
    Answer,
    ScriptedRegistry,
    grant,
    guarded_login,
    refuse,
    registry_at,
    respond,
    scripted_client,
)
from webhook.deadlines import Deadline
from webhook.errors import InvalidReferenceError, RegistryUnavailable, TrustLookupError
from webhook.oci.answers import compute_digest
from webhook.oci.client import OciClient
from webhook.recorder import Recorder

CONTENT = b'{"schemaVersion":2}'
DIGEST = compute_digest(CONTENT)
IMAGE = "shop/web"
TAG = "GET /v2/shop/web/manifests/1"
FOUND = respond(200, CONTENT, content_type="application/vnd.oci.image.manifest.v1+json")
UNAUTHORIZED = refuse(401, "UNAUTHORIZED", www_authenticate=CHALLENGE)
DENIED = refuse(403, "DENIED")


def manifest(client: OciClient) -> str | None:
    """Read the manifest of a tag, and return its digest."""
    found = client.get_manifest(IMAGE, "1", Deadline.after(5), free)
    return found.digest if found is not None else None


READS: dict[str, Callable[[OciClient], object]] = {
    "manifest": manifest,
    "tag": lambda client: client.resolve_tag(IMAGE, "1", Deadline.after(5), free),
    "digest": lambda client: client.has_manifest(IMAGE, DIGEST, Deadline.after(5), free),
    "referrers": lambda client: client.list_referrers(IMAGE, DIGEST, Deadline.after(5), free),
    "blob": lambda client: client.get_blob(IMAGE, DIGEST, 5, Deadline.after(5), free),
}

CONTROL = ["token shop/PROBE", "GET /v2/shop/PROBE/manifests/none"]

TOKENS: list[tuple[list[Answer], object, list[str]]] = [
    ([FOUND], DIGEST, [TAG]),
    ([UNAUTHORIZED, FOUND], DIGEST, [TAG, "token shop/web", TAG]),
    ([DENIED, FOUND], DIGEST, [TAG, "token shop/web", TAG]),
    (
        [UNAUTHORIZED],
        "forbidden, image: the registry answered 401 UNAUTHORIZED to a new token for shop/web",
        [TAG, "token shop/web", TAG, *CONTROL],
    ),
    (
        [DENIED],
        "forbidden, image: the registry answered 403 DENIED to a new token for shop/web",
        [TAG, "token shop/web", TAG, *CONTROL],
    ),
]


@pytest.mark.parametrize(
    ("answers", "result", "requests"), TOKENS, ids=[str(case[1])[-60:] for case in TOKENS]
)
def test_refused_token_is_replaced_once(answers: list[Answer], result: object, requests: list[str]) -> None:
    """It may have been revoked. A new token that is refused, too, shows that the repository is not ours."""
    transport = ScriptedRegistry({TAG: FOUND})
    client = scripted_client(transport, guarded_login())
    manifest(client)
    transport.take()
    transport.script({TAG: answers})
    try:
        said: object = manifest(client)
    except TrustLookupError as error:
        said = f"{error.reason}, {error.fault}: {error.detail}"
    assert (said, transport.take()) == (result, requests)


def test_new_token_that_is_refused_is_not_replaced() -> None:
    """A loop of 401 takes one request for each token, and the next lookup begins with a new one."""
    transport = ScriptedRegistry({TAG: UNAUTHORIZED})
    client = scripted_client(transport)
    for _ in range(2):
        with pytest.raises(TrustLookupError) as caught:
            manifest(client)
        assert str(caught.value) == (
            "the registry answered 401 UNAUTHORIZED to a new token for shop/web: is registryLogin missing?"
        )
    assert transport.sent == ["GET /v2/", "token shop/web", TAG, "token shop/web", TAG]


def test_registry_that_names_another_service_each_time_is_left_after_two_requests() -> None:
    """Each of them would be worth a new token."""
    answers = [
        refuse(401, "UNAUTHORIZED", www_authenticate=CHALLENGE.replace("dockyard", f"s{number}"))
        for number in range(100)
    ]
    transport = ScriptedRegistry({TAG: answers})
    with pytest.raises(TrustLookupError) as caught:
        manifest(scripted_client(transport, guarded_login()))
    assert str(caught.value) == "the registry answered 401 UNAUTHORIZED to a new token for shop/web"
    assert transport.sent == ["GET /v2/", "token shop/web", TAG, "token shop/web", TAG]


def test_registry_that_is_open_but_for_some_repositories_is_asked_for_a_token() -> None:
    """``GET /v2/`` may be allowed to all."""
    transport = ScriptedRegistry({"GET /v2/": OPEN, TAG: [UNAUTHORIZED, FOUND]})
    assert manifest(scripted_client(transport)) == DIGEST
    assert transport.sent == ["GET /v2/", TAG, "token shop/web", TAG]


def test_open_registry_without_challenge_is_forbidden() -> None:
    """There is nothing to log in with."""
    transport = ScriptedRegistry({"GET /v2/": OPEN, TAG: refuse(401, "UNAUTHORIZED")})
    with pytest.raises(TrustLookupError) as caught:
        manifest(scripted_client(transport, guarded_login()))
    assert (
        str(caught.value)
        == "the registry answered 401 UNAUTHORIZED to a request without a token for shop/web"
    )


SERVER: list[tuple[Answer, Sequence[Answer], str]] = [
    (respond(503), [respond(503)], "unavailable, registry: the registry answered 503"),
    (respond(503), [OPEN], "unavailable, image: the registry answered 503"),
    (respond(503), [respond(502), UNAUTHORIZED], "unavailable, image: the registry answered 503"),
    (RegistryUnavailable("reset"), [RegistryUnavailable("reset")], "unavailable, registry: reset"),
    (RegistryUnavailable("reset"), [OPEN], "unavailable, image: reset"),
]


@pytest.mark.parametrize(
    ("answer", "pings", "said"), SERVER, ids=[f"{case[2]} {len(case[1])}" for case in SERVER]
)
@pytest.mark.parametrize("read", READS)
def test_failure_is_registry_fault_only_if_pings_fail_too(
    read: str, answer: Answer, pings: Sequence[Answer], said: str
) -> None:
    """The author of a Pod may know an image that the registry fails on."""
    transport = ScriptedRegistry()
    client = scripted_client(transport)
    manifest(client)
    kinds = (f"manifests/{DIGEST}", "manifests/1", f"referrers/{DIGEST}", f"blobs/{DIGEST}")
    about_image = [f"{method} /v2/shop/web/{kind}" for method in ("GET", "HEAD") for kind in kinds]
    transport.script({**dict.fromkeys(about_image, answer), "GET /v2/": pings})
    with pytest.raises(TrustLookupError) as caught:
        READS[read](client)
    assert f"{caught.value.reason}, {caught.value.fault}: {caught.value.detail}" == said


@pytest.mark.parametrize("name", ["../../v2/_catalog", "shop/web?x=1", "Shop/Web", "shop//web"])
def test_invalid_name_is_not_sent(name: str) -> None:
    """A caller without a check cannot reach anything else either."""
    transport = ScriptedRegistry()
    client = scripted_client(transport)
    with pytest.raises(InvalidReferenceError):
        client.resolve_tag(name, "1", Deadline.after(5), free)
    assert transport.sent == []


def test_state_for_probes() -> None:
    """Without a login nothing is paused; the first answer of 200 or 404 sets the time."""
    transport = ScriptedRegistry({TAG: FOUND})
    client = scripted_client(transport)
    assert (client.answered_at, client.login_paused_for, client.ca_file_problem) == (None, 0.0, "")
    manifest(client)
    assert client.answered_at is not None
    assert client.last_failure == ""


@pytest.mark.parametrize(
    "failure", [RegistryUnavailable("connection refused"), respond(503, b"")], ids=["no answer", "5xx"]
)
def test_failed_call_is_visible_to_probes(failure: Answer) -> None:
    """Until any call has an answer."""
    transport = ScriptedRegistry({TAG: failure, "GET /v2/": [OPEN, failure]})
    client = scripted_client(transport)
    states = []
    for _ in range(2):
        with pytest.raises(TrustLookupError):
            manifest(client)
        states.append(client.last_failure)
    transport.script({TAG: FOUND})
    manifest(client)
    states.append(client.last_failure)
    assert states == ["the registry", "the registry", ""]


def test_failed_token_service_is_visible_to_probes() -> None:
    """The registry itself answers, or is not even called, while it is the token service that fails."""
    down = respond(503, b"")
    transport = ScriptedRegistry({TAG: FOUND, "token shop/web": down, "token": down})
    client = scripted_client(transport)
    with pytest.raises(TrustLookupError):
        manifest(client)
    assert client.last_failure == "the token service"
    transport.script({"token shop/web": grant(), "token": grant()})
    manifest(client)
    assert client.last_failure == ""


def test_failure_of_one_image_is_not_visible_to_probes() -> None:
    """The control request is answered. Otherwise an author could make the probe report an outage."""
    transport = ScriptedRegistry({TAG: respond(503, b""), "GET /v2/": OPEN})
    client = scripted_client(transport)
    with pytest.raises(TrustLookupError):
        manifest(client)
    assert client.last_failure == ""


def test_refused_login_is_visible_to_probes() -> None:
    """The next lookups fail until it is corrected."""
    refusal = refuse(401, "UNAUTHORIZED")
    transport = ScriptedRegistry({"token": refusal, "token shop/web": refusal})
    client = scripted_client(transport, guarded_login())
    with pytest.raises(TrustLookupError):
        manifest(client)
    assert client.login_paused_for > 0


def test_endpoint_that_is_no_url_is_rejected() -> None:
    """The configuration has checked it."""
    with pytest.raises(
        ValueError, match=r"registryEndpoint of swr\.cn-north-4\.myhuaweicloud\.com is not a URL"
    ):
        OciClient(registry_at("swr.example.com"), ScriptedRegistry(), None, Recorder())
