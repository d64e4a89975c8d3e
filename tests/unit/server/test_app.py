"""The HTTP endpoints without a socket: statuses, bodies, and answers after any error."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from tests.support.app_client import AppClient
from tests.support.builders import DIGEST, HOST, UID, make_validator, pod, review
from tests.support.json_patch import patch_of
from webhook.admission.bounds import PIECE
from webhook.admission.decision import TOO_MANY_REQUESTS, Decision
from webhook.admission.extraction import ImageUse, TargetKind
from webhook.admission.mutation import Mutation, Outcome, Pin
from webhook.admission.request import AdmissionRequest
from webhook.deadlines import Deadline, LargeWork
from webhook.server.app import create_webhook_app
from webhook.server.exchange import Request, Response
from webhook.server.health import Report
from webhook.server.reviews import MAX_BODY, Reviews, time_to_decide
from webhook.telemetry.kept_page import BURST
from webhook.telemetry.metrics import Metrics
from webhook.trust.records import TrustStatus

ALLOWED = Decision.allow(TargetKind.POD, annotations={"decision": "allow"})
JSON = {"Content-Type": "application/json"}


class FakeProbes:
    """Ready unless a test says otherwise."""

    def __init__(self, *, is_ready: bool = True) -> None:
        self.is_ready = is_ready

    def live(self) -> Report:
        return Report(ok=True)

    def ready(self, *, verbose: bool) -> Report:
        lines = (
            "[+] certificate: valid until 2026-07-18T00:00:00Z (9 days)",
            "[!] swr x: has not answered yet",
        )
        return Report(self.is_ready, lines if verbose or not self.is_ready else ())


class CountingMetrics(Metrics):
    """Counts the renderings of the page."""

    rendered = 0

    def render(self) -> bytes:
        self.rendered += 1
        return super().render()


OPEN: Any = SimpleNamespace(requires_client=False)
"""A certificate whose server answers every client."""


class FakeValidator:
    """Decides by a function, and records its deadlines."""

    def __init__(self, decide: Callable[[AdmissionRequest], Decision] = lambda _: ALLOWED) -> None:
        self._decide = decide
        self.remaining: list[float] = []

    def validate(self, request: AdmissionRequest, deadline: Deadline) -> Decision:
        self.remaining.append(deadline.remaining())
        return self._decide(request)

    def deny_as_busy(self, request: AdmissionRequest) -> Decision:
        return Decision.deny(TargetKind.POD, f"busy: {request.uid}", TOO_MANY_REQUESTS)


class FakeMutator:
    """Pins the images that it is given."""

    def __init__(self, *pins: Pin, fails: bool = False) -> None:
        self._mutation = Mutation(pins=pins, annotations={"policy": "v1"})
        self._fails = fails
        self.remaining: list[float] = []

    def mutate(self, request: AdmissionRequest, deadline: Deadline) -> Mutation:
        self.remaining.append(deadline.remaining())
        if self._fails:
            raise RuntimeError("broken")
        return self._mutation

    def skip_as_busy(self, request: AdmissionRequest) -> Mutation:
        return Mutation(Outcome.BUSY, annotations={"error": f"busy {request.uid}"})


def client(
    decider: Any = None, probes: Any = None, metrics: Metrics | None = None, certificate: Any = OPEN
) -> AppClient:
    """Return a client of an application of fakes."""
    chosen = metrics if metrics is not None else Metrics("test")
    return AppClient(
        create_webhook_app(
            decider or FakeValidator(), FakeMutator(), certificate, probes or FakeProbes(), chosen
        )
    )


@pytest.mark.parametrize(
    ("query", "expected_seconds"),
    [
        ("", 9.0),
        ("timeout=10s", 9.0),
        ("timeout=1s", 0.5),
        ("timeout=2s", 1.0),
        ("timeout=3s", 2.0),
        ("timeout=15s", 13.5),
        ("timeout=30s", 27.0),
        ("timeout=31s", 27.0),
        ("timeout=9999s", 27.0),
        ("timeout=0s", 0.5),
        ("dry=1&timeout=5s&x=y", 4.0),
        ("timeout=5s&timeout=30s", 4.0),
        # A value that kube-apiserver never sends counts as absent.
        ("timeout=99999s", 9.0),
        ("timeout=-1s", 9.0),
        ("timeout=5", 9.0),
        ("timeout=5ms", 9.0),
        ("timeout=1e3s", 9.0),
        ("timeout=nans", 9.0),
        ("xtimeout=5s", 9.0),
        ("timeout=", 9.0),
        ("timeout=٣s", 9.0),
    ],
)
def test_review_deadline_reserves_time_for_answer(query: str, expected_seconds: float) -> None:
    """kube-apiserver rounds the parameter up, and the answer needs time in transit."""
    assert time_to_decide(query) == expected_seconds


@pytest.mark.parametrize(("query", "expected_at_most"), [("?timeout=2s", 1.0), ("", 9.0)])
def test_review_deadline_is_that_of_query_string(query: str, expected_at_most: float) -> None:
    """The validator gets the deadline of the query string."""
    decider = FakeValidator()
    assert client(decider).post(f"/validate{query}", data=review(pod()), headers=JSON).status_code == 200
    assert expected_at_most - 0.5 < decider.remaining[0] <= expected_at_most


def test_review_is_answered_with_its_uid() -> None:
    """The whole answer for an admitted Pod."""
    answer = client().post("/validate", data=review(pod()), headers=JSON)
    assert (answer.status_code, answer.mimetype) == (200, "application/json")
    assert answer.get_json() == {
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "response": {"uid": UID, "allowed": True, "auditAnnotations": {"decision": "allow"}},
    }


def test_denied_review_has_http_status_200() -> None:
    """A denial is a complete answer; here it comes from the real validator."""
    decider, _ = make_validator(facts={"shop/web:2": TrustStatus.UNTRUSTED})
    answer = client(decider).post("/validate", data=review(pod(f"{HOST}/shop/web:2")), headers=JSON)
    response = answer.get_json()["response"]
    assert answer.status_code == 200
    assert (response["uid"], response["allowed"]) == (UID, False)
    assert response["status"] == {
        "code": 403,
        "reason": "Forbidden",
        "message": f'denied by image trust policy: spec.containers[0].image "{HOST}/shop/web:2": '
        "SWR does not mark this tag as trusted. Mark this tag as trusted in SWR, or use a tag that already is.",
    }


@pytest.mark.parametrize(
    "content_type",
    ["application/json", "application/json; charset=utf-8", "Application/JSON", "application/json;"],
)
def test_json_media_type_is_accepted_in_any_spelling(content_type: str) -> None:
    """Only the media type counts, not its case or parameters."""
    answer = client().post("/validate", data=review(pod()), headers={"Content-Type": content_type})
    assert answer.status_code == 200


BROKEN: list[tuple[str, str, bytes, dict[str, str], int, str]] = [
    ("GET", "/validate", b"", {}, 405, "/validate and /mutate take POST, every other path GET"),
    ("PUT", "/validate", b"{}", JSON, 405, "/validate and /mutate take POST, every other path GET"),
    ("DELETE", "/validate", b"", {}, 405, "/validate and /mutate take POST, every other path GET"),
    ("POST", "/healthz", b"", {}, 405, "/validate and /mutate take POST, every other path GET"),
    ("POST", "/metrics", b"", {}, 405, "/validate and /mutate take POST, every other path GET"),
    ("GET", "/", b"", {}, 404, "there is /validate, /mutate, /healthz, /readyz and /metrics"),
    ("POST", "/validate/", b"{}", JSON, 404, "there is /validate, /mutate, /healthz, /readyz and /metrics"),
    ("GET", "/../etc/passwd", b"", {}, 404, "there is /validate, /mutate, /healthz, /readyz and /metrics"),
    ("POST", "/validate", review(pod()), {}, 415, "Content-Type must be application/json"),
    (
        "POST",
        "/validate",
        review(pod()),
        {"Content-Type": "text/json"},
        415,
        "Content-Type must be application/json",
    ),
    (
        "POST",
        "/validate",
        review(pod()),
        {"Content-Type": "application/yaml"},
        415,
        "Content-Type must be application/json",
    ),
    (
        "POST",
        "/validate",
        review(pod()),
        {"Content-Type": "multipart/form-data; boundary=x"},
        415,
        "Content-Type must be application/json",
    ),
    ("POST", "/validate", b" " * (MAX_BODY + 1), JSON, 413, "an AdmissionReview has at most 7 MiB"),
    ("POST", "/validate", b"", JSON, 400, "the body is not JSON: Input data was truncated"),
    ("POST", "/validate", b"{", JSON, 400, "the body is not JSON: Input data was truncated"),
    (
        "POST",
        "/validate",
        b"\xff\xfe",
        JSON,
        400,
        "the body is not JSON: JSON is malformed: invalid character (byte 0)",
    ),
    (
        "POST",
        "/validate",
        b"[" * 100_000,
        JSON,
        400,
        "the body is nested too deeply",
    ),
    (
        "POST",
        "/validate",
        b"null",
        JSON,
        400,
        "the body is not an AdmissionReview: Expected `object`, got `null`",
    ),
    (
        "POST",
        "/validate",
        b"{}",
        JSON,
        400,
        "the body is not an AdmissionReview: Object missing required field `apiVersion`",
    ),
    (
        "POST",
        "/validate",
        b'{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":null}',
        JSON,
        400,
        "the AdmissionReview has no request",
    ),
    (
        "POST",
        "/validate",
        review(pod()).replace(b"k8s.io/v1", b"k8s.io/v1beta1"),
        JSON,
        400,
        "apiVersion is 'admission.k8s.io/v1beta1'; this webhook accepts admission.k8s.io/v1",
    ),
    (
        "POST",
        "/validate",
        review(pod()).replace(b'"AdmissionReview"', b'"Pod"'),
        JSON,
        400,
        "the body is not an AdmissionReview: its kind is 'Pod'",
    ),
    ("POST", "/validate", review(pod(), uid=""), JSON, 400, "request.uid must have 1 to 256 characters"),
    (
        "POST",
        "/validate",
        review(pod(), uid="u" * 257),
        JSON,
        400,
        "request.uid must have 1 to 256 characters",
    ),
]


@pytest.mark.parametrize(("method", "path", "body", "headers", "expected_status", "expected_error"), BROKEN)
def test_bad_request_has_status_and_error_sentence(
    method: str, path: str, body: bytes, headers: dict[str, str], expected_status: int, expected_error: str
) -> None:
    """The whole answer is one JSON object with one sentence, and it is counted by status."""
    metrics = Metrics("test")
    answer = client(metrics=metrics).open(path, method=method, data=body, headers=headers)
    assert (answer.status_code, answer.mimetype) == (expected_status, "application/json")
    assert answer.get_json() == {"error": expected_error}
    counted = metrics.registry.get_sample_value(
        "swr_trust_broken_calls_total", {"code": str(expected_status)}
    )
    assert counted == 1


def test_body_of_maximum_size_is_read() -> None:
    """Exactly 7 MiB do not fail the call."""
    body = review(pod())
    body = body[:-1] + b" " * (MAX_BODY - len(body)) + body[-1:]
    assert len(body) == MAX_BODY
    assert client().post("/validate", data=body, headers=JSON).status_code == 200


def test_review_without_required_client_certificate_is_rejected() -> None:
    """403, before the body is read; probes need no certificate."""
    decider = FakeValidator()
    browser = client(decider, certificate=SimpleNamespace(requires_client=True))
    answer = browser.post("/validate", data=b"whatever", headers=JSON)
    assert answer.status_code == 403
    assert answer.get_json() == {"error": "a client certificate of the API server is required"}
    assert decider.remaining == []
    assert browser.get("/readyz").status_code == 200


def _crash(_: AdmissionRequest) -> Decision:
    raise RuntimeError("swr-secret-token")


def _return_unwritable(_: AdmissionRequest) -> Decision:
    wrong = {"image": object()}
    return Decision.allow(TargetKind.POD, annotations=wrong)  # type: ignore[arg-type]  # wrong on purpose


@pytest.mark.parametrize(
    "decide",
    [
        pytest.param(_crash, id="the validator raises"),
        pytest.param(lambda _: None, id="the validator returns nothing"),
        pytest.param(_return_unwritable, id="the answer cannot be written"),
    ],
)
def test_internal_error_is_denied_with_uid(decide: Callable[[AdmissionRequest], Decision]) -> None:
    """An HTTP error would be admitted by `failurePolicy: Ignore`. The answer does not contain the cause."""
    metrics = Metrics("test")
    answer = client(FakeValidator(decide), metrics=metrics).post(
        "/validate", data=review(pod()), headers=JSON
    )
    assert answer.status_code == 200
    assert answer.get_json() == {
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "response": {
            "uid": UID,
            "allowed": False,
            "status": {
                "code": 500,
                "reason": "InternalError",
                "message": "denied by image trust policy: the webhook failed, and a request that it cannot evaluate is denied",
            },
            "auditAnnotations": {"decision": "error", "error": "crash"},
        },
    }
    assert metrics.deciding == 0


def test_requests_in_flight_are_counted() -> None:
    """The gauge is one during a request, and zero after it."""
    metrics = Metrics("test")
    seen: list[int] = []

    def decide(_: AdmissionRequest) -> Decision:
        seen.append(metrics.deciding)
        return ALLOWED

    client(FakeValidator(decide), metrics=metrics).post("/validate", data=review(pod()), headers=JSON)
    assert (seen, metrics.deciding) == ([1], 0)


@pytest.mark.parametrize(
    ("path", "ready", "expected_status", "expected_body"),
    [
        ("/healthz", True, 200, "ok\n"),
        ("/healthz", False, 200, "ok\n"),
        ("/readyz", True, 200, "ok\n"),
        (
            "/readyz?verbose",
            True,
            200,
            "[+] certificate: valid until 2026-07-18T00:00:00Z (9 days)\n[!] swr x: has not answered yet\nok\n",
        ),
        (
            "/readyz",
            False,
            503,
            "[+] certificate: valid until 2026-07-18T00:00:00Z (9 days)\n[!] swr x: has not answered yet\nnot ready\n",
        ),
    ],
)
def test_probes_have_expected_status_and_body(
    path: str, ready: bool, expected_status: int, expected_body: str
) -> None:
    """A process that answers is alive; readiness follows the report, whose lines are shown on request or on
    failure.
    """
    answer = client(probes=FakeProbes(is_ready=ready)).get(path)
    assert (answer.status_code, answer.mimetype, answer.text) == (
        expected_status,
        "text/plain",
        expected_body,
    )


def test_metrics_are_exposed() -> None:
    """In the text format of Prometheus."""
    answer = client().get("/metrics")
    assert answer.content_type == "text/plain; version=0.0.4; charset=utf-8"
    assert 'swr_trust_build_info{version="test"} 1.0\n' in answer.text


def test_metrics_page_is_cached_for_frequent_requests() -> None:
    """Fault C3: 4,000 GETs of 34 bytes took six seconds of the loop."""
    metrics = CountingMetrics("test")
    reader = client(metrics=metrics)
    answers = [reader.get("/metrics") for _ in range(10 * BURST)]
    assert all(answer.status_code == 200 and "swr_trust_build_info" in answer.text for answer in answers)
    assert BURST <= metrics.rendered < 5 * BURST  # some are rendered again in the meantime, by the clock


def test_applications_do_not_share_metrics() -> None:
    """Two of them in one process count separately."""
    first, second = Metrics("a"), Metrics("b")
    client(metrics=first).get("/nowhere")
    client(metrics=second)
    name, labels = "swr_trust_broken_calls_total", {"code": "404"}
    assert first.registry.get_sample_value(name, labels) == 1
    assert second.registry.get_sample_value(name, labels) is None


def no_page(request: Request) -> Response:
    """Answer other paths than that of reviews."""
    raise AssertionError(request.path)


def post(
    body: bytes,
    *,
    path: str = "/validate",
    read_for: float = 0.0,
    is_truncated: bool = False,
    may_wait: bool = True,
) -> Request:
    """Return a request whose body took ``read_for`` seconds to arrive."""
    return Request(
        method="POST",
        path=path,
        query="timeout=5s",
        content_type="application/json",
        body=body,
        began=time.monotonic() - read_for,
        is_truncated=is_truncated,
        may_wait=may_wait,
    )


def call(
    decider: FakeValidator,
    request: Request,
    work: LargeWork | None = None,
    mutator: FakeMutator | None = None,
) -> dict[str, Any]:
    """Return the response to a request that the conversation passes on."""
    reviews = Reviews(no_page, decider, mutator or FakeMutator(), OPEN, Metrics("test"), work or LargeWork())
    response: dict[str, Any] = json.loads(reviews(request).body)["response"]
    return response


def test_body_read_time_is_deducted_from_review_deadline() -> None:
    """Fault C2: the API server waits since it began to send, so that a wait for our budget must count."""
    decider = FakeValidator()
    call(decider, post(review(pod("a")), read_for=1.5))
    assert 2.0 < decider.remaining[0] <= 2.5


def test_truncated_body_is_denied_with_uid() -> None:
    """Fault C2: an HTTP error would be an admission if the failure policy is Ignore."""
    beginning = review({"metadata": {"annotations": {"a": "x" * 100_000}}})[:60_000]
    assert call(FakeValidator(), post(beginning, is_truncated=True)) == {
        "uid": UID,
        "allowed": False,
        "status": {"code": 429, "reason": "TooManyRequests", "message": f"busy: {UID}"},
    }


@pytest.mark.parametrize("size", [0, 40_000])
def test_review_that_may_not_wait_has_expired_deadline(size: int) -> None:
    """Fault C2: cached images are still answered, with any size of the body."""
    decider = FakeValidator()
    obj = {"metadata": {"annotations": {"a": "x" * size}}}
    assert call(decider, post(review(obj), may_wait=False))["allowed"]
    assert decider.remaining == [0.0]


def test_large_body_read_yields_to_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fault C3: between its pieces, and before each attempt that a malformed object takes."""
    pauses: list[None] = []
    monkeypatch.setattr(LargeWork, "pause", lambda _: pauses.append(None))
    obj = {"metadata": {"annotations": {"a": "x" * (3 * PIECE)}, "name": 5}}
    call(FakeValidator(), post(review(obj)))
    assert len(pauses) == 3 + 3


