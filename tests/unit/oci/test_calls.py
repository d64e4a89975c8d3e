"""Calls to a registry: limits, metrics, and when a timeout is the registry's fault."""

from __future__ import annotations

import threading
import time
from contextlib import AbstractContextManager, nullcontext

import pytest

from tests.support.fakes import RecorderSpy, free
from tests.support.registries import ENDPOINT, OPEN, ScriptedRegistry, refuse, registry_at, respond
from webhook.deadlines import Deadline
from webhook.errors import Fault, LookupTimeout, MalformedAnswer, RegistryUnavailable, Throttled
from webhook.http_client.failures import attribute_failure
from webhook.http_client.messages import HttpRequest, HttpResponse
from webhook.oci.calls import Calls, is_alive
from webhook.swr.answers import BLOCKED
from webhook.trust.records import CallLimiter

MANIFEST = HttpRequest("GET", ENDPOINT, "/v2/shop/web/manifests/1")


class Limiter:
    """Implements ``CallLimiter`` and counts."""

    is_probe = False
    timeout = 0.0

    def __init__(self) -> None:
        self.calls = self.answers = 0

    def call(self, deadline: Deadline) -> AbstractContextManager[None]:
        self.calls += 1
        return nullcontext()

    timed = call

    def record_answer(self) -> None:
        self.answers += 1


def calls_of(transport: ScriptedRegistry, *, closes_breaker: bool = True) -> tuple[Calls, RecorderSpy]:
    """Return the calls to a scripted registry."""
    notes = RecorderSpy()
    return Calls(registry_at(ENDPOINT), ENDPOINT, transport, notes, closes_breaker=closes_breaker), notes


def test_call_is_limited_and_counted() -> None:
    """Under the name of the registry, by status or by the reason of the failure."""
    transport, limiter = ScriptedRegistry(), Limiter()
    calls, notes = calls_of(transport)
    calls.send(MANIFEST, Deadline.after(5), limiter)
    transport.script({"GET /v2/shop/web/manifests/1": RegistryUnavailable("reset")})
    with pytest.raises(RegistryUnavailable):
        calls.send(MANIFEST, Deadline.after(5), limiter)
    assert limiter.calls == 2
    assert [line[:2] for line in notes.named("record_call")] == [
        ("swr.cn-north-4.myhuaweicloud.com", "404"),
        ("swr.cn-north-4.myhuaweicloud.com", "unavailable"),
    ]


@pytest.mark.parametrize(
    ("answer", "answers", "is_answered"),
    [(OPEN, 1, True), (refuse(404, "X"), 1, True), (refuse(401, "X"), 1, False), (respond(503), 0, False)],
    ids=["200", "404", "401", "503"],
)
def test_answer_closes_breaker_unless_it_is_a_failure(
    answer: HttpResponse, answers: int, is_answered: bool
) -> None:
    """The probe says when the registry last answered about an image."""
    transport, limiter = ScriptedRegistry({"GET /v2/shop/web/manifests/1": answer}), Limiter()
    calls, _ = calls_of(transport)
    before = time.time()
    calls.send(MANIFEST, Deadline.after(5), limiter)
    assert limiter.answers == answers
    assert (calls.answered_at is not None and calls.answered_at >= before) is is_answered


def test_answer_of_token_service_does_not_close_breaker() -> None:
    """It would hide that the registry does not answer."""
    transport, limiter = ScriptedRegistry(), Limiter()
    calls, _ = calls_of(transport, closes_breaker=False)
    calls.send(calls.ping, Deadline.after(5), limiter)
    assert limiter.answers == 0


def test_blocked_account_is_an_error_under_any_status() -> None:
    """It is about neither the login nor the image."""
    transport = ScriptedRegistry({"GET /v2/shop/web/manifests/1": refuse(404, "DENIED", BLOCKED)})
    calls, _ = calls_of(transport)
    with pytest.raises(Throttled) as caught:
        calls.send(MANIFEST, Deadline.after(5), free)
    assert caught.value.blocks_account


def late(
    transport: ScriptedRegistry,
    *,
    answers_pings: bool,
    limiter: CallLimiter = free,
    closes_breaker: bool = True,
) -> LookupTimeout:
    """Make a call about an image that is never answered."""
    released = threading.Event()

    def wait(name: str) -> None:
        if name != "GET /v2/" or not answers_pings:
            released.wait(1.0)
            raise LookupTimeout(f"{name} late", fault=Fault.REGISTRY)

    transport.on_send = wait
    calls, _ = calls_of(transport, closes_breaker=closes_breaker)
    with pytest.raises(LookupTimeout) as caught:
        calls.send(MANIFEST, Deadline.after(1.0), limiter)
    released.set()
    return caught.value


