"""Decoding and encoding of AdmissionReview v1."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support.builders import UID, container, pod, review
from webhook.admission import review as review_module
from webhook.admission.bounds import Structure
from webhook.admission.decision import Decision, Effect
from webhook.admission.review import MAX_UID_LENGTH, read_beginning, read_review, write_review
from webhook.errors import BadReviewError

BROKEN = [
    (b"", "the body is not JSON: Input data was truncated"),
    (b"{", "the body is not JSON: Input data was truncated"),
    (b"[]", "the body is not an AdmissionReview: Expected `object`, got `array`"),
    (b"null", "the body is not an AdmissionReview: Expected `object`, got `null`"),
    (b"{}", "the body is not an AdmissionReview: Object missing required field `apiVersion`"),
    (
        b'{"apiVersion":"admission.k8s.io/v1","kind":"Pod"}',
        "the body is not an AdmissionReview: its kind is 'Pod'",
    ),
    (
        b'{"apiVersion":"admission.k8s.io/v1beta1","kind":"AdmissionReview"}',
        "apiVersion is 'admission.k8s.io/v1beta1'; this webhook accepts admission.k8s.io/v1",
    ),
    (b'{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview"}', "the AdmissionReview has no request"),
    (
        b'{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":null}',
        "the AdmissionReview has no request",
    ),
]


@pytest.mark.parametrize(("body", "message"), BROKEN, ids=range(len(BROKEN)))
def test_body_that_is_not_admission_review_is_bad_request(body: bytes, message: str) -> None:
    """A body that is not an AdmissionReview v1 with a request is answered with 400 and one sentence."""
    with pytest.raises(BadReviewError) as caught:
        read_review(body)
    assert (caught.value.status, str(caught.value)) == (400, message)


@pytest.mark.parametrize("uid", ["", "x" * (MAX_UID_LENGTH + 1)])
def test_missing_or_too_long_uid_is_bad_request(uid: str) -> None:
    """A uid is echoed, so it is neither empty nor unbounded."""
    with pytest.raises(BadReviewError, match=r"request\.uid must have 1 to 256 characters"):
        read_review(review(pod("a"), uid=uid))


@pytest.mark.parametrize("field", ["namespace", "name", "operation", "subResource"])
def test_too_long_request_names_are_bad_request(field: str) -> None:
    """Fault C2: they are kept in memory and in logs, and every client of the port can send them (T34)."""
    key = "subresource" if field == "subResource" else field

    def body(length: int) -> bytes:
        changes: dict[str, Any] = {key: "x" * length}
        return review(pod("a"), **changes)

    assert read_review(body(253)).unreadable == ""
    with pytest.raises(BadReviewError, match=rf"length <= 253 - at `\$\.request\.{field}`"):
        read_review(body(254))


def test_deeply_nested_json_is_bad_request() -> None:
    """Nesting cannot exhaust the stack."""
    body = b'{"apiVersion":' + b"[" * 200_000 + b"]" * 200_000 + b"}"
    with pytest.raises(BadReviewError):
        read_review(body)


def deep(obj: object, **rest: Any) -> bytes:
    """Return a review with a field that is nested more deeply than can be decoded."""
    text = review(obj, **rest).decode()
    return text.replace('"DEEP"', '{"f:a":' * 5000 + "{}" + "}" * 5000).encode()


def fields(image: str) -> dict[str, Any]:
    """Return a Pod with metadata fields that may nest."""
    obj = pod(image)
    obj["metadata"]["managedFields"] = [{"fieldsV1": "DEEP"}]
    return obj


@pytest.mark.parametrize(
    "body",
    [
        deep(fields("a")),
        deep(fields("a"), old=pod("a"), operation="UPDATE"),
        deep(pod("a"), old=fields("a"), operation="UPDATE"),
        deep({"spec": 5, "metadata": fields("a")["metadata"]}),
        deep(fields("a"), userInfo={"username": "dev", "extra": {"a": ["b"], "object": ["c"]}}),
    ],
)
def test_too_deeply_nested_object_is_unreadable_but_keeps_uid(body: bytes) -> None:
    """A Pod's author can cause that, and must not make the call fail (T43)."""
    request = read_review(body)
    assert (request.uid, request.namespace, request.user_info.username) == (UID, "shop", "dev")
    assert (request.object, request.old_object) == (None, None)
    assert request.unreadable == "it is nested too deeply"


