"""A registry that refuses everybody, compared with one that refuses a repository."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from tests.support.fakes import FakeClock, free
from tests.support.registries import (
    ASKS,
    CHALLENGE,
    OPEN,
    Answer,
    ScriptedRegistry,
    guarded_login,
    refuse,
    respond,
    scripted_client,
)
from webhook.deadlines import Deadline
from webhook.errors import RegistryUnavailable, TrustLookupError, Unauthorized
from webhook.oci.client import OciClient
from webhook.oci.controls import ACCEPTED_SECONDS

FOUND = respond(200, b'{"schemaVersion":2}', content_type="application/vnd.oci.image.manifest.v1+json")
TAG = "GET /v2/shop/web/manifests/1"
PROBE = "GET /v2/team/PROBE/manifests/none"
PING = "GET /v2/"
NO_TOKEN = refuse(401, "UNAUTHORIZED", www_authenticate=CHALLENGE)
DENIED = refuse(403, "DENIED")
FIREWALL = respond(403, b"<html>", content_type="text/html")
UNKNOWN = refuse(404, "NAME_UNKNOWN")


def fails(client: OciClient, repository: str = "shop/web") -> TrustLookupError:
    """Return the failure of a manifest of a tag."""
    with pytest.raises(TrustLookupError) as caught:
        client.get_manifest(repository, "1", Deadline.after(5), free)
    return caught.value


def warm_client(transport: ScriptedRegistry, clock: FakeClock | None = None) -> OciClient:
    """Return a client to which the registry has sent a manifest of another organization."""
    transport.script({"GET /v2/team/app/manifests/1": FOUND})
    client = scripted_client(transport, guarded_login(), clock=clock)
    client.get_manifest("team/app", "1", Deadline.after(5), free)
    transport.take()
    return client


@pytest.mark.parametrize("answer", [NO_TOKEN, DENIED, FIREWALL], ids=["401", "403", "firewall"])
def test_registry_that_refuses_everybody_is_its_own_fault(answer: Answer) -> None:
    """Its keys of the token service are wrong, or a firewall blocks our address. Images that run stay trusted,
    and ``onLookupFailure`` does not apply. No login fails, and the login is not paused.
    """
    transport = ScriptedRegistry()
    client = warm_client(transport)
    transport.script({TAG: answer, PROBE: answer, PING: answer})
    for _ in range(2):
        error = fails(client)
        assert isinstance(error, Unauthorized)
        assert (error.allows_stale, error.allows_pass) == (True, False)
        assert transport.take() == ["token shop/web", TAG, "token team/PROBE", PROBE, PROBE, "token", PING]
    assert client.login_paused_for == 0


REFUSED: dict[str, tuple[Mapping[str, Answer | Sequence[Answer]], list[str]]] = {
    "control answered": ({PROBE: UNKNOWN}, [PROBE]),
    "second control answered": ({PROBE: [DENIED, UNKNOWN]}, [PROBE, PROBE]),
    "both organizations are the author's": ({PROBE: DENIED, PING: OPEN}, [PROBE, PROBE, "token", PING]),
    "front end refuses GET /v2/": ({PROBE: UNKNOWN, PING: DENIED}, [PROBE]),
    "control fails": ({PROBE: respond(503)}, [PROBE]),
    "control breaks": ({PROBE: RegistryUnavailable("reset")}, [PROBE]),
    "page": ({PROBE: respond(200, b"<html>", content_type="text/html")}, [PROBE]),
    "no token for nothing": ({PROBE: DENIED, "token": respond(503)}, [PROBE, PROBE, *["token"] * 3]),
}


@pytest.mark.parametrize(("answers", "requests"), REFUSED.values(), ids=REFUSED)
def test_refused_repository_is_image_fault(
    answers: Mapping[str, Answer | Sequence[Answer]], requests: list[str]
) -> None:
    """Its author may have withdrawn our rights, also to a second organization."""
    transport = ScriptedRegistry()
    client = warm_client(transport)
    transport.script({TAG: DENIED, **answers})
    assert f"{fails(client).reason}, {fails(client).fault}" == "forbidden, image"
    assert transport.take()[: 3 + len(requests)] == ["token shop/web", TAG, "token team/PROBE", *requests]


def test_refused_token_of_control_request_shows_nothing() -> None:
    """The token service answers, and refuses that organization."""
    transport = ScriptedRegistry()
    client = warm_client(transport)
    transport.script({TAG: DENIED, PING: DENIED, "token team/PROBE": DENIED})
    assert fails(client).reason == "forbidden"
    assert transport.take() == ["token shop/web", TAG, "token team/PROBE", "token"]


def test_registry_without_known_organization_is_not_compared() -> None:
    """An organization of the author would show nothing."""
    transport = ScriptedRegistry({TAG: DENIED})
    client = scripted_client(transport, guarded_login())
    assert fails(client).reason == "forbidden"
    assert transport.take() == [PING, "token shop/web", TAG]


def test_accepted_token_serves_for_some_seconds() -> None:
    """Reviews of images that are refused take one request more, not two for each."""
    transport, clock = ScriptedRegistry(), FakeClock()
    client = warm_client(transport, clock)
    transport.script({TAG: DENIED, PROBE: UNKNOWN})
    fails(client)
    transport.take()
    fails(client)
    assert transport.take() == ["token shop/web", TAG]
    clock.tick(ACCEPTED_SECONDS)
    fails(client)
    assert transport.take() == ["token shop/web", TAG, "token team/PROBE", PROBE]


def test_open_registry_that_refuses_everybody_is_its_own_fault() -> None:
    """Without tokens there is nothing else to compare."""
    transport = ScriptedRegistry({PING: OPEN})
    client = warm_client(transport)
    transport.script({TAG: FIREWALL, PROBE: FIREWALL, PING: FIREWALL})
    error = fails(client)
    assert str(error) == (
        "the registry answered 403 to a request without a token for shop/web, "
        "and the registry answered 403 to GET /v2/ without a token"
    )
    assert error.allows_stale
    transport.script({PING: ASKS, PROBE: UNKNOWN})
    assert not fails(client).allows_stale
