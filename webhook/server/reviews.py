"""Application for POST /validate and POST /mutate.

Runs in front of Flask because Flask's routing and request objects cost as much as evaluating a cached image
(docs/decisions/0015). Other paths are passed to Flask.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from http import HTTPStatus
from typing import Final, Protocol

from webhook.admission.decision import Decision
from webhook.admission.mutation import Mutation, Outcome
from webhook.admission.request import AdmissionRequest
from webhook.admission.review import read_beginning, read_review, write_mutation, write_review
from webhook.deadlines import Deadline, LargeWork, Pause, no_pause
from webhook.errors import BadReviewError
from webhook.server.exchange import JSON, Application, Request, Response, error_response
from webhook.server.tls import ServingCertificate, has_required_certificate
from webhook.telemetry.metrics import Metrics

logger = logging.getLogger(__name__)

VALIDATE: Final = "/validate"
MUTATE: Final = "/mutate"

MAX_BODY: Final = 7 * 1024 * 1024
"""Bytes. etcd holds objects of 1.5 MiB, and the API server accepts requests of 3 MB. An update contains the
object twice, and the rest of the review is below 1 MB (controller-runtime has the same limit)."""

LARGE: Final = 32 * 1024
"""Bytes from which reading a body is large work: one body at a time, with other requests in between. Ordinary
reviews have 2 to 20 KB; this many bytes of annotations take 0.2 ms."""

BUSY: Final = "too many large reviews are being read"

DEFAULT_TIMEOUT: Final = 10.0
MAX_TIMEOUT: Final = 30.0
"""Seconds that a webhook may take: the default and the maximum of Kubernetes."""

WRONG_METHOD: Final = "/validate and /mutate take POST, every other path GET"
TOO_LARGE: Final = f"an AdmissionReview has at most {MAX_BODY // 2**20} MiB"

_TIMEOUT: Final = re.compile(r"(?:^|&)timeout=([0-9]{1,4})s(?:&|$)")


class Decider(Protocol):
    """Validates requests; ``webhook.admission.validator.Validator`` is one."""

    def validate(self, request: AdmissionRequest, deadline: Deadline) -> Decision:
        """Return the decision; never raises."""
        ...  # pragma: no cover

    def deny_as_busy(self, request: AdmissionRequest) -> Decision:
        """Return the decision on a request that the webhook has no capacity for; never raises."""
        ...  # pragma: no cover


class ImagePinner(Protocol):
    """Pins images; ``webhook.admission.mutator.Mutator`` is one."""

    def mutate(self, request: AdmissionRequest, deadline: Deadline) -> Mutation:
        """Return the mutation; never raises."""
        ...  # pragma: no cover

    def skip_as_busy(self, request: AdmissionRequest) -> Mutation:
        """Return the mutation of a request that the webhook has no capacity for; never raises."""
        ...  # pragma: no cover


@dataclass(frozen=True, slots=True, repr=False)
class Reviews:
    """Answers reviews, and passes other calls on."""

    others: Application
    """Answers the calls of other paths."""
    validator: Decider
    mutator: ImagePinner
    certificate: ServingCertificate
    metrics: Metrics
    large_work: LargeWork

    def __call__(self, request: Request) -> Response:
        """Answer one call."""
        if request.path == VALIDATE:
            answer = self._decide
        elif request.path == MUTATE:
            answer = self._mutate
        else:
            return self.others(request)
        try:
            return Response(HTTPStatus.OK, self._answer(request, answer))
        except BadReviewError as error:
            is_method = error.status == HTTPStatus.METHOD_NOT_ALLOWED
            return self._refuse(error.status, str(error), *([("Allow", "POST")] if is_method else ()))
        except Exception:
            logger.exception("failed to read a call")
            return self._refuse(HTTPStatus.INTERNAL_SERVER_ERROR, "Internal Server Error")

    def _answer(
        self, request: Request, answer: Callable[[AdmissionRequest, Deadline | None], bytes]
    ) -> bytes:
        """Read a review and return its ``answer``, which gets no deadline if the webhook is too busy."""
        if request.method != "POST":
            raise BadReviewError(HTTPStatus.METHOD_NOT_ALLOWED, WRONG_METHOD)
        if not has_required_certificate(self.certificate, request.peer_certificate):
            raise BadReviewError(403, "a client certificate of the API server is required")
        _check_media_type(request.content_type)
        is_truncated = request.is_truncated
        # The API server's timeout started when it began to send, so the time that the body took counts.
        deadline = Deadline(request.began + time_to_decide(request.query))
        if not request.may_wait:
            deadline = Deadline.after(0)
        body = request.take_body()
        if len(body) <= LARGE:
            review = _read_review(body, is_truncated=is_truncated, pause=no_pause)
        else:
            with self.large_work.piece(deadline) as granted:
                is_truncated = is_truncated or not granted
                review = _read_review(body, is_truncated=is_truncated, pause=self.large_work.pause)
        del body
        self.metrics.deciding += 1
        try:
            if is_truncated:
                self.metrics.load.review_refused_as_busy()
            return answer(review, None if is_truncated else deadline)
        finally:
            self.metrics.deciding -= 1

    def _decide(self, review: AdmissionRequest, deadline: Deadline | None) -> bytes:
        """Return the answer of ``/validate``, with its uid even if an error occurs.

        An HTTP error would be a failed call, which is admitted if the ``failurePolicy`` is ``Ignore``.
        """
        try:
            if deadline is None:
                return write_review(review.uid, self.validator.deny_as_busy(review))
            return write_review(review.uid, self.validator.validate(review, deadline))
        except Exception:
            logger.exception("failed to answer a request", extra={"uid": review.uid})
            return write_review(review.uid, Decision.error())

    def _mutate(self, review: AdmissionRequest, deadline: Deadline | None) -> bytes:
        """Return the answer of ``/mutate``; without a mutation, ``/validate`` sees the Pod as it was."""
        try:
            if deadline is None:
                return write_mutation(review.uid, self.mutator.skip_as_busy(review))
            return write_mutation(review.uid, self.mutator.mutate(review, deadline))
        except Exception:
            logger.exception("failed to answer a request", extra={"uid": review.uid})
            return write_mutation(review.uid, Mutation(Outcome.ERROR))

    def _refuse(self, status: int, message: str, *headers: tuple[str, str]) -> Response:
        self.metrics.call_broken(status)
        return error_response(status, message, *headers)


@lru_cache(maxsize=16)
def time_to_decide(query: str) -> float:
    """Return the seconds that a review may take, from the query string of its call.

    The ``timeout`` parameter is how long kube-apiserver waits, rounded up to whole seconds. A second is
    reserved for the rounding and the network, or half of a short timeout.
    """
    match = _TIMEOUT.search(query)
    seconds = min(float(match[1]), MAX_TIMEOUT) if match is not None else DEFAULT_TIMEOUT
    seconds = max(seconds, 1.0)
    return seconds - min(max(1.0, seconds * 0.1), seconds * 0.5)


def _check_media_type(media_type: str) -> None:
    if media_type != JSON and media_type.partition(";")[0].strip().lower() != JSON:
        raise BadReviewError(415, f"Content-Type must be {JSON}")


def _read_review(body: bytes, *, is_truncated: bool, pause: Pause) -> AdmissionRequest:
    """Read a review; if it ``is_truncated``, only its identity."""
    if is_truncated:
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