def test_deep_review_with_object_first_is_bad_request() -> None:
    """No API server writes the objects first."""
    body = deep(fields("a"))
    before, _, rest = body.partition(b', "object": ')
    parsed, _, after = rest.partition(b', "oldObject": ')
    value = (
        before.replace(b'"request": {', b'"request": {"object": ' + parsed + b", ")
        + b', "oldObject": '
        + after
    )
    with pytest.raises(BadReviewError, match="the body is nested too deeply"):
        read_review(value)


@pytest.mark.parametrize(
    ("written", "problem"),
    [
        (r'"\ud800"', "it is not JSON: JSON is malformed: "),
        ("tru", "it is not JSON: JSON is malformed: "),
        ("[1", "it is not JSON: JSON is malformed: "),
    ],
)
def test_object_with_malformed_json_is_unreadable_but_keeps_uid(written: str, problem: str) -> None:
    """A JSON parser that is stricter than the API server's must not make the call fail (T43)."""
    body = review(pod("a") | {"metadata": {"x": "HERE"}}).decode().replace('"HERE"', written).encode()
    request = read_review(body)
    assert (request.uid, request.object) == (UID, None)
    assert request.unreadable.startswith(problem)


def test_review_truncated_in_user_is_unreadable_but_keeps_uid() -> None:
    """Fault C2: a user of many groups fills the kept part of a body that has no room in the budget."""
    body = review(pod("a"), namespace="shop", groups=["group"] * 10_000)
    request = read_beginning(body[: 16 * 1024], "there is no room")
    assert request is not None
    assert (request.uid, request.namespace, request.operation) == (UID, "shop", "CREATE")
    assert (request.object, request.user_info.groups, request.unreadable) == (None, [], "there is no room")


def test_beginning_of_review_is_sufficient_for_denial() -> None:
    """The review is truncated in the middle of an object that is too large (T43, T44)."""
    body = review(pod("a" * 100_000))
    request = read_beginning(body[:50_000], "the review is too large")
    assert request is not None
    assert (request.uid, request.namespace, request.operation) == (UID, "shop", "CREATE")
    assert (request.object, request.unreadable) == (None, "the review is too large")


@pytest.mark.parametrize("body", [b"", b" " * 100, review(pod("a"))[:300], b', "object":' * 100])
def test_beginning_without_required_fields_is_none(body: bytes) -> None:
    """Without uid, kind, user and namespace the review cannot be denied."""
    assert read_beginning(body, "x") is None