@pytest.mark.slow
def test_timeout_is_registry_fault_if_pings_are_not_answered_either() -> None:
    """Two control requests without an image are sent while the call waits."""
    transport = ScriptedRegistry()
    assert late(transport, answers_pings=False).fault is Fault.REGISTRY
    assert transport.sent.count("GET /v2/") == 2


@pytest.mark.slow
def test_timeout_is_image_fault_if_pings_are_answered() -> None:
    """An author may know an image that the registry is slow about."""
    error = late(ScriptedRegistry(), answers_pings=True)
    assert (str(error), error.fault) == (
        "GET /v2/shop/web/manifests/1 late, and answers about other images",
        Fault.IMAGE,
    )


@pytest.mark.slow
@pytest.mark.parametrize("closes_breaker", [True, False])
def test_answered_control_request_of_token_service_does_not_close_breaker(closes_breaker: bool) -> None:
    """A slow token would hide that the registry does not answer."""
    limiter = Limiter()
    late(ScriptedRegistry(), answers_pings=True, limiter=limiter, closes_breaker=closes_breaker)
    assert (limiter.answers > 0) is closes_breaker


def compared(error: RegistryUnavailable, *answers: HttpResponse | Exception) -> RegistryUnavailable:
    """Compare a failure with control requests that are answered so."""
    script = iter(answers)

    def control() -> HttpResponse:
        answer = next(script)
        if isinstance(answer, Exception):
            raise answer
        return answer

    return attribute_failure(error, lambda: is_alive(control()))


DOWN = RegistryUnavailable("503", retry_after=4.0)
CONTROLS: list[tuple[tuple[HttpResponse | Exception, ...], Fault]] = [
    ((OPEN,), Fault.IMAGE),
    ((respond(401),), Fault.IMAGE),
    ((respond(403),), Fault.IMAGE),
    ((respond(429),), Fault.IMAGE),
    ((respond(503), OPEN), Fault.IMAGE),
    ((respond(503), respond(503)), Fault.REGISTRY),
    ((respond(404), respond(404)), Fault.REGISTRY),
    ((RegistryUnavailable("reset"), respond(503)), Fault.REGISTRY),
]


@pytest.mark.parametrize(("answers", "fault"), CONTROLS, ids=[str(case[0])[:60] for case in CONTROLS])
def test_failure_is_registry_fault_if_two_control_requests_fail(
    answers: tuple[HttpResponse | Exception, ...], fault: Fault
) -> None:
    """A single one may fail by chance, and an author may retry until that happens."""
    error = compared(DOWN, *answers)
    assert (error.detail, error.fault, error.retry_after) == ("503", fault, 4.0)


def test_local_failure_is_not_compared() -> None:
    """Our own limits are known."""
    assert compared(RegistryUnavailable("full", fault=Fault.LOCAL)).fault is Fault.LOCAL


LATE = LookupTimeout("no time is left", fault=Fault.LOCAL)


def test_unsent_request_is_registry_fault_without_time_for_control_requests() -> None:
    """The image cannot be the cause before the request was sent."""
    assert compared(RegistryUnavailable("no connection", was_sent=False), LATE).fault is Fault.REGISTRY
    with pytest.raises(LookupTimeout):
        compared(DOWN, LATE)


@pytest.mark.parametrize(
    "failure",
    [LATE, Throttled("slow down", fault=Fault.REGISTRY), RegistryUnavailable("x", fault=Fault.LOCAL)],
)
def test_control_request_that_tells_nothing_is_the_failure(failure: Exception) -> None:
    """Whose fault the first one was is not known then, and nothing is admitted."""
    with pytest.raises(type(failure)):
        compared(DOWN, failure)


def test_ping_that_is_too_large_is_a_failure_of_the_registry() -> None:
    """No image is in the request."""
    transport = ScriptedRegistry({"GET /v2/": MalformedAnswer("the answer is larger than 262144 bytes")})
    calls, _ = calls_of(transport)
    with pytest.raises(RegistryUnavailable) as caught:
        calls.send_ping(Deadline.after(5), free)
    assert str(caught.value) == "GET /v2/: the answer is larger than 262144 bytes"
