"""Tokens of a registry: one for each repository, fetched once, and who names the token service."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import pytest

from tests.support.fakes import FakeClock, RecorderSpy, Turns, free
from tests.support.registries import (
    ASKS,
    CHALLENGE,
    ENDPOINT,
    OPEN,
    Answer,
    ScriptedRegistry,
    grant,
    guarded_login,
    refuse,
    registry_at,
    respond,
)
from webhook.deadlines import Deadline
from webhook.errors import (
    Fault,
    LookupTimeout,
    MalformedAnswer,
    RegistryUnavailable,
    Throttled,
    TrustLookupError,
)
from webhook.http_client.messages import Credential, HttpResponse
from webhook.oci.calls import Calls
from webhook.oci.token_answers import MAX_TOKEN
from webhook.oci.tokens import MAX_TOKENS, USUAL_TOKEN, LoginState, Token, Tokens
from webhook.oci.urls import read_url
from webhook.trust.records import CallLimiter


def tokens_of(
    transport: ScriptedRegistry, login: Credential | None = None, clock: FakeClock | None = None
) -> Tokens:
    """Return the tokens of a scripted registry."""
    at, endpoint, notes = registry_at(ENDPOINT), read_url(ENDPOINT), RecorderSpy()
    assert endpoint is not None
    calls = Calls(at, ENDPOINT, transport, notes)
    return Tokens(at, endpoint, transport, login, notes, calls, clock or FakeClock())


def get(tokens: Tokens, repository: str = "shop/web", limiter: CallLimiter = free) -> str:
    """Get a token and describe the result."""
    try:
        token = tokens.get(repository, Deadline.after(5), limiter)
    except TrustLookupError as error:
        return f"{error.reason}, {error.fault}: {error.detail}"
    return "none" if token is None else f"{'new' if token.is_new else 'kept'} {token.text}"


def test_first_token_takes_two_requests_and_further_ones_one() -> None:
    """The registry names its token service once; each repository has a token of its own."""
    transport = ScriptedRegistry()
    tokens = tokens_of(transport)
    assert [get(tokens), get(tokens), get(tokens, "shop/api")] == ["new t2", "kept t2", "new t3"]
    assert transport.sent == ["GET /v2/", "token shop/web", "token shop/api"]


def test_open_registry_is_asked_once() -> None:
    """As a registry for tests, or one behind a firewall."""
    transport = ScriptedRegistry({"GET /v2/": OPEN})
    tokens = tokens_of(transport)
    assert [get(tokens), get(tokens, "shop/api")] == ["none", "none"]
    assert transport.sent == ["GET /v2/"]


LIVES = [
    (900, 840),
    (300, 240),
    (60, 48),
    (10, 8),
    (1e9, 3540),
]


@pytest.mark.parametrize(("seconds", "usable"), LIVES, ids=[str(case[0]) for case in LIVES])
def test_token_is_renewed_before_its_end(seconds: float, usable: float) -> None:
    """A fifth of its life, or a minute if that is less: clocks differ, and a request takes its time."""
    clock = FakeClock()
    transport = ScriptedRegistry({"token shop/web": [grant("a", expires_in=seconds), grant("b")]})
    tokens = tokens_of(transport, clock=clock)
    assert get(tokens) == "new a"
    clock.tick(usable - 1)
    assert get(tokens) == "kept a"
    clock.tick(1)
    assert get(tokens) == "new b"


def test_life_of_token_counts_from_request() -> None:
    """A slow answer is not younger than its request."""
    clock = FakeClock()
    transport = ScriptedRegistry({"token shop/web": [grant("a", expires_in=100), grant("b")]})
    transport.on_send = lambda name: clock.tick(50) if name.startswith("token") else None
    tokens = tokens_of(transport, clock=clock)
    get(tokens)
    clock.tick(29)
    assert get(tokens) == "kept a"
    clock.tick(1)
    assert get(tokens) == "new b"


def test_discarded_token_is_fetched_again() -> None:
    """The registry did not accept it. A newer token, which another lookup has fetched, stays."""
    transport = ScriptedRegistry({"token shop/web": [grant("a"), grant("b")]})
    tokens = tokens_of(transport)
    get(tokens)
    tokens.discard("shop/web", Token("a", is_new=False))
    assert get(tokens) == "new b"
    tokens.discard("shop/web", Token("a", is_new=False))
    assert get(tokens) == "kept b"


def test_kept_tokens_are_bounded() -> None:
    """An author can name any number of repositories; those in use stay."""
    transport = ScriptedRegistry()
    tokens = tokens_of(transport)
    for number in range(MAX_TOKENS):
        get(tokens, f"shop/x{number}")
    assert get(tokens, "shop/x0").startswith("kept")
    get(tokens, "shop/more")
    assert len(tokens._held) == MAX_TOKENS
    assert get(tokens, "shop/x0").startswith("kept")
    assert get(tokens, "shop/x1").startswith("new")


def test_size_of_all_tokens_is_bounded() -> None:
    """The registry chooses their sizes, and an author how many there are: a thousand had 32 MB."""
    large = grant("x" * MAX_TOKEN)
    tokens = tokens_of(ScriptedRegistry({f"token shop/x{number}": large for number in range(MAX_TOKENS)}))
    for number in range(MAX_TOKENS):
        get(tokens, f"shop/x{number}")
    sizes = [len(held.text) for held in tokens._held.values()]
    assert sum(sizes) == MAX_TOKENS * USUAL_TOKEN
    assert get(tokens, f"shop/x{MAX_TOKENS - 1}").startswith("kept")


def run(count: int, work: list[str], tokens: Tokens, limiter: CallLimiter = free) -> list[threading.Thread]:
    """Get the token of one repository concurrently; the results are appended to ``work``."""
    threads = [
        threading.Thread(target=lambda: work.append(get(tokens, limiter=limiter)), daemon=True)
        for _ in range(count)
    ]
    for thread in threads:
        thread.start()
    return threads


def test_concurrent_lookups_share_one_ping_and_one_token() -> None:
    """A Deployment starts many Pods of one repository at once."""
    transport = ScriptedRegistry()
    transport.on_send = lambda _: threading.Event().wait(0.05)
    tokens, results = tokens_of(transport, guarded_login()), list[str]()
    for thread in run(10, results, tokens):
        thread.join(10)
    assert len(results) == 10
    assert {text.split()[1] for text in results} == {"t2"}
    assert transport.sent == ["GET /v2/", "token shop/web"]


def test_failure_of_shared_fetch_is_that_of_all() -> None:
    """A failure of the service costs one request, and is counted once."""
    transport = ScriptedRegistry({"token shop/web": respond(503), "token": respond(503)})
    transport.on_send = lambda _: threading.Event().wait(0.05)
    tokens, results = tokens_of(transport), list[str]()
    for thread in run(5, results, tokens):
        thread.join(10)
    assert results == ["unavailable, registry: the token service answered 503"] * 5
    assert transport.sent == ["GET /v2/", "token shop/web", "token", "token"]


def test_limits_of_one_lookup_do_not_decide_about_others() -> None:
    """The first one had too little time left, or no rate: each of the others tries once more."""
    transport = ScriptedRegistry()
    tokens, results = tokens_of(transport), list[str]()
    get(tokens, "shop/other")
    entered, gate = threading.Event(), threading.Event()

    def refuse_first(deadline: Deadline) -> None:
        entered.set()
        gate.wait(5)
        raise Throttled("our own rate limit is exceeded", fault=Fault.LOCAL)

    leader = run(1, results, tokens, Turns(refuse_first))
    entered.wait(5)
    others = run(3, results, tokens)
    gate.set()
    for thread in leader + others:
        thread.join(10)
    assert sorted(results) == ["new t3"] * 3 + ["throttled, local: our own rate limit is exceeded"]
    assert transport.sent.count("token shop/web") == 1


def test_lookup_does_not_wait_longer_than_its_deadline() -> None:
    """Another lookup fetches the token, and the service is slow: that is not the registry's fault."""
    transport, gate, results = ScriptedRegistry(), threading.Event(), list[str]()
    tokens = tokens_of(transport)
    get(tokens, "shop/other")
    transport.on_send = lambda _: gate.wait(10)
    leader = run(1, results, tokens)
    while "token shop/web" not in transport.sent:
        threading.Event().wait(0.01)
    with pytest.raises(LookupTimeout) as caught:
        tokens.get("shop/web", Deadline.after(0.05), free)
    gate.set()
    leader[0].join(10)
    assert str(caught.value) == "another lookup was still fetching the token for shop/web"
    assert caught.value.fault is Fault.LOCAL
    assert results == ["new t3"]


