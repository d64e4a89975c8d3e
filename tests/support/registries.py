"""Clients of the registry API for tests, over the emulator or over scripted answers."""

from __future__ import annotations

import base64
import json
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from tests.support import responses
from tests.support.builders import registry
from tests.support.fakes import RecorderSpy
from webhook.deadlines import Deadline
from webhook.errors import TrustLookupError
from webhook.http_client.messages import Credential, HttpRequest, HttpResponse
from webhook.http_client.transport import PooledTransport
from webhook.oci.client import OciClient
from webhook.oci.docker_config import UserLogin
from webhook.oci.login import build_login
from webhook.recorder import Recorder
from webhook.registries import CredentialSettings, Registry
from webhook.swr.credentials.guard import GuardedCredential, Pause
from webhook.swr.credentials.secrets import FixedSecret

ENDPOINT = "https://swr.cn-north-4.myhuaweicloud.com"
REALM = f"{ENDPOINT}/swr/auth/v2/registry/auth/"
CHALLENGE = f'Bearer realm="{REALM}",service="dockyard"'

PROBE = re.compile(r"swr-trust-probe-[0-9a-f]{16}(/manifests/[0-9a-f]{16}$)?")
"""The random repository of a control request, and the random tag that is requested."""

Answer = HttpResponse | TrustLookupError


def write_docker_config(path: Path, logins: Mapping[str, tuple[str, str]]) -> str:
    """Write logins by host, as ``kubectl create secret docker-registry`` does; return the path."""
    auths = {
        host: {"auth": base64.b64encode(f"{user}:{password}".encode()).decode()}
        for host, (user, password) in logins.items()
    }
    path.write_text(json.dumps({"auths": auths}), encoding="utf-8")
    return str(path)


def registry_at(url: str, **changes: Any) -> Registry:
    """Return a registry whose API is at ``url``."""
    return registry(registry_endpoint=url, credentials=CredentialSettings("none"), **changes)


def open_client(
    url: str, login_file: str | None = None, recorder: Recorder | None = None
) -> tuple[OciClient, PooledTransport]:
    """Return a client of the registry at ``url`` over a real transport, and the transport."""
    transport, recorder = PooledTransport(), recorder or RecorderSpy()
    at = registry_at(url, docker_config_file=login_file)
    return OciClient(at, transport, build_login(at, {}, recorder), recorder), transport


def guarded_login(user: str = "robot", password: str = "hunter2") -> Credential:
    """Return a login that limits failed authentications, as those of files do."""
    return GuardedCredential(
        "registryLogin",
        FixedSecret(UserLogin(user, password)),
        lambda login, _: {"Authorization": login.header},
        Pause("registryLogin", Recorder()),
    )


def guarded_token() -> Credential:
    """Return a token that is tried by one request at a time, as that of a file is."""
    return GuardedCredential(
        "token", FixedSecret("t"), lambda token, _: {"X-Auth-Token": token}, Pause("token", Recorder())
    )


def respond(status: int, body: Any = b"", **headers: str) -> HttpResponse:
    """Return a response of ``tests.support.responses``; JSON says that it is."""
    if not isinstance(body, bytes):
        headers.setdefault("content_type", "application/json")
    return responses.respond(status, body, **headers)


def refuse(status: int, code: str, message: str = "", **headers: str) -> HttpResponse:
    """Return an error of OCI distribution."""
    return respond(status, {"errors": [{"code": code, "message": message}]}, **headers)


ASKS = refuse(401, "UNAUTHORIZED", www_authenticate=CHALLENGE)
OPEN = respond(200, {})


def grant(text: str = "t1", **more: Any) -> HttpResponse:
    """Return the answer of a token service."""
    return respond(200, {"token": text, "expires_in": 900, **more})


class ScriptedRegistry:
    """Implements ``Transport``: answers by the path and the scope, each from a list that repeats its last one.

    A request is written as ``GET /v2/``, or as ``token shop/web`` and ``token`` for those of the token
    service, with and without a scope. The repository of a control request is ``PROBE``, and its tag ``none``.
    """

    def __init__(self, answers: Mapping[str, Answer | Sequence[Answer]] = MappingProxyType({})) -> None:
        self.answers: dict[str, list[Answer]] = {}
        self.sent: list[str] = []
        self.requests: list[HttpRequest] = []
        self.ca_file_problem = ""
        self.on_send: Callable[[str], object] = lambda _: None
        self._lock = threading.Lock()
        self.script({"GET /v2/": ASKS, "token": grant("any")})
        self.script(answers)

    def script(self, answers: Mapping[str, Answer | Sequence[Answer]]) -> None:
        """Change the answers to some requests."""
        for request, answer in answers.items():
            self.answers[request] = [answer] if isinstance(answer, Answer) else list(answer)

    def send(self, request: HttpRequest, deadline: Deadline) -> HttpResponse:
        name = self.name(request)
        with self._lock:
            self.sent.append(name)
            self.requests.append(request)
            script = self.answers.get(name)
            if script is None and name.startswith("token "):
                script = [grant(f"t{len(self.sent)}")]
            if script is None:
                script = [refuse(404, "NAME_UNKNOWN")]
            answer = script.pop(0) if len(script) > 1 else script[0]
        self.on_send(name)
        if isinstance(answer, TrustLookupError):
            raise answer
        return answer

    @staticmethod
    def name(request: HttpRequest) -> str:
        """Return a request in short."""
        if request.base_url + request.path != REALM:
            host = "" if request.base_url == ENDPOINT else request.base_url
            return f"{request.method} {host}{_without_number(request.path)}"
        scopes = [_without_number(value.split(":")[1]) for key, value in request.query if key == "scope"]
        return " ".join(["token", *scopes])

    def received(self, base_url: str) -> int:
        return 0

    def take(self) -> list[str]:
        """Return the requests since the last call."""
        with self._lock:
            sent, self.sent = self.sent, []
        return sent


def _without_number(text: str) -> str:
    return PROBE.sub(lambda found: "PROBE" + ("/manifests/none" if found[1] else ""), text)


def scripted_client(
    transport: ScriptedRegistry,
    login: Credential | None = None,
    recorder: Recorder | None = None,
    clock: Callable[[], float] | None = None,
    **changes: Any,
) -> OciClient:
    """Return a client of a scripted registry, anonymous unless there is a login."""
    at = registry_at(ENDPOINT, **changes)
    recorder = recorder or RecorderSpy()
    if clock is None:
        return OciClient(at, transport, login, recorder)
    return OciClient(at, transport, login, recorder, clock)
