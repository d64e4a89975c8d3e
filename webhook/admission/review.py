"""AdmissionReview v1, in and out (Kubernetes documentation: Dynamic Admission Control)."""

from __future__ import annotations

import itertools
import re
from typing import Final

import msgspec

from webhook.admission.bounds import Structure, find_excess
from webhook.admission.decision import Decision
from webhook.admission.request import (
    AdmissionRequest,
    GroupKind,
    GroupResource,
    ReviewedObject,
    Short,
    UserInfo,
)
from webhook.deadlines import Pause, no_pause
from webhook.errors import BadReviewError

API_VERSION: Final = "admission.k8s.io/v1"
KIND: Final = "AdmissionReview"

MAX_UID_LENGTH: Final = 256
"""A uid is a UUID of 36 characters; it is echoed, so it is bounded."""


class _Review(msgspec.Struct, rename="camel"):
    api_version: str
    kind: str
    request: AdmissionRequest | None = None


class _RawRequest(msgspec.Struct, rename="camel"):
    """The same request with its objects left undecoded, for when they cannot be."""

    uid: str
    kind: GroupKind
    resource: GroupResource
    operation: Short
    user_info: UserInfo
    sub_resource: Short = ""
    name: Short = ""
    namespace: Short = ""
    dry_run: bool | None = None
    object: msgspec.Raw = msgspec.Raw(b"null")
    old_object: msgspec.Raw = msgspec.Raw(b"null")


class _RawReview(msgspec.Struct, rename="camel"):
    api_version: str
    kind: str
    request: _RawRequest | None = None


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


class _AnsweredReview(msgspec.Struct, rename="camel", gc=False):
    api_version: str
    kind: str
    response: _Response


_DECODE_ERRORS = (msgspec.DecodeError, UnicodeError, RecursionError)

_OBJECT: Final = re.compile(rb',\s*"object":')
_USER_INFO: Final = re.compile(rb',\s*"userInfo":')
_MAX_OBJECTS: Final = 8
"""Places at which the object may begin: the user's extra fields can hold a key of that name."""

_MAX_BEGINNING: Final = 32 * 1024
"""Bytes in which the object, or else the user, must begin. Names and a user with all groups have some KB; so
many bytes of anything are read in two milliseconds, for whoever has had no turn reads them, too."""

_review_decoder: Final = msgspec.json.Decoder(_Review)
_raw_decoder: Final = msgspec.json.Decoder(_RawReview)
_object_decoder: Final = msgspec.json.Decoder(ReviewedObject | None)
_encoder: Final = msgspec.json.Encoder()


def read_review(body: bytes, pause: Pause = no_pause) -> AdmissionRequest:
    """Decode the body of a call to ``/validate``; ``pause`` is called between steps that take milliseconds.

    An object that cannot be decoded is no broken call: the request is returned with ``unreadable``
    set, so that it can be refused under its uid. An ``oldObject`` that cannot be decoded counts
    as absent, which makes every image of the object a new one.

    Raises:
        BadReviewError: the body is no AdmissionReview v1 with a request and a uid.
    """
    excess = find_excess(body, pause)
    if excess:
        return _read_broken(body, excess, pause)
    try:
        review = _review_decoder.decode(body)
    except msgspec.ValidationError as error:
        return _read_loosely(body, str(error), pause)
    except _DECODE_ERRORS as error:
        return _read_broken(body, f"is not JSON: {error}", pause)
    request = review.request
    _check_envelope(review.api_version, review.kind, request)
    assert request is not None
    request.unreadable = ""
    return request


def _read_loosely(body: bytes, why: str, pause: Pause) -> AdmissionRequest:
    pause()
    try:
        review = _raw_decoder.decode(body)
    except msgspec.ValidationError as error:
        raise BadReviewError(400, f"the body is no AdmissionReview: {error}") from None
    except _DECODE_ERRORS as error:
        return _read_broken(body, f"is not JSON: {error}", pause)
    request, raw = _read_envelope(review)
    pause()
    try:
        request.object = _object_decoder.decode(raw.object)
    except _DECODE_ERRORS:
        request.unreadable = why
    pause()
    try:
        request.old_object = _object_decoder.decode(raw.old_object)
    except _DECODE_ERRORS:
        request.old_object = None
    return request


def read_beginning(body: bytes, unreadable: str) -> AdmissionRequest | None:
    """Return the request of a review whose objects cannot be read; ``unreadable`` says why.

    The author of a Pod can make one so: ``metadata.managedFields`` nests as deeply as they like, and
    each ``<`` in an argument takes six bytes in the API server's JSON. That must not become a broken
    call, which a failure policy of ``Ignore`` lets pass. kube-apiserver writes the objects last, and before
    them who asked, which is left out where it is too large or was cut off. ``None`` where the rest does not
    come before them.

    Raises:
        BadReviewError: it is no AdmissionReview v1 with a request and a uid.
    """
    structure, looked = Structure(), 0
    for match in itertools.islice(_OBJECT.finditer(body, 0, _MAX_BEGINNING), _MAX_OBJECTS):
        start = match.start()
        structure.add(body[looked:start])  # each byte once, however many tries there are
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
    request, _ = _read_envelope(review)
    request.unreadable = unreadable
    return request


def _read_broken(body: bytes, what: str, pause: Pause) -> AdmissionRequest:
    """Read what can be read of a body that as a whole cannot; ``what`` says what is wrong with it."""
    pause()
    request = read_beginning(body, f"it {what}")
    if request is None:
        raise BadReviewError(400, f"the body {what}")
    return request


def _read_envelope(review: _RawReview) -> tuple[AdmissionRequest, _RawRequest]:
    raw = review.request
    _check_envelope(review.api_version, review.kind, raw)
    assert raw is not None
    request = AdmissionRequest(
        uid=raw.uid,
        kind=raw.kind,
        resource=raw.resource,
        operation=raw.operation,
        user_info=raw.user_info,
        sub_resource=raw.sub_resource,
        name=raw.name,
        namespace=raw.namespace,
        dry_run=raw.dry_run,
    )
    return request, raw


def _check_envelope(api_version: str, kind: str, request: AdmissionRequest | _RawRequest | None) -> None:
    if kind != KIND:
        raise BadReviewError(400, f"the body is no AdmissionReview: its kind is {kind[:64]!r}")
    if api_version != API_VERSION:
        raise BadReviewError(400, f"apiVersion is {api_version[:64]!r}; this webhook speaks {API_VERSION}")
    if request is None:
        raise BadReviewError(400, "the AdmissionReview has no request")
    if not request.uid or len(request.uid) > MAX_UID_LENGTH:
        raise BadReviewError(400, f"request.uid must have 1 to {MAX_UID_LENGTH} characters")


def write_review(uid: str, decision: Decision) -> bytes:
    """Encode the answer: an AdmissionReview v1 that carries the request's uid."""
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
    return _encoder.encode(_AnsweredReview(API_VERSION, KIND, response))