FOREIGN = refuse(401, "UNAUTHORIZED", www_authenticate='Bearer realm="https://evil.example.com/t"')
PLAIN = refuse(401, "UNAUTHORIZED", www_authenticate=CHALLENGE.replace("https", "http"))
BASIC = refuse(401, "UNAUTHORIZED", www_authenticate='Basic realm="registry"')

PINGS: list[tuple[Sequence[Answer], str]] = [
    (
        [FOREIGN],
        "unauthorized, registry: the registry answered 401, and its realm for tokens is on another host, "
        "evil.example.com",
    ),
    ([PLAIN], "unauthorized, registry: the registry answered 401, and its realm for tokens is plain http"),
    ([BASIC], "unauthorized, registry: the registry answered 401, and it does not ask for a bearer token"),
    (
        [refuse(401, "UNAUTHORIZED")],
        "unauthorized, registry: the registry answered 401, and it does not ask for a bearer token",
    ),
    (
        [refuse(403, "DENIED")],
        "unauthorized, registry: the registry answered 403 DENIED to GET /v2/, which any caller may send",
    ),
    (
        [respond(200, b"<html>", content_type="text/html")],
        "unavailable, registry: the registry answered 200 with text/html to GET /v2/: is registryEndpoint right?",
    ),
    ([respond(429)], "throttled, registry: the registry answered 429"),
    (
        [respond(503)],
        "unavailable, registry: the registry answered 503 to GET /v2/: is registryEndpoint right?",
    ),
    (
        [respond(503), ASKS],
        "unavailable, image: the registry answered 503 to GET /v2/: is registryEndpoint right?",
    ),
    (
        [respond(404, b"<html>")],
        "unavailable, registry: the registry answered 404 to GET /v2/: is registryEndpoint right?",
    ),
    (
        [respond(301, location="https://elsewhere/")],
        "unavailable, registry: the registry answered 301 to GET /v2/: is registryEndpoint right?",
    ),
    ([RegistryUnavailable("no connection", was_sent=False)], "unavailable, registry: no connection"),
    (
        [MalformedAnswer("the answer is larger than 262144 bytes")],
        "unavailable, registry: GET /v2/: the answer is larger than 262144 bytes",
    ),
]


