"""The token service: whose fault a refusal or a failure is, and how often a login fails."""

from __future__ import annotations

import base64
import threading
import time
from collections.abc import Sequence

import pytest

from tests.support.fakes import FakeClock, FakeCredential, RecorderSpy, free
from tests.support.registries import (
    CHALLENGE,
    ENDPOINT,
    Answer,
    ScriptedRegistry,
    grant,
    guarded_login,
    refuse,
    registry_at,
    respond,
)
from webhook.deadlines import Deadline
from webhook.errors import Fault, LookupTimeout, MalformedAnswer, RegistryUnavailable, TrustLookupError
from webhook.http_client.messages import Credential
from webhook.oci.challenges import read_challenge
from webhook.oci.token_service import MAX_REFUSED, REFUSED_SECONDS, TokenService
from webhook.oci.urls import read_url
from webhook.swr.answers import BLOCKED

NO = refuse(401, "UNAUTHORIZED", "Authenticate Error")


def service(
    transport: ScriptedRegistry, login: Credential | None, clock: FakeClock | None = None
) -> TokenService:
    """Return the token service of a scripted registry."""
    at = read_url(ENDPOINT)
    assert at is not None
    challenge = read_challenge(CHALLENGE, at, ())
    return TokenService(
        registry_at(ENDPOINT), challenge, transport, login, RecorderSpy(), clock or FakeClock()
    )


def fetch(asked: TokenService, repository: str | None = "shop/web") -> str:
    """Fetch a token and describe the result."""
    try:
        return f"token {asked.fetch(repository, Deadline.after(5), free).text}"
    except TrustLookupError as error:
        return f"{error.reason}, {error.fault}: {error.detail}"


def fetch_together(asked: TokenService, repositories: Sequence[str]) -> list[str]:
    """Fetch tokens for several repositories at the same time, and describe the results."""
    said: list[str] = []

    def work(repository: str) -> None:
        said.append(fetch(asked, repository))

    threads = [threading.Thread(target=work, args=(name,), daemon=True) for name in repositories]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    return said


def test_request_has_service_scope_and_login() -> None:
    """Docker's token authentication; the right to pull from one repository is all that is asked for."""
    transport = ScriptedRegistry()
    assert fetch(service(transport, guarded_login("robot", "hunter2"))) == "token t1"
    (request,) = transport.requests
    assert (request.method, request.base_url, request.path) == (
        "GET",
        ENDPOINT,
        "/swr/auth/v2/registry/auth/",
    )
    assert request.query == (("service", "dockyard"), ("scope", "repository:shop/web:pull"))
    assert dict(request.headers) == {"Authorization": f"Basic {base64.b64encode(b'robot:hunter2').decode()}"}


def test_anonymous_request_has_no_login() -> None:
    """For images that all may pull."""
    transport = ScriptedRegistry()
    assert fetch(service(transport, None)) == "token t1"
    assert dict(transport.requests[0].headers) == {}


@pytest.mark.parametrize("status", [401, 403])
def test_refused_repository_does_not_pause_working_login(status: int) -> None:
    """The author of a Pod chooses the organization, and SWR answers 401 for one that does not exist."""
    transport = ScriptedRegistry({"token nobody/x": refuse(status, "UNAUTHORIZED")})
    asked = service(transport, guarded_login())
    assert fetch(asked, "nobody/x") == (
        f"forbidden, image: the token service answered {status} UNAUTHORIZED about nobody/x, and accepts the login"
    )
    assert fetch(asked) == "token t3"
    assert transport.sent == ["token nobody/x", "token", "token shop/web"]


def test_refused_repository_is_not_requested_again_at_once() -> None:
    """Each request may count as a failed authentication."""
    transport, clock = ScriptedRegistry({"token nobody/x": NO}), FakeClock()
    asked = service(transport, guarded_login(), clock)
    fetch(asked, "nobody/x")
    transport.take()
    assert fetch(asked, "nobody/x") == (
        "forbidden, image: the token service recently refused a token for nobody/x"
    )
    assert transport.take() == []
    clock.tick(REFUSED_SECONDS + 1)
    transport.script({"token nobody/x": grant("granted")})
    assert fetch(asked, "nobody/x") == "token granted"


def test_changed_login_has_no_refused_repositories() -> None:
    """An operator who corrects the login need not wait."""
    transport, login = ScriptedRegistry({"token nobody/x": NO}), FakeCredential()
    asked = service(transport, login)
    fetch(asked, "nobody/x")
    login.generation += 1
    transport.script({"token nobody/x": grant("granted")})
    assert fetch(asked, "nobody/x") == "token granted"


def test_refused_repositories_are_bounded() -> None:
    """An author can invent any number."""
    transport = ScriptedRegistry()
    asked = service(transport, guarded_login())
    for number in range(MAX_REFUSED + 5):
        transport.script({f"token nobody/x{number}": NO})
        fetch(asked, f"nobody/x{number}")
    assert len(asked._refused) == MAX_REFUSED


