"""Whatever a registry answers, a client returns what has the digest, or fails, and sends no login elsewhere."""

from __future__ import annotations

import base64
import json
from random import Random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.effort import seeds, thorough
from tests.fuzz.inputs import junk
from tests.support.fakes import free
from tests.support.registries import (
    ASKS,
    CHALLENGE,
    ENDPOINT,
    OPEN,
    REALM,
    ScriptedRegistry,
    grant,
    guarded_login,
    refuse,
    respond,
    scripted_client,
)
from webhook.deadlines import Deadline
from webhook.errors import LookupTimeout, MalformedAnswer, RegistryUnavailable, TrustLookupError
from webhook.http_client.messages import HttpRequest, HttpResponse
from webhook.oci.answers import compute_digest
from webhook.oci.challenges import ChallengeError, read_challenge
from webhook.oci.docker_config import read_docker_config
from webhook.oci.manifests import OCI_INDEX
from webhook.oci.token_answers import MAX_SECONDS, read_token
from webhook.oci.urls import read_url
from webhook.signatures.limits import MAX_MANIFEST

HOSTS = ("swr.example.com", "images.example.com:8443")
OWN = {("https", "swr.example.com", 443), ("https", "images.example.com", 8443)}
AT = read_url("https://swr.example.com")

pieces = st.sampled_from(
    [
        *("Bearer ", "Basic ", "realm=", "service=", 'scope="x"', '"', ",", " ", "=", "\\", '\\"', "\t"),
        *("https://swr.example.com/t", "https://images.example.com:8443", "http://swr.example.com", "@", "#"),
        *("https://evil.net", ".evil.net", "//", ":443", "[::1]", "%2e", "?a=b", "é", "\0"),
    ]
)
headers = st.lists(pieces | st.text(max_size=4), max_size=14).map("".join)


@thorough
@given(headers, headers)
def test_login_goes_to_hosts_of_configuration_only(realm: str, rest: str) -> None:
    """In any challenge."""
    assert AT is not None
    for header in (
        realm + rest,
        f'Bearer realm="{realm}",{rest}',
        f"Bearer realm=https://swr.example.com{rest}",
    ):
        try:
            challenge = read_challenge(header, AT, HOSTS)
        except ChallengeError as error:
            check_clause(str(error))
        else:
            assert challenge.realm.origin in OWN
            assert challenge.query("shop/web")[-1] == ("scope", "repository:shop/web:pull")


def check_clause(text: str) -> None:
    """Check that a text can be a part of a log line."""
    assert text.isprintable(), text
    assert len(text) < 320


@thorough
@given(headers)
def test_url_is_read_as_it_is_called(text: str) -> None:
    """What is compared is what is called: reading its parts again gives the same URL."""
    url = read_url(text)
    if url is not None:
        again = read_url(url.base_url + url.path + (f"?{url.query}" if url.query else ""))
        assert again == url
        assert "@" not in url.base_url


tokens = st.fixed_dictionaries(
    {}, optional={"token": st.text(max_size=9) | junk, "access_token": junk, "expires_in": junk | st.floats()}
)


@thorough
@given((tokens | junk).map(lambda value: json.dumps(value).encode()) | st.binary(max_size=60))
def test_answer_is_token_or_failure(raw: bytes) -> None:
    """A token can be sent in a header, and lives for some time."""
    try:
        issued = read_token(HttpResponse(200, {}, raw))
    except RegistryUnavailable:
        return
    assert issued.text.isascii()
    assert issued.text.isprintable()
    assert " " not in issued.text
    assert 0 < issued.seconds <= MAX_SECONDS


auths = st.dictionaries(
    st.sampled_from(["swr.example.com", "https://swr.example.com/v1/", "evil.net", ""]),
    junk
    | st.fixed_dictionaries(
        {},
        optional={
            "auth": junk | st.binary(max_size=12).map(lambda raw: base64.b64encode(raw).decode()),
            "username": junk,
            "password": junk,
        },
    ),
)
files = st.fixed_dictionaries({"auths": auths | junk}) | junk


@thorough
@given(files.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=60))
def test_file_contains_login_or_problem(raw: bytes) -> None:
    """The login can be sent in a header; the problem is a clause."""
    try:
        login = read_docker_config(raw, ["swr.example.com"])
    except ValueError as error:
        check_clause(str(error))
    else:
        assert login.header.isprintable()
        assert ":" not in login.user


