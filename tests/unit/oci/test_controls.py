"""Control requests: whether a registry answers about manifests at all, or fails for one image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from tests.emulator.registry import TOKEN_PATH
from tests.support.fakes import free
from tests.support.registries import (
    ASKS,
    OPEN,
    Answer,
    ScriptedRegistry,
    guarded_login,
    refuse,
    respond,
    scripted_client,
)
from tests.support.registry_environment import RegistryEnvironment
from webhook.deadlines import Deadline
from webhook.errors import MalformedAnswer, RegistryUnavailable, Throttled, TrustLookupError
from webhook.oci.client import OciClient

FOUND = respond(200, b'{"schemaVersion":2}', content_type="application/vnd.oci.image.manifest.v1+json")
TAG = "GET /v2/shop/web/manifests/1"
PROBE = "GET /v2/team/PROBE/manifests/none"
OWN_PROBE = "GET /v2/shop/PROBE/manifests/none"
PING = "GET /v2/"
DOWN, RESET = respond(503), RegistryUnavailable("reset")
REFUSED = refuse(401, "UNAUTHORIZED", "Image organization does not exist")
UNKNOWN = refuse(404, "NAME_UNKNOWN")
PAGE = respond(200, b"<html>Maintenance", content_type="text/html")
REDIRECT = respond(302, location="https://status.example.com/")
FIREWALL = respond(403, b"<html>", content_type="text/html")
COMPRESSED = MalformedAnswer("the answer is compressed although the request does not allow it")


def said(client: OciClient, repository: str = "shop/web") -> str:
    """Read the manifest of a tag, and return what the failure says."""
    try:
        client.get_manifest(repository, "1", Deadline.after(5), free)
    except TrustLookupError as error:
        return f"{error.reason}, {error.fault}"
    return "found"


def warm_client(transport: ScriptedRegistry, *repositories: str) -> OciClient:
    """Return a client to which the registry has sent manifests of these repositories."""
    transport.script({f"GET /v2/{repository}/manifests/1": FOUND for repository in repositories})
    client = scripted_client(transport, guarded_login())
    assert [said(client, repository) for repository in repositories] == ["found"] * len(repositories)
    transport.take()
    return client


COMPARED: dict[str, tuple[Answer, Sequence[Answer], str, int]] = {
    "5xx for all": (DOWN, [DOWN], "unavailable, registry", 2),
    "reset for all": (RESET, [RESET], "unavailable, registry", 2),
    "408 for all": (respond(408), [respond(408)], "unavailable, registry", 2),
    "5xx for the image": (DOWN, [UNKNOWN], "unavailable, image", 1),
    "reset for the image": (RESET, [UNKNOWN], "unavailable, image", 1),
    "lost once": (DOWN, [RESET, UNKNOWN], "unavailable, image", 2),
    "found": (DOWN, [FOUND], "unavailable, image", 1),
    "refused": (DOWN, [refuse(403, "DENIED")], "unavailable, image", 1),
    "throttled": (DOWN, [respond(429)], "unavailable, image", 1),
    "error of another kind": (DOWN, [refuse(400, "NAME_INVALID")], "unavailable, image", 1),
    "404 of a gateway": (DOWN, [refuse(404, "APIGW.0101")], "unavailable, image", 1),
    "404 without a code": (DOWN, [respond(404)], "unavailable, image", 1),
    "page": (DOWN, [PAGE], "unavailable, image", 1),
    "redirect": (DOWN, [REDIRECT], "unavailable, image", 1),
    "compressed": (DOWN, [COMPRESSED], "unavailable, image", 1),
    "too large, and 404 without a code": (COMPRESSED, [respond(404)], "malformed, image", 1),
    "page, and 404 without a code": (PAGE, [respond(404)], "unavailable, image", 1),
    "page, then 5xx": (PAGE, [PAGE, DOWN], "unavailable, registry", 2),
    "compressed, then 5xx": (COMPRESSED, [DOWN], "unavailable, registry", 2),
    "404 for all": (respond(404), [respond(404)], "unavailable, registry", 2),
    "404 of a gateway for all": (
        refuse(404, "APIGW.0101"),
        [refuse(404, "APIGW.0101")],
        "unavailable, registry",
        2,
    ),
    "page for all": (PAGE, [PAGE], "unavailable, registry", 2),
    "redirect for all": (REDIRECT, [REDIRECT], "unavailable, registry", 2),
    "compressed for all": (COMPRESSED, [COMPRESSED], "unavailable, registry", 2),
    "404 for the image": (respond(404), [UNKNOWN], "unavailable, image", 1),
    "page for the image": (PAGE, [UNKNOWN], "unavailable, image", 1),
    "redirect for the image": (REDIRECT, [UNKNOWN], "unavailable, image", 1),
    "compressed for the image": (COMPRESSED, [UNKNOWN], "malformed, image", 1),
    "page, and the control is refused": (PAGE, [refuse(403, "DENIED")], "unavailable, image", 1),
    "page once": (PAGE, [PAGE, UNKNOWN], "unavailable, image", 2),
}


@pytest.mark.parametrize(("answer", "probes", "fault", "requests"), COMPARED.values(), ids=COMPARED)
def test_failure_is_registry_fault_if_random_repositories_fail_too(
    answer: Answer, probes: Sequence[Answer], fault: str, requests: int
) -> None:
    """``GET /v2/`` is answered all the time, and shows nothing. One token serves all control requests."""
    transport = ScriptedRegistry({PING: ASKS})
    client = warm_client(transport, "team/app", "shop/web")
    transport.script({TAG: answer, PROBE: probes})
    assert said(client) == fault
    assert transport.take() == [TAG, "token team/PROBE", *[PROBE] * requests]


@pytest.mark.parametrize("probe", [PAGE, UNKNOWN], ids=["all", "image"])
def test_outage_of_pages_is_visible_to_probes(probe: Answer) -> None:
    """Their status alone does not show it."""
    transport = ScriptedRegistry()
    client = warm_client(transport, "team/app", "shop/web")
    transport.script({TAG: PAGE, PROBE: probe})
    said(client)
    assert client.last_failure == ("the registry" if probe is PAGE else "")


def test_token_of_control_request_is_kept() -> None:
    """The next comparison takes two requests."""
    transport = ScriptedRegistry()
    client = warm_client(transport, "team/app", "shop/web")
    transport.script({TAG: DOWN, PROBE: DOWN})
    said(client)
    transport.take()
    said(client)
    assert transport.take() == [TAG, PROBE, PROBE]


def test_kept_token_that_is_refused_is_replaced_once() -> None:
    """A front end refuses it without asking what is behind."""
    transport = ScriptedRegistry()
    client = warm_client(transport, "team/app", "shop/web")
    transport.script({TAG: DOWN, PROBE: DOWN})
    said(client)
    transport.take()
    transport.script({PROBE: [refuse(401, "UNAUTHORIZED"), DOWN]})
    assert said(client) == "unavailable, registry"
    assert transport.take() == [TAG, PROBE, "token team/PROBE", PROBE, PROBE]


def test_firewall_does_not_let_an_organization_be_forgotten() -> None:
    """Its refusal has no code of a registry, and shows nothing about the organization."""
    transport = ScriptedRegistry()
    client = warm_client(transport, "team/app", "shop/web")
    transport.script({TAG: DOWN, PROBE: FIREWALL})
    assert said(client) == "unavailable, image"
    transport.take()
    transport.script({PROBE: UNKNOWN})
    assert said(client) == "unavailable, image"
    assert transport.take()[-1] == PROBE


def test_organization_whose_new_token_is_refused_is_left() -> None:
    """The registry answers, but says nothing about manifests: the next control request is about another one."""
    transport = ScriptedRegistry()
    client = warm_client(transport, "team/app", "shop/web")
    transport.script({TAG: DOWN, OWN_PROBE: DOWN, PROBE: refuse(403, "DENIED")})
    assert said(client) == "unavailable, image"
    transport.take()
    assert said(client) == "unavailable, registry"
    assert transport.take() == [TAG, "token shop/PROBE", OWN_PROBE, OWN_PROBE]


def test_page_does_not_make_an_organization_known() -> None:
    """An author may name one that a firewall answers with a page, also to control requests."""
    transport = ScriptedRegistry(
        {"HEAD /v2/evil/web/manifests/1": PAGE, "GET /v2/evil/web/manifests/1": PAGE}
    )
    client = warm_client(transport)
    with pytest.raises(TrustLookupError) as caught:
        client.resolve_tag("evil/web", "1", Deadline.after(5), free)
    assert str(caught.value.fault) == "image"
    transport.take()
    transport.script({"GET /v2/evil/PROBE/manifests/none": PAGE})
    assert said(client, "evil/web") == "unavailable, image"
    assert transport.take() == ["GET /v2/evil/web/manifests/1", PING]


def test_organization_of_the_image_serves_if_no_other_is_known() -> None:
    """The repository is random, so that its author has no influence."""
    transport = ScriptedRegistry()
    client = warm_client(transport, "shop/web")
    transport.script({TAG: DOWN, OWN_PROBE: DOWN})
    assert said(client) == "unavailable, registry"
    assert transport.take() == [TAG, "token shop/PROBE", OWN_PROBE, OWN_PROBE]


BLOCKED: dict[str, tuple[Sequence[str], list[str]]] = {
    "others are known": (["team/app"], ["token evil/web", "token team/PROBE", PROBE]),
    "none is known": ([], [PING, "token evil/web", PING]),
}


@pytest.mark.parametrize(("known", "requests"), BLOCKED.values(), ids=BLOCKED)
def test_organization_that_a_firewall_blocks_is_image_fault(
    known: Sequence[str], requests: list[str]
) -> None:
    """The author may name any: all connections with that name break, also those of control requests."""
    transport = ScriptedRegistry()
    client = warm_client(transport, *known)
    image = "GET /v2/evil/web/manifests/1"
    transport.script({image: RESET, "GET /v2/evil/PROBE/manifests/none": RESET})
    assert said(client, "evil/web") == "unavailable, image"
    assert [request for request in transport.take() if request != image] == requests


def test_organization_without_a_manifest_is_not_used() -> None:
    """Anybody may name one that does not exist, and a front end may answer about it."""
    transport = ScriptedRegistry()
    client = warm_client(transport)
    assert client.get_manifest("shop/web", "2", Deadline.after(5), free) is None
    transport.take()
    transport.script({TAG: DOWN, OWN_PROBE: DOWN})
    assert said(client) == "unavailable, image"
    assert transport.take() == [TAG, PING]


REFUSALS: dict[str, Mapping[str, Answer]] = {
    "for the organization": {"token shop/PROBE": REFUSED},
    "of the login": {"token shop/PROBE": REFUSED, "token": REFUSED},
}


@pytest.mark.parametrize("answers", REFUSALS.values(), ids=REFUSALS)
@pytest.mark.parametrize(
    ("ping", "fault"), [(ASKS, "unavailable, image"), (DOWN, "unavailable, registry")], ids=["up", "down"]
)
def test_ping_serves_if_no_token_can_be_had(answers: Mapping[str, Answer], ping: Answer, fault: str) -> None:
    """It is not about the image either, and proves less."""
    transport = ScriptedRegistry()
    client = warm_client(transport, "shop/web")
    transport.script({TAG: DOWN, **answers, PING: ping})
    assert said(client) == fault
    pings = [PING] * (1 if ping is ASKS else 2)
    assert transport.take() == [TAG, "token shop/PROBE", "token", *pings]


def test_organization_whose_probe_is_refused_is_left() -> None:
    """The next comparison takes another one."""
    transport = ScriptedRegistry()
    client = warm_client(transport, "team/app", "shop/web")
    transport.script({TAG: DOWN, OWN_PROBE: DOWN, "token team/PROBE": REFUSED})
    assert said(client) == "unavailable, image"
    transport.take()
    assert said(client) == "unavailable, registry"
    assert transport.take() == [TAG, "token shop/PROBE", OWN_PROBE, OWN_PROBE]


def test_throttled_control_request_tells_nothing() -> None:
    """An author can cause that. Nothing is admitted after a throttle."""
    transport = ScriptedRegistry()
    client = warm_client(transport, "team/app", "shop/web")
    transport.script({TAG: DOWN, PROBE: DOWN, "token team/PROBE": respond(429)})
    with pytest.raises(Throttled) as caught:
        client.get_manifest("shop/web", "1", Deadline.after(5), free)
    assert not caught.value.allows_stale


def test_token_service_that_fails_for_all_is_registry_fault() -> None:
    """It is a part of the registry."""
    transport = ScriptedRegistry()
    client = warm_client(transport, "team/app", "shop/web")
    transport.script({TAG: DOWN, "token team/PROBE": DOWN, "token": DOWN})
    assert said(client) == "unavailable, registry"


def test_open_registry_is_asked_without_a_token() -> None:
    transport = ScriptedRegistry({PING: OPEN})
    client = warm_client(transport, "team/app", "shop/web")
    transport.script({TAG: DOWN, PROBE: DOWN})
    assert said(client) == "unavailable, registry"
    assert transport.take() == [TAG, PROBE, PROBE]


def test_organizations_of_the_policy_serve_after_a_start() -> None:
    """Stale trust of a snapshot is served although the registry has answered nothing yet."""
    transport = ScriptedRegistry({TAG: DOWN, PROBE: DOWN})
    client = scripted_client(transport, organizations=frozenset({"shop", "team"}))
    assert said(client) == "unavailable, registry"


MANIFESTS, IMAGE = "/manifests/", "/v2/shop/signed/manifests/"
WAITING: dict[str, tuple[list[tuple[str, str, dict[str, object]]], bool, str]] = {
    "all manifests": ([("hang", MANIFESTS, {})], False, "timeout, registry"),
    "trickle": ([("trickle-headers", MANIFESTS, {"latency": 0.3})], False, "timeout, registry"),
    "one image": ([("hang", IMAGE, {})], False, "timeout, image"),
    "everything": ([("hang", "/v2/", {})], False, "timeout, registry"),
    "one image, throttled tokens": (
        [("hang", IMAGE, {}), ("status", TOKEN_PATH, {"status": 429})],
        False,
        "timeout, image",
    ),
    "one image, refused tokens": ([("hang", IMAGE, {})], True, "timeout, image"),
}


@pytest.mark.slow
@pytest.mark.parametrize(("faults", "is_refused", "expected"), WAITING.values(), ids=WAITING)
def test_missing_answer_is_registry_fault_if_random_repositories_have_none(
    environment: RegistryEnvironment,
    faults: list[tuple[str, str, dict[str, object]]],
    is_refused: bool,
    expected: str,
) -> None:
    """The control request is sent while the call waits, and needs a token first."""
    environment.read("manifest", seconds=1.5)
    if is_refused:
        environment.emulator.state.registry.missing_organizations.add("shop")
    for kind, match, values in faults:
        environment.emulator.break_with(kind, match=match, **values)
    assert str(environment.read("manifest", seconds=1.5)).startswith(f"{expected}: ")
    environment.emulator.mend()
    assert environment.read("tag") == environment.digest
