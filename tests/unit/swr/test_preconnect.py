"""The call before the first lookup: what it sends, and what its response means for the credential."""

from __future__ import annotations

import re
import threading
import time

import pytest

from tests.support.builders import registry
from tests.support.fakes import FakeCredential, FakeTransport, RecorderSpy, free
from tests.support.registries import guarded_token
from tests.support.responses import respond
from webhook.deadlines import Deadline
from webhook.errors import Fault, LookupTimeout, TrustLookupError
from webhook.http_client.messages import HttpRequest, HttpResponse
from webhook.swr.client import SwrClient
from webhook.swr.fallback import PROBE

SOON = Deadline(1e9)


MISSING = respond(404, {"error_code": "SVCSTG.SWR.4040115"})
UNPUBLISHED = respond(404, {"error_code": "APIGW.0101"})
REFUSED = respond(401, {"error_code": "APIGW.0301"})
UNEXPLAINED = respond(401, {"error_code": "SVCSTG.SWR.4019999"})


def preconnect(
    *answers: HttpResponse | TrustLookupError, organizations: frozenset[str] = frozenset()
) -> tuple[str, list[str], list[str]]:
    """Return the outcome, the paths of the calls, and what the credential was told."""
    transport, credential = FakeTransport(list(answers)), FakeCredential()
    client = SwrClient(registry(organizations=organizations), transport, credential, RecorderSpy())
    try:
        client.preconnect(SOON, free)
        outcome = "usable"
    except TrustLookupError as error:
        outcome = f"{error.reason}: {error.detail}"
    paths = [re.sub(f"{PROBE}-[0-9a-f]{{16}}", "RANDOM", request.path) for request in transport.sent]
    return outcome, paths, credential.told


TAG = "/v2/manage/namespaces/RANDOM/repos/RANDOM/tags/none"
LIST = "/v3/manage/namespaces/RANDOM/repos/RANDOM/tags"


@pytest.mark.parametrize(
    ("answers", "outcome", "paths", "told"),
    [
        ([MISSING], "usable", [TAG], ["accept 1", "release 1"]),
        ([respond(403)], "usable", [TAG], ["accept 1", "release 1"]),
        ([UNPUBLISHED, MISSING], "usable", [TAG, LIST], ["release 1", "accept 1", "release 1"]),
        (
            [UNPUBLISHED],
            "unavailable: the API gateway answers 404 APIGW.0101: is the endpoint right?",
            [TAG, LIST],
            ["release 1", "release 1"],
        ),
        (
            [REFUSED],
            "unauthorized: SWR answered 401 APIGW.0301",
            [TAG],
            ["reject 1 registry", "release 1"],
        ),
        (
            [UNEXPLAINED],
            "unauthorized: SWR answered 401 SVCSTG.SWR.4019999",
            [TAG],
            ["release 1"],
        ),
        ([respond(503)], "unavailable: SWR answered 503", [TAG], ["release 1"]),
        ([respond(429)], "throttled: SWR answered 429", [TAG], ["release 1"]),
        (
            [LookupTimeout("no answer", fault=Fault.IMAGE)],
            "timeout: no answer",
            [TAG],
            ["release 1"],
        ),
    ],
    ids=[
        "no such image",
        "no right to read it",
        "only tag lists are offered",
        "neither is offered",
        "the credential is refused",
        "refused without saying why",
        "the registry fails",
        "the registry is busy",
        "no answer",
    ],
)
def test_response_ends_trial_of_credential(
    answers: list[HttpResponse | TrustLookupError], outcome: str, paths: list[str], told: list[str]
) -> None:
    """Fault B6: only a refusal that names the credential pauses it: any other may be about the random image."""
    assert preconnect(*answers) == (outcome, paths, told)


def test_image_is_of_an_organization_of_the_policy() -> None:
    """The credential may have no right to read other organizations, which may be answered 401."""
    _, paths, _ = preconnect(UNPUBLISHED, MISSING, organizations=frozenset({"shop", "base"}))
    assert paths == [path.replace("RANDOM", "base", 1) for path in (TAG, LIST)]


class HeldTransport(FakeTransport):
    """Implements ``Transport``: waits for ``answer`` before it returns."""

    def __init__(self, answers: list[HttpResponse | TrustLookupError]) -> None:
        super().__init__(answers)
        self.called, self.answer = threading.Event(), threading.Event()

    def send(self, request: HttpRequest, deadline: Deadline) -> HttpResponse:
        self.called.set()
        assert self.answer.wait(10)
        return super().send(request, deadline)


class SilentTransport(HeldTransport):
    """Implements ``Transport``: never answers."""

    def send(self, request: HttpRequest, deadline: Deadline) -> HttpResponse:
        self.called.set()
        time.sleep(deadline.remaining())
        raise LookupTimeout("no answer", fault=Fault.REGISTRY)


def authorize_beside(transport: HeldTransport, seconds: float) -> str:
    """Return what a lookup gets that needs the credential while its trial waits for an answer."""
    credential = guarded_token()
    client = SwrClient(registry(), transport, credential, RecorderSpy())
    outcomes: list[str] = []

    def try_first() -> None:
        try:
            client.preconnect(Deadline.after(seconds), free)
        except TrustLookupError as error:
            outcomes.append(error.reason)

    def look_up() -> None:
        request = HttpRequest("GET", "https://swr.example", "/v2/tag")
        try:
            credential.authorize(request, Deadline.after(10))
            outcomes.append("authorized")
        except TrustLookupError as error:
            outcomes.append(f"{error.reason}, {error.fault}")

    first, second = threading.Thread(target=try_first), threading.Thread(target=look_up)
    first.start()
    assert transport.called.wait(10)
    second.start()
    transport.answer.set()
    first.join()
    second.join()
    return outcomes[-1]


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (MISSING, "authorized"),
        (respond(503), "authorized"),
        (REFUSED, "unauthorized, registry"),
    ],
    ids=["accepted", "not known", "refused"],
)
def test_lookup_beside_it_awaits_the_trial(answer: HttpResponse, outcome: str) -> None:
    """A wrong secret fails once, for all who want to use it."""
    assert authorize_beside(HeldTransport([answer]), 10) == outcome


def test_lookup_beside_it_learns_that_the_registry_is_silent() -> None:
    """Fault B6: otherwise no stale record would be served in the first seconds after a start."""
    assert authorize_beside(SilentTransport([MISSING]), 1.2) == "timeout, registry"