def test_login_that_is_refused_without_scope_is_paused() -> None:
    """After two failed authentications, whatever is looked up afterwards."""
    transport = ScriptedRegistry({"token shop/web": NO, "token shop/api": NO, "token": NO})
    login = guarded_login()
    asked = service(transport, login)
    assert fetch(asked) == (
        "unauthorized, registry: the token service answered 401 UNAUTHORIZED: it refuses the login"
    )
    assert login.paused_for > 0
    for repository in ("shop/web", "shop/api", None):
        assert fetch(asked, repository).startswith(
            "unauthorized, registry: the registryLogin credential is paused for"
        )
    assert transport.sent == ["token shop/web", "token"]


def test_login_that_is_revoked_fails_once_for_each_request_on_its_way() -> None:
    """One control request is enough for all of them."""
    names = [f"shop/x{number}" for number in range(5)]
    transport = ScriptedRegistry({"token": NO, **{f"token {name}": NO for name in names}})
    asked = service(transport, guarded_login())
    assert fetch(asked).startswith("token")
    all_sent = threading.Barrier(len(names))
    transport.on_send = lambda name: all_sent.wait(10) if " " in name else None
    said = fetch_together(asked, names)
    refused = "unauthorized, registry: the token service answered 401 UNAUTHORIZED: it refuses the login"
    assert said == [refused] * 5
    assert transport.sent.count("token") == 1


def test_refused_repositories_do_not_wait_for_each_other() -> None:
    """A control request that was sent after a refusal is enough for it. Otherwise an author could make others
    wait with many repositories, each of which has its own control request.
    """
    names = [f"nobody/x{number}" for number in range(20)]
    transport = ScriptedRegistry({f"token {name}": NO for name in names})
    asked = service(transport, guarded_login())
    assert fetch(asked).startswith("token")
    all_refused = threading.Barrier(len(names))
    transport.on_send = lambda name: all_refused.wait(10) if " " in name else time.sleep(0.2)
    said = fetch_together(asked, names)
    assert len(said) == len(names)
    assert all(text.startswith("forbidden, image") for text in said)
    assert transport.sent.count("token") <= 2


def test_refusal_after_a_control_request_is_compared_again() -> None:
    """The login may have been revoked since: only an answer that came afterwards shows that it is accepted."""
    transport = ScriptedRegistry({"token nobody/x": NO, "token nobody/y": NO})
    asked = service(transport, guarded_login())
    assert fetch(asked, "nobody/x").startswith("forbidden, image")
    transport.script({"token": NO})
    assert fetch(asked, "nobody/y").startswith("unauthorized, registry")
    assert transport.sent == ["token nobody/x", "token", "token nobody/y", "token"]


def test_answer_about_another_login_does_not_decide() -> None:
    """The login has changed since: the refusal may be about the new one."""
    transport, login = ScriptedRegistry({"token shop/web": NO, "token": NO}), FakeCredential()
    asked = service(transport, login)
    asked._accepted = (login.generation - 1, 1)
    assert fetch(asked).startswith("unauthorized, registry")


def test_changed_login_is_tried_once_more_at_once() -> None:
    """A Secret that was corrected while the request was on its way."""
    transport = ScriptedRegistry({"token shop/web": [NO, grant("second")], "token": NO})
    login = FakeCredential(renewable=True)
    assert fetch(service(transport, login)) == "token second"
    assert login.told == ["reject 1 registry", "accept 2"]


def test_second_refusal_is_final() -> None:
    """Without a loop: more than five failures lock the access key."""
    transport = ScriptedRegistry({"token shop/web": NO, "token": NO})
    login = FakeCredential(renewable=True)
    assert fetch(service(transport, login)).startswith("unauthorized, registry")
    assert login.told == ["reject 1 registry", "reject 2 registry"]
    assert transport.sent == ["token shop/web", "token"] * 2


def test_anonymous_refusal_is_image_fault() -> None:
    """Its author may have made the repository private, and must not be served a stale record for that."""
    transport = ScriptedRegistry({"token shop/web": NO, "token": NO})
    assert fetch(service(transport, None)) == (
        "unauthorized, image: the token service answered 401 UNAUTHORIZED without a login: "
        "is registryLogin missing?"
    )


UNDECIDED: list[Answer] = [
    respond(500),
    respond(429),
    respond(404),
    LookupTimeout("late", fault=Fault.REGISTRY),
    RegistryUnavailable("the connection broke"),
    MalformedAnswer("larger than 65536 bytes"),
    respond(200, b"<html>"),
]


@pytest.mark.parametrize("control", UNDECIDED, ids=str)
def test_refusal_that_cannot_be_compared_pauses_nothing(control: Answer) -> None:
    """It is the image's fault: its author may have chosen the moment."""
    transport = ScriptedRegistry({"token shop/web": NO, "token": control})
    asked = service(transport, login := guarded_login())
    assert fetch(asked) == (
        "unauthorized, image: the token service answered 401 UNAUTHORIZED; "
        "whether it is about the login is not known"
    )
    assert login.paused_for == 0
    assert fetch(asked, "shop/api") == "token t3"