def hostile_beginning(size: int) -> bytes:
    """Return a review whose user takes so many bytes, with eight places at which the object might begin."""
    extra = {"a": "EXTRA"}
    body = deep({"spec": "DEEP"}, userInfo={"username": "dev", "extra": extra}).decode()
    filler = "[" + "[[]]," * (size // 5) + "0]"
    return body.replace('"EXTRA"', filler + ', "object": 1' * 8).encode()


@pytest.mark.parametrize("size", [30_000, 120_000])
def test_beginning_of_review_is_scanned_once_up_to_limit(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fault C3: eight attempts over 128 KiB took 40 ms, for each of hundreds of reviews in the queue."""
    body, looked, read = hostile_beginning(size), [0], [0]
    add, read_start = Structure.add, review_module._read_start

    def count_looked(structure: Structure, piece: bytes) -> None:
        looked[0] += len(piece)
        add(structure, piece)

    def count_read(beginning: bytes, unreadable: str) -> Any:
        read[0] += len(beginning)
        return read_start(beginning, unreadable)

    monkeypatch.setattr(Structure, "add", count_looked)
    monkeypatch.setattr(review_module, "_read_start", count_read)
    request = read_beginning(body, "why")
    assert request is not None
    assert (request.uid, request.namespace, request.user_info.username) == (UID, "shop", "")
    assert looked[0] <= 32 * 1024
    assert read[0] <= 9 * 32 * 1024


def test_broken_review_yields_before_second_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Fault C3: the first scan or decoding has already taken its time."""
    steps: list[str] = []
    read = review_module.read_beginning

    def note(body: bytes, unreadable: str) -> Any:
        steps.append("beginning")
        return read(body, unreadable)

    monkeypatch.setattr(review_module, "read_beginning", note)
    for body in (hostile_beginning(30_000), review({"metadata": 5}) + b"}", review({"metadata": {}})[:-2]):
        steps.clear()
        read_review(body, lambda: steps.append("pause"))
        assert steps[-2:] == ["pause", "beginning"]


def test_review_is_decoded_into_typed_request() -> None:
    """One pass reads every field that a decision needs."""
    obj = pod("a:1", initContainers=[container("b:1", restartPolicy="Always")])
    request = read_review(review(obj, user="u", groups=["g"]))
    assert request.uid == UID
    assert request.namespace == "shop"
    assert request.user_info.username == "u"
    assert request.user_info.groups == ["g"]
    assert request.object is not None
    assert request.object.spec is not None
    assert [c.image for c in request.object.spec.containers or []] == ["a:1"]
    assert [c.image for c in request.object.spec.init_containers or []] == ["b:1"]


def test_unknown_fields_are_skipped() -> None:
    """A newer API server does not break the webhook."""
    obj = pod("a:1", brandNew={"deep": [1, {"x": None}]})
    request = read_review(review(obj, options={"kind": "CreateOptions"}, brandNew=1))
    assert request.unreadable == ""


def test_object_of_wrong_shape_is_unreadable_but_keeps_uid() -> None:
    """A wrong type inside the object is denied with the uid instead of failing the call."""
    request = read_review(review({"metadata": {}, "spec": {"containers": [{"image": 5}]}}))
    assert request.uid == UID
    assert request.object is None
    assert request.unreadable == "Expected `str`, got `int` - at `$.request.object.spec.containers[0].image`"


def test_unreadable_old_object_counts_as_absent() -> None:
    """An unreadable old object never makes an image unchanged."""
    request = read_review(review(pod("a:1"), old={"spec": {"containers": 5}}, operation="UPDATE"))
    assert request.old_object is None
    assert request.object is not None
    assert request.unreadable == ""


def test_unreadable_cannot_be_set_by_request() -> None:
    """Only the decoder sets the field that describes the problem."""
    body = json.loads(review(pod("a:1")))
    body["request"]["-"] = body["request"]["unreadable"] = "forged"
    assert read_review(json.dumps(body).encode()).unreadable == ""


def test_allowed_answer_has_minimal_fields() -> None:
    """Empty fields are not written."""
    answer = write_review(UID, Decision(Effect.ALLOW, allowed=True))
    assert json.loads(answer) == {
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "response": {"uid": UID, "allowed": True},
    }


def test_denial_has_status_warnings_and_annotations() -> None:
    """The whole answer of a denial that can be retried."""
    decision = Decision(
        Effect.DENY,
        allowed=False,
        code=503,
        status_reason="ServiceUnavailable",
        message="no",
        retry_after_seconds=2,
        warnings=["w"],
        annotations={"decision": "deny"},
    )
    assert json.loads(write_review(UID, decision))["response"] == {
        "uid": UID,
        "allowed": False,
        "status": {
            "code": 503,
            "reason": "ServiceUnavailable",
            "message": "no",
            "details": {"retryAfterSeconds": 2},
        },
        "warnings": ["w"],
        "auditAnnotations": {"decision": "deny"},
    }