@pytest.mark.parametrize(("answers", "said"), PINGS, ids=[case[1][:70] for case in PINGS])
def test_registry_without_usable_challenge_gets_no_login(answers: Sequence[Answer], said: str) -> None:
    """No image is in the request, so that it is the registry's fault if it repeats that."""
    transport = ScriptedRegistry({"GET /v2/": answers})
    assert get(tokens_of(transport, guarded_login())) == said
    assert all(
        name == "GET /v2/" and "Authorization" not in request.headers
        for name, request in zip(transport.sent, transport.requests, strict=True)
    )
    assert len(transport.sent) <= 3


def test_registry_is_asked_again_after_a_failure() -> None:
    """A failure is not kept."""
    transport = ScriptedRegistry({"GET /v2/": FOREIGN})
    tokens = tokens_of(transport)
    assert get(tokens).startswith("unauthorized")
    transport.script({"GET /v2/": ASKS})
    assert get(tokens) == "new t3"


def learn(tokens: Tokens, response: HttpResponse) -> str:
    """Take the token service from an answer about an image."""
    try:
        return str(tokens.learn(response))
    except TrustLookupError as error:
        return f"{error.reason}, {error.fault}: {error.detail}"


def test_challenge_about_an_image_is_used_only_with_own_realm() -> None:
    """The author of an image could choose one for which a proxy answers so."""
    transport = ScriptedRegistry({"GET /v2/": OPEN})
    tokens = tokens_of(transport)
    assert get(tokens) == "none"
    assert learn(tokens, FOREIGN) == (
        "unauthorized, image: the registry answered 401, and its realm for tokens is on another host, evil.example.com"
    )
    assert get(tokens) == "none"
    assert learn(tokens, ASKS) == "True"
    assert get(tokens) == "new t2"
    assert learn(tokens, ASKS) == "False"
    assert get(tokens) == "kept t2"


def test_changed_challenge_discards_tokens() -> None:
    """They are those of another service."""
    transport = ScriptedRegistry()
    tokens = tokens_of(transport)
    assert get(tokens) == "new t2"
    other = refuse(401, "UNAUTHORIZED", www_authenticate=CHALLENGE.replace("dockyard", "other"))
    assert learn(tokens, other) == "True"
    assert get(tokens) == "new t3"
    assert ("service", "other") in transport.requests[-1].query


NO = refuse(401, "UNAUTHORIZED")


def check(login: Credential | None, **answers: Answer | Sequence[Answer]) -> str:
    """Check a login and describe the result."""
    transport = ScriptedRegistry(answers)
    try:
        return tokens_of(transport, login).check(Deadline.after(5), free).value
    except TrustLookupError as error:
        return f"{error.reason}, {error.fault}: {error.detail}"


def test_login_is_checked_without_an_image() -> None:
    """For ``swr-trust doctor``: with the token, the registry answers 200 to ``GET /v2/``."""
    ping = {"GET /v2/": [ASKS, OPEN]}
    assert check(guarded_login(), **ping) == LoginState.LOGGED_IN
    assert check(None, **ping) == LoginState.ANONYMOUS
    assert check(guarded_login(), **{"GET /v2/": OPEN}) == LoginState.OPEN


def test_failed_login_is_described() -> None:
    """An operator must see which of the two services refuses."""
    refused = "unauthorized, registry: the token service answered 401 UNAUTHORIZED: it refuses the login"
    assert check(guarded_login(), token=NO) == refused
    assert check(guarded_login()) == (
        "unauthorized, registry: the registry answered 401 UNAUTHORIZED to a token of its own token service"
    )
    assert check(guarded_login(), **{"GET /v2/": [ASKS, respond(503)]}) == (
        "unavailable, registry: the registry answered 503"
    )


def test_token_is_not_represented() -> None:
    """It is a secret."""
    assert repr(Token("hunter2", is_new=True)) == "Token(is_new=True)"