FAILURES: list[tuple[Answer, Sequence[Answer], str]] = [
    (respond(503), [respond(503)], "unavailable, registry: the token service answered 503"),
    (respond(503), [respond(503), grant()], "unavailable, image: the token service answered 503"),
    (respond(503), [grant()], "unavailable, image: the token service answered 503"),
    (respond(503), [NO], "unavailable, image: the token service answered 503"),
    (respond(503), [respond(404)], "unavailable, registry: the token service answered 503"),
    (respond(503), [respond(200, b"<html>")], "unavailable, registry: the token service answered 503"),
    (respond(503), [respond(429)], "unavailable, image: the token service answered 503"),
    (
        respond(404, b"<html>"),
        [respond(404, b"<html>")],
        "unavailable, registry: the token service answered 404 without an error code of a registry",
    ),
    (
        respond(302, location="https://evil.example.com/"),
        [respond(302, location="https://evil.example.com/")],
        "unavailable, registry: the token service answered 302, a redirect that is not followed",
    ),
    (
        respond(200, b"<html>"),
        [respond(200, b"<html>")],
        "unavailable, registry: the token service answered 200 without a JSON object",
    ),
    (
        MalformedAnswer("the answer is compressed"),
        [MalformedAnswer("the answer is compressed")],
        "unavailable, registry: the token service does not answer as documented: the answer is compressed",
    ),
    (
        respond(200, b"<html>"),
        [NO],
        "unavailable, image: the token service answered 200 without a JSON object",
    ),
    (RegistryUnavailable("reset"), [RegistryUnavailable("reset")], "unavailable, registry: reset"),
    (RegistryUnavailable("reset"), [grant()], "unavailable, image: reset"),
    (RegistryUnavailable("full", fault=Fault.LOCAL), [grant()], "unavailable, local: full"),
    (respond(429, retry_after="3"), [], "throttled, registry: the token service answered 429"),
    (
        refuse(403, "DENIED", f"denied: {BLOCKED}"),
        [],
        "throttled, registry: SWR answered 403: the account is blocked for too many requests",
    ),
    (
        respond(404, b"<html>"),
        [],
        "unavailable, image: the token service answered 404 without an error code of a registry",
    ),
    (
        respond(302, location="https://evil.example.com/"),
        [],
        "unavailable, image: the token service answered 302, a redirect that is not followed",
    ),
    (respond(200, b"<html>"), [], "unavailable, image: the token service answered 200 without a JSON object"),
    (
        MalformedAnswer("the answer is larger than 65536 bytes"),
        [],
        "unavailable, image: the token service does not answer as documented: the answer is larger than 65536 bytes",
    ),
]


@pytest.mark.parametrize(("answer", "controls", "said"), FAILURES, ids=[case[2][:60] for case in FAILURES])
def test_failure_is_registry_fault_only_without_scope_too(
    answer: Answer, controls: Sequence[Answer], said: str
) -> None:
    """Two requests without an image must fail, because a single one may fail by chance."""
    transport = ScriptedRegistry({"token shop/web": answer, **({"token": controls} if controls else {})})
    assert fetch(service(transport, guarded_login())) == said
    assert len(transport.sent) <= 3


def test_page_does_not_accept_a_login() -> None:
    """A portal answers 200 to anything: the secret has still to be tried."""
    transport, login = ScriptedRegistry(), FakeCredential()
    page = respond(200, b"<html>")
    transport.script({"token shop/web": page, "token": page})
    assert fetch(service(transport, login)).startswith("unavailable, registry")
    assert not any(told.startswith("accept") for told in login.told)


def test_every_outcome_ends_trial_of_login() -> None:
    """Otherwise all other lookups wait for the first one."""
    transport = ScriptedRegistry()
    asked = service(transport, guarded_login())
    for answer in (respond(503), respond(404), respond(429), LookupTimeout("late", fault=Fault.LOCAL)):
        transport.script({"token shop/web": answer})
        assert not fetch(asked).startswith("token")
    assert fetch(asked, "shop/api").startswith("token")


def test_answered_control_request_accepts_login() -> None:
    """An author could prolong the trial of a login by names that the service is slow about."""
    asked = service(ScriptedRegistry(), login := FakeCredential())
    asked._send_waiting_control(1, Deadline.after(5), lambda: None)
    assert login.told == ["accept 1"]


def test_refused_control_request_pauses_login() -> None:
    """It has no image in it."""
    asked = service(ScriptedRegistry({"token": NO}), login := FakeCredential())
    asked._send_waiting_control(1, Deadline.after(5), lambda: None)
    assert login.told == ["reject 1 registry"]


def test_login_without_scope_is_refused_without_another_request() -> None:
    """``swr-trust doctor`` must not lock the access key."""
    transport = ScriptedRegistry({"token": NO})
    assert fetch(service(transport, guarded_login()), None).startswith("unauthorized, registry")
    assert transport.sent == ["token"]