def test_large_body_that_waits_too_long_is_denied_with_uid() -> None:
    """Fault C3: large bodies are read one at a time; 350 of 200 KB at once stalled the loop for a second."""
    work = LargeWork()
    request = post(review({"metadata": {"annotations": {"a": "x" * 40_000}}}), read_for=4.0)
    with work.piece(Deadline.after(10)):
        assert call(FakeValidator(), request, work)["status"]["code"] == 429


def test_body_is_dropped_before_review_waits() -> None:
    """Fault C2: a review that waited for SWR kept its body beside the decoded object."""
    kept: list[bytes] = []
    request = post(review(pod("a")))

    def decide(_: AdmissionRequest) -> Decision:
        kept.append(request.body)
        return ALLOWED

    call(FakeValidator(decide), request)
    assert kept == [b""]


# Mutations.

PIN = Pin(ImageUse("spec.containers[0].image", ("containers", "c0"), "a:1"), f"a:1@{DIGEST}")


def test_mutation_is_answered_with_json_patch() -> None:
    """Base64, with a test before the replacement."""
    mutator = FakeMutator(PIN)
    response = call(FakeValidator(), post(review(pod("a:1")), path="/mutate", read_for=1.5), mutator=mutator)
    operations = patch_of(response)
    assert operations == [
        {"op": "test", "path": "/spec/containers/0/image", "value": "a:1"},
        {"op": "replace", "path": "/spec/containers/0/image", "value": f"a:1@{DIGEST}"},
    ]
    assert {key: response[key] for key in response if key != "patch"} == {
        "uid": UID,
        "allowed": True,
        "auditAnnotations": {"policy": "v1"},
        "patchType": "JSONPatch",
    }
    assert 2.0 < mutator.remaining[0] <= 2.5