CONTENT = json.dumps({"schemaVersion": 2, "manifests": []}).encode()
DIGEST = compute_digest(CONTENT)
EVIL = "https://evil.example.com"
TYPES = [
    OCI_INDEX,
    "application/vnd.oci.image.manifest.v1+json",
    "text/html",
    "",
    "\x1b[2J",
    "application/json",
]


def answer(random: Random) -> HttpResponse | TrustLookupError:
    """Return any answer of a registry or its token service."""
    kind = random.randrange(12)
    if kind < 4:
        body = random.choice([CONTENT] * 4 + [b"", b"x" * len(CONTENT), CONTENT + b" ", b"\xff"])
        stated = random.choice([DIGEST, DIGEST, "sha256:" + "0" * 64, "\r\nx", ""])
        return respond(200, body, content_type=random.choice(TYPES), docker_content_digest=stated)
    if kind < 6:
        return random.choice([ASKS, OPEN, grant(), grant("t", expires_in=random.choice([1, -1, "x", 1e300]))])
    if kind == 6:
        realm = random.choice([REALM, f"{EVIL}/t", REALM.replace("https", "http"), "x"])
        header = CHALLENGE.replace(REALM, realm).replace("dockyard", random.choice(["dockyard", "other"]))
        return refuse(random.choice([401, 401, 403]), "UNAUTHORIZED", www_authenticate=header)
    if kind == 7:
        location = random.choice(
            [f"{EVIL}/b?x=1", "http://evil.example.com/b", "/v2/", "", "x", f"{ENDPOINT}/b"]
        )
        return respond(random.choice([301, 302, 303, 307, 308]), location=location)
    if kind == 8:
        return random.choice(
            [
                RegistryUnavailable("x: the connection broke"),
                RegistryUnavailable("x: no connection", was_sent=False),
                LookupTimeout("x did not answer in time", fault=random.choice(["registry", "local"])),  # type: ignore[arg-type]
                MalformedAnswer("the answer is larger than 5 bytes"),
            ]
        )
    return refuse(
        random.choice([400, 404, 404, 405, 406, 429, 500, 503]), random.choice(["NAME_UNKNOWN", "x\ny"])
    )


class AnyRegistry(ScriptedRegistry):
    """Answers at random."""

    def __init__(self, random: Random) -> None:
        super().__init__()
        self._random = random

    def send(self, request: HttpRequest, deadline: Deadline) -> HttpResponse:
        self.requests.append(request)
        found = answer(self._random)
        if isinstance(found, TrustLookupError):
            raise found
        return found


def read(random: Random, transport: AnyRegistry) -> tuple[str, Any]:
    """Read something by a client that knows nothing."""
    client = scripted_client(transport, random.choice([None, guarded_login()]))
    deadline = Deadline(1e9)
    what = random.choice(["tag", "digest", "manifest", "by digest", "referrers", "blob", "login"])
    match what:
        case "tag":
            return what, client.resolve_tag("shop/web", "1", deadline, free)
        case "digest":
            return what, client.has_manifest("shop/web", DIGEST, deadline, free)
        case "manifest":
            return what, client.get_manifest("shop/web", "1", deadline, free)
        case "by digest":
            return what, client.get_manifest("shop/web", DIGEST, deadline, free)
        case "referrers":
            return what, client.list_referrers("shop/web", DIGEST, deadline, free)
        case "blob":
            return what, client.get_blob("shop/web", DIGEST, len(CONTENT), deadline, free)
    return what, client.check_login(deadline, free)


def check(seed: int) -> None:
    """Read once, and check what came of it."""
    random = Random(seed)
    transport = AnyRegistry(random)
    try:
        what, result = read(random, transport)
    except TrustLookupError as error:
        check_clause(error.detail)
    else:
        if what == "blob" and result is not None:
            assert result == CONTENT
        if what in ("manifest", "by digest") and result is not None:
            assert compute_digest(result.content) == result.digest
            assert what == "manifest" or result.content == CONTENT
        if what == "tag" and result is not None:
            assert result.startswith("sha256:")
            assert len(result) == 71
    assert len(transport.requests) <= 30
    for request in transport.requests:
        assert request.max_answer <= MAX_MANIFEST
        if "Authorization" in request.headers:
            assert request.base_url == ENDPOINT
            is_login = request.headers["Authorization"].startswith("Basic ")
            assert not is_login or request.path == REALM.removeprefix(ENDPOINT)


def test_client_returns_content_by_digest_or_fails() -> None:
    """Requests are few, the login goes to the token service only, and a failure is one clear clause."""
    for seed in seeds(1):
        check(seed)
