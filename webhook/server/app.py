"""The HTTP surface: one admission path, two probes, one page of metrics."""

from __future__ import annotations

import logging
import re
from typing import Final, Protocol

import msgspec
from flask import Flask, Request, Response, request
from werkzeug.exceptions import HTTPException

from webhook.admission.decision import INTERNAL_ERROR, Decision, Outcome
from webhook.admission.request import AdmissionRequest
from webhook.admission.review import read_beginning, read_review, write_review
from webhook.deadlines import Deadline
from webhook.errors import BadReviewError
from webhook.server.health import Health
from webhook.telemetry.metrics import CONTENT_TYPE, Metrics

logger = logging.getLogger(__name__)

MAX_BODY: Final = 7 * 1024 * 1024
"""Bytes. etcd holds objects of 1.5 MiB, the API server takes requests of 3 MB; an update carries the
object twice, and the rest of the review is below 1 MB (controller-runtime uses the same bound)."""

DEFAULT_TIMEOUT: Final = 10.0
MAX_TIMEOUT: Final = 30.0
"""Seconds that a webhook may take: Kubernetes' default and its maximum."""

_TIMEOUT: Final = re.compile(r"(?:^|&)timeout=([0-9]{1,4})s(?:&|$)")
_JSON: Final = "application/json"


class Decider(Protocol):
    """Decides requests; ``webhook.admission.gate.Gate`` is one."""

    def decide(self, request: AdmissionRequest, deadline: Deadline) -> Decision:
        """Return the decision; never raises."""
        ...  # pragma: no cover


def create_app(gate: Decider, health: Health, metrics: Metrics) -> Flask:
    """Return the application; all it needs is handed in, nothing is global."""
    app = Flask("swr-trust-webhook", static_folder=None)

    @app.post("/validate")
    def validate() -> Response:
        environ = request.environ
        deadline = Deadline.after(time_to_decide(environ.get("QUERY_STRING", "")))
        if not health.admits_caller(environ):
            raise BadReviewError(403, "a client certificate of the API server is required")
        review = _read_review(request)
        return Response(_decide(gate, metrics, review, deadline), mimetype=_JSON)

    @app.get("/healthz")
    def healthz() -> Response:
        return Response("ok\n", mimetype="text/plain")

    @app.get("/readyz")
    def readyz() -> Response:
        report = health.report()
        text = "ok\n" if report.ready else "not ready\n"
        if not report.ready or "verbose" in request.args:
            text = "".join(f"{line}\n" for line in report.lines) + text
        return Response(text, status=200 if report.ready else 503, mimetype="text/plain")

    @app.get("/metrics")
    def expose() -> Response:
        health.refresh()
        return Response(metrics.render(), content_type=CONTENT_TYPE)

    @app.errorhandler(BadReviewError)
    def refuse_broken(error: BadReviewError) -> Response:
        return _broken(metrics, error.status, str(error))

    @app.errorhandler(HTTPException)
    def refuse_http(error: HTTPException) -> Response:
        code = error.code if error.code is not None else 500
        return _broken(metrics, code, _SENTENCES.get(code, error.name))

    return app


def _read_review(call: Request) -> AdmissionRequest:
    if call.environ.get("CONTENT_TYPE") != _JSON and call.mimetype != _JSON:
        raise BadReviewError(415, f"Content-Type must be {_JSON}")
    # The worker has read all of it, and no more than a byte above the limit.
    body = call.environ["wsgi.input"].read()
    if len(body) <= MAX_BODY:
        return read_review(body)
    # By one byte: the worker reads no more.
    review = read_beginning(body, f"the review is larger than {MAX_BODY // 2**20} MiB")
    if review is None:
        raise BadReviewError(413, _SENTENCES[413])
    return review


def _decide(gate: Decider, metrics: Metrics, review: AdmissionRequest, deadline: Deadline) -> bytes:
    """Return the answer to a review, under its uid whatever breaks.

    An HTTP error would be a failed call, which a ``failurePolicy`` of ``Ignore`` lets pass.
    """
    metrics.deciding += 1
    try:
        return write_review(review.uid, gate.decide(review, deadline))
    except Exception:
        logger.exception("failed to answer a request", extra={"uid": review.uid})
        return write_review(review.uid, _FAILED)
    finally:
        metrics.deciding -= 1


_FAILED: Final = Decision(
    Outcome.ERROR,
    allowed=False,
    code=INTERNAL_ERROR[0],
    status_reason=INTERNAL_ERROR[1],
    message="denied by image trust policy: the webhook failed and admits nothing it has not judged",
    annotations={"decision": str(Outcome.ERROR), "error": "crash"},
)

_SENTENCES: Final = {
    404: "there is /validate, /healthz, /readyz and /metrics",
    405: "/validate takes POST, everything else GET",
    413: f"an AdmissionReview has at most {MAX_BODY // 2**20} MiB",
}


def _broken(metrics: Metrics, status: int, message: str) -> Response:
    metrics.call_broken(status)
    return Response(msgspec.json.encode({"error": message}), status=status, mimetype=_JSON)


def time_to_decide(query: str) -> float:
    """Return the seconds that a review may take, by the query string of its call.

    kube-apiserver's ``timeout`` parameter is what it will wait, rounded up to whole seconds. So a
    second is kept back for the rounding and the way back, or half of a short time.
    """
    match = _TIMEOUT.search(query)
    seconds = min(float(match[1]), MAX_TIMEOUT) if match is not None else DEFAULT_TIMEOUT
    seconds = max(seconds, 1.0)
    return seconds - min(max(1.0, seconds * 0.1), seconds * 0.5)
