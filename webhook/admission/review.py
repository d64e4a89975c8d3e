"""Decoding and encoding of AdmissionReview v1 (Kubernetes documentation: Dynamic Admission Control)."""

from __future__ import annotations

import itertools
import re
from typing import Final, Generic, cast

import msgspec

from webhook.admission.bounds import Structure, find_excess
from webhook.admission.decision import Decision
from webhook.admission.mutation import Mutation, write_patch
from webhook.admission.request import AdmissionRequest, ObjectT, Request, ReviewedObject
from webhook.deadlines import Pause, no_pause
from webhook.errors import BadReviewError

API_VERSION: Final = "admission.k8s.io/v1"
KIND: Final = "AdmissionReview"

MAX_UID_LENGTH: Final = 256
"""Characters of a uid, which is a UUID of 36. The response repeats it, so it is bounded."""


class _Review(msgspec.Struct, Generic[ObjectT], rename="camel"):
    api_version: str
    kind: str
    request: Request[ObjectT] | None = None


class _Details(msgspec.Struct, rename="camel", gc=False, omit_defaults=True):
    retry_after_seconds: int | None = None


class _Status(msgspec.Struct, gc=False, omit_defaults=True):
    code: int = 0
    reason: str = ""
    message: str = ""
    details: _Details | None = None


class _Response(msgspec.Struct, rename="camel", gc=False, omit_defaults=True):
    uid: str
    allowed: bool
    status: _Status | None = None
    warnings: list[str] = msgspec.field(default_factory=list)
    audit_annotations: dict[str, str] = msgspec.field(default_factory=dict)
    patch_type: str = ""
    patch: bytes = b""
    """Encoded in base64."""


class _ReviewResponse(msgspec.Struct, rename="camel", gc=False):
    api_version: str
    kind: str
    response: _Response


_DECODE_ERRORS = (msgspec.DecodeError, UnicodeError, RecursionError)

_OBJECT: Final = re.compile(rb',\s*"object":')
_USER_INFO: Final = re.compile(rb',\s*"userInfo":')
_MAX_OBJECTS: Final = 8
"""Candidates for the beginning of the object: the user's extra fields can have a key of the same name."""

_MAX_BEGINNING: Final = 32 * 1024
"""Bytes in which the object, or otherwise the user, must begin. Names and a user with all groups take some
KB. 32 KiB are read in at most two milliseconds. This matters because they are also read without a time
slice."""

_NULL: Final = msgspec.Raw(b"null")
_review_decoder: Final = msgspec.json.Decoder(_Review[ReviewedObject | None])
_raw_decoder: Final = msgspec.json.Decoder(_Review[msgspec.Raw])
_object_decoder: Final = msgspec.json.Decoder(ReviewedObject | None)
_encoder: Final = msgspec.json.Encoder()


def read_review(body: bytes, pause: Pause = no_pause) -> AdmissionRequest:
    """Decode the body of a call; ``pause`` is called between steps that take milliseconds.

    An object that cannot be decoded is not a bad request: the returned request has ``unreadable`` set, so
    that it can be denied under its uid. An ``oldObject`` that cannot be decoded counts as absent, so that
    every image of the object is new.

    Raises:
        BadReviewError: the body is not an AdmissionReview v1 with a request and a uid.
    """
    excess = find_excess(body, pause)
    if excess:
        return _read_broken(body, excess, pause)
    try:
        request = _checked(_review_decoder.decode(body))
    except msgspec.ValidationError as error:
        return _read_loosely(body, str(error), pause)
    except _DECODE_ERRORS as error:
        return _read_broken(body, f"is not JSON: {error}", pause)
    request.unreadable = ""
    return request


def _read_loosely(body: bytes, why: str, pause: Pause) -> AdmissionRequest:
    """Decode a review whose objects do not have the expected types; ``why`` is the error."""
    pause()
    try:
        raw = _checked(_raw_decoder.decode(body))
    except msgspec.ValidationError as error:
        raise BadReviewError(400, f"the body is not an AdmissionReview: {error}") from None
    except _DECODE_ERRORS as error:
        return _read_broken(body, f"is not JSON: {error}", pause)
    request = _without_objects(raw)
    pause()
    try:
        request.object = _object_decoder.decode(raw.object or _NULL)
    except _DECODE_ERRORS:
        request.unreadable = why
    pause()
    try:
        request.old_object = _object_decoder.decode(raw.old_object or _NULL)
    except _DECODE_ERRORS:
        request.old_object = None
    return request