def test_mutation_without_pins_has_no_patch() -> None:
    """The API server rejects an empty patch with a patch type, and a type without a patch."""
    response = call(FakeValidator(), post(review(pod("a:1")), path="/mutate"))
    assert response == {"uid": UID, "allowed": True, "auditAnnotations": {"policy": "v1"}}


def test_failed_mutation_admits_pod_as_it_is() -> None:
    """``/validate`` decides about it."""
    response = call(
        FakeValidator(), post(review(pod("a:1")), path="/mutate"), mutator=FakeMutator(fails=True)
    )
    assert response == {"uid": UID, "allowed": True}


def test_truncated_body_is_not_mutated() -> None:
    """Its beginning names no image; ``/validate`` denies it, because it is read by the same limits."""
    beginning = review({"metadata": {"annotations": {"a": "x" * 100_000}}})[:60_000]
    assert call(FakeValidator(), post(beginning, path="/mutate", is_truncated=True)) == {
        "uid": UID,
        "allowed": True,
        "auditAnnotations": {"error": f"busy {UID}"},
    }


@pytest.mark.parametrize(
    ("method", "body", "headers", "status"),
    [
        ("GET", b"", {}, 405),
        ("POST", b"", {"Content-Type": "text/plain"}, 415),
        ("POST", b"{}", {"Content-Type": "application/json"}, 400),
    ],
)
def test_bad_call_of_mutate_has_same_status_as_of_validate(
    method: str, body: bytes, headers: dict[str, str], status: int
) -> None:
    """The same checks come first."""
    statuses = {
        client().open(path, method=method, data=body, headers=headers).status_code
        for path in ("/validate", "/mutate")
    }
    assert statuses == {status}
