"""``POST /validate``: the one path whose every microsecond is paid by a Pod.

Plain WSGI (PEP 3333) in front of Flask, which serves everything else: matching a route, and making a
request and a response object, takes Flask as long as it takes us to judge a cached image.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any, Final, Protocol
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

import msgspec

from webhook.admission.decision import INTERNAL_ERROR, Decision, Outcome
from webhook.admission.request import AdmissionRequest
from webhook.admission.review import read_beginning, read_review, write_review
from webhook.deadlines import Deadline, LargeWork, Pause, no_pause
from webhook.errors import BadReviewError
from webhook.server.tls import ServingCertificate, has_required_certificate
from webhook.telemetry.metrics import Metrics

logger = logging.getLogger(__name__)

PATH: Final = "/validate"
JSON: Final = "application/json"

MAX_BODY: Final = 7 * 1024 * 1024
"""Bytes. etcd holds objects of 1.5 MiB, the API server takes requests of 3 MB; an update carries the
object twice, and the rest of the review is below 1 MB (controller-runtime uses the same bound)."""

LARGE: Final = 32 * 1024
"""Bytes from which reading a body is large work: one at a time, with everybody else between. Ordinary reviews
have 2 to 20 KB; so many bytes full of annotations take 0.2 ms."""

BUSY: Final = "too many large reviews are being read"

DEFAULT_TIMEOUT: Final = 10.0
MAX_TIMEOUT: Final = 30.0
"""Seconds that a webhook may take: Kubernetes' default and its maximum."""

WRONG_METHOD: Final = "/validate takes POST, everything else GET"
TOO_LARGE: Final = f"an AdmissionReview has at most {MAX_BODY // 2**20} MiB"

_TIMEOUT: Final = re.compile(r"(?:^|&)timeout=([0-9]{1,4})s(?:&|$)")
_OK: Final = "200 OK"
_MEDIA_TYPE: Final = ("Content-Type", JSON)


class Decider(Protocol):
    """Decides requests; ``webhook.admission.gate.Gate`` is one."""

    def decide(self, request: AdmissionRequest, deadline: Deadline) -> Decision:
        """Return the decision; never raises."""
        ...  # pragma: no cover

    def refuse_as_busy(self, request: AdmissionRequest) -> Decision:
        """Return the decision for a review that there is no room for now; never raises."""
        ...  # pragma: no cover


class Reviews:
    """A WSGI application that answers reviews, and hands on whatever is for another path."""

    def __init__(
        self,
        others: WSGIApplication,
        gate: Decider,
        certificate: ServingCertificate,
        metrics: Metrics,
        large_work: LargeWork,
    ) -> None:
        """Answer by ``gate``; ``others`` is what stands behind all other paths."""
        self._large_work = large_work
        self._others = others
        self._gate = gate
        self._certificate = certificate
        self._metrics = metrics

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one call."""
        if environ["PATH_INFO"] != PATH:
            return self._others(environ, start_response)
        status = _OK
        headers = [_MEDIA_TYPE]
        try:
            body = self._answer(environ)
        except BadReviewError as error:
            status, body = self._refuse(error.status, str(error))
            if error.status == HTTPStatus.METHOD_NOT_ALLOWED:
                headers.append(("Allow", "POST"))
        except Exception:
            logger.exception("failed to read a call")
            status, body = self._refuse(HTTPStatus.INTERNAL_SERVER_ERROR, "Internal Server Error")
        headers.append(("Content-Length", str(len(body))))
        start_response(status, headers)
        return (body,)

    def _answer(self, environ: dict[str, Any]) -> bytes:
        if environ["REQUEST_METHOD"] != "POST":
            raise BadReviewError(HTTPStatus.METHOD_NOT_ALLOWED, WRONG_METHOD)
        if not has_required_certificate(self._certificate, environ):
            raise BadReviewError(403, "a client certificate of the API server is required")
        _check_media_type(environ)
        # The worker has read all of it, and no more than a byte above the limit.
        stream = environ["wsgi.input"]
        is_cut = getattr(stream, "is_cut", False)
        # The API server waits since it began to send: what the body took, in our budget too, is lost.
        began = getattr(stream, "began", None) or time.monotonic()
        deadline = Deadline(began + time_to_decide(environ.get("QUERY_STRING", "")))
        if not getattr(stream, "may_wait", True):
            deadline = Deadline.after(0)
        body = stream.read()
        if len(body) <= LARGE:
            review = _read_review(body, is_cut=is_cut, pause=no_pause)
        else:
            with self._large_work.piece(deadline) as granted:
                is_cut = is_cut or not granted
                review = _read_review(body, is_cut=is_cut, pause=self._large_work.pause)
        del body
        return self._decide(review, deadline, is_busy=is_cut)

    def _decide(self, review: AdmissionRequest, deadline: Deadline, *, is_busy: bool) -> bytes:
        """Return the answer to a review, under its uid whatever breaks.

        An HTTP error would be a failed call, which a ``failurePolicy`` of ``Ignore`` lets pass.
        """
        self._metrics.deciding += 1
        try:
            if is_busy:
                self._metrics.load.review_refused_as_busy()
                return write_review(review.uid, self._gate.refuse_as_busy(review))
            return write_review(review.uid, self._gate.decide(review, deadline))
        except Exception:
            logger.exception("failed to answer a request", extra={"uid": review.uid})
            return write_review(review.uid, _FAILED)
        finally:
            self._metrics.deciding -= 1

    def _refuse(self, code: int, message: str) -> tuple[str, bytes]:
        self._metrics.call_broken(code)
        return f"{code} {HTTPStatus(code).phrase}", error_body(message)


_FAILED: Final = Decision(
    Outcome.ERROR,
    allowed=False,
    code=INTERNAL_ERROR[0],
    status_reason=INTERNAL_ERROR[1],
    message="denied by image trust policy: the webhook failed and admits nothing it has not judged",
    annotations={"decision": str(Outcome.ERROR), "error": "crash"},
)


def error_body(message: str) -> bytes:
    """Return what a broken call is answered."""
    return msgspec.json.encode({"error": message})


def time_to_decide(query: str) -> float:
    """Return the seconds that a review may take, by the query string of its call.

    kube-apiserver's ``timeout`` parameter is what it will wait, rounded up to whole seconds. So a
    second is kept back for the rounding and the way back, or half of a short time.
    """
    match = _TIMEOUT.search(query)
    seconds = min(float(match[1]), MAX_TIMEOUT) if match is not None else DEFAULT_TIMEOUT
    seconds = max(seconds, 1.0)
    return seconds - min(max(1.0, seconds * 0.1), seconds * 0.5)


def _check_media_type(environ: dict[str, Any]) -> None:
    said = environ.get("CONTENT_TYPE", "")
    if said != JSON and said.partition(";")[0].strip().lower() != JSON:
        raise BadReviewError(415, f"Content-Type must be {JSON}")


def _read_review(body: bytes, *, is_cut: bool, pause: Pause) -> AdmissionRequest:
    """Read a review; of one that ``is_cut``, whose it is."""
    if is_cut:
        review = read_beginning(body, BUSY)
        if review is None:
            raise BadReviewError(429, BUSY)
        return review
    if len(body) <= MAX_BODY:
        return read_review(body, pause)
    review = read_beginning(body, f"the review is larger than {MAX_BODY // 2**20} MiB")
    if review is None:
        raise BadReviewError(413, TOO_LARGE)
    return review