def read_beginning(body: bytes, unreadable: str) -> AdmissionRequest | None:
    """Return the request of a review whose objects cannot be read; ``unreadable`` says why.

    The author of a Pod can cause this: ``metadata.managedFields`` can nest to any depth, and each ``<`` in an
    argument takes six bytes in the API server's JSON. It must not become a bad request, which is admitted if
    the ``failurePolicy`` is ``Ignore``. kube-apiserver writes the objects last and the user before them. A
    user that is too large or incomplete is left out. Returns ``None`` if the other fields do not come before
    the objects.

    Raises:
        BadReviewError: the body is not an AdmissionReview v1 with a request and a uid.
    """
    structure, looked = Structure(), 0
    for match in itertools.islice(_OBJECT.finditer(body, 0, _MAX_BEGINNING), _MAX_OBJECTS):
        start = match.start()
        structure.add(body[looked:start])  # each byte once, for any number of candidates
        looked = start
        if structure.excess:
            break
        if (request := _read_start(body[:start] + b"}}", unreadable)) is not None:
            return request
    user_info = _USER_INFO.search(body, 0, _MAX_BEGINNING)
    if user_info is None or find_excess(body[: user_info.start()]):
        return None
    return _read_start(body[: user_info.start()] + b',"userInfo":{}}}', unreadable)


def _read_start(beginning: bytes, unreadable: str) -> AdmissionRequest | None:
    try:
        review = _raw_decoder.decode(beginning)
    except _DECODE_ERRORS:
        return None
    request = _without_objects(_checked(review))
    request.unreadable = unreadable
    return request


def _read_broken(body: bytes, what: str, pause: Pause) -> AdmissionRequest:
    """Decode the readable part of a body; ``what`` is the problem of the body, a clause."""
    pause()
    request = read_beginning(body, f"it {what}")
    if request is None:
        raise BadReviewError(400, f"the body {what}")
    return request


def _without_objects(raw: Request[msgspec.Raw]) -> AdmissionRequest:
    return cast("AdmissionRequest", msgspec.structs.replace(raw, object=None, old_object=None, unreadable=""))


def _checked(review: _Review[ObjectT]) -> Request[ObjectT]:
    """Return the request of a review, after checking kind, version and uid."""
    request = review.request
    if review.kind != KIND:
        raise BadReviewError(400, f"the body is not an AdmissionReview: its kind is {review.kind[:64]!r}")
    if review.api_version != API_VERSION:
        given = review.api_version[:64]
        raise BadReviewError(400, f"apiVersion is {given!r}; this webhook accepts {API_VERSION}")
    if request is None:
        raise BadReviewError(400, "the AdmissionReview has no request")
    if not request.uid or len(request.uid) > MAX_UID_LENGTH:
        raise BadReviewError(400, f"request.uid must have 1 to {MAX_UID_LENGTH} characters")
    return request


def write_review(uid: str, decision: Decision) -> bytes:
    """Encode the response: an AdmissionReview v1 with the request's uid."""
    status = None
    if not decision.allowed:
        details = _Details(decision.retry_after_seconds) if decision.retry_after_seconds else None
        status = _Status(decision.code, decision.status_reason, decision.message, details)
    response = _Response(
        uid,
        decision.allowed,
        status,
        warnings=list(decision.warnings),
        audit_annotations=dict(decision.annotations),
    )
    return _encoder.encode(_ReviewResponse(API_VERSION, KIND, response))


def write_mutation(uid: str, mutation: Mutation) -> bytes:
    """Encode the response of ``/mutate``: an AdmissionReview v1 that admits, with the JSON Patch of pins."""
    patch = write_patch(mutation.pins)
    response = _Response(
        uid,
        allowed=True,
        audit_annotations=dict(mutation.annotations),
        patch_type="JSONPatch" if patch else "",
        patch=patch,
    )
    return _encoder.encode(_ReviewResponse(API_VERSION, KIND, response))
