"""No AdmissionReview admits an image that is not trusted."""

from __future__ import annotations

import json
from random import Random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.effort import seeds, thorough
from tests.fuzz.inputs import Requests, damaged, enclose, junk
from tests.fuzz.oracle import GOOD, may_be_admitted
from tests.support.builders import NOW, SOON, FakeAnswers, policy
from webhook.admission.decision import Effect
from webhook.admission.review import read_review, write_review
from webhook.admission.validator import Validator
from webhook.errors import BadReviewError, TrustLookupError
from webhook.trust.lookup import LookupResult
from webhook.trust.records import TrustRecord, TrustStatus

STRICT = policy(workloads="enforce")
RECORD = TrustRecord(TrustStatus.TRUSTED, NOW, GOOD)
FACTS: dict[str, TrustStatus | TrustRecord | TrustLookupError | LookupResult] = {
    "shop/web:1": RECORD,
    "shop/tools/web:1": RECORD,
    "shop/web:2": TrustStatus.UNTRUSTED,
}
VALIDATOR = Validator(lambda: STRICT, FakeAnswers(FACTS), clock=lambda: NOW)


HARMLESS = (b'"DELETE"', b'"CONNECT"', b'"subResource": "status"', b'"subResource": "resize"')


def answer(body: bytes) -> tuple[str, dict[str, Any]] | None:
    """Return the uid of a request and the ``response`` to it, ``None`` for a failed call."""
    try:
        request = read_review(body)
    except BadReviewError:
        return None
    decision = VALIDATOR.validate(request, SOON)
    assert decision.effect is not Effect.ERROR, "the validator crashed"
    response: dict[str, Any] = json.loads(write_review(request.uid, decision))["response"]
    return request.uid, response


def check(body: bytes) -> None:
    """Compare the webhook's decision with the oracle's."""
    given = answer(body)
    if given is None:
        return
    uid, response = given
    try:
        request = json.loads(body.decode(errors="replace"))["request"]
    except ValueError:
        # A review that no parser can read to its end is denied, unless its beginning shows that it is
        # harmless.
        assert not response["allowed"] or any(word in body for word in HARMLESS)
        return
    assert (uid, response["uid"]) == (request["uid"], request["uid"])
    if response["allowed"]:
        assert may_be_admitted(request), f"an image that is not trusted was admitted: {request}"
        assert "status" not in response
    else:
        status = response["status"]
        assert status["message"].startswith("denied by image trust policy: ")
        assert status["message"].isprintable()
        assert len(status["message"]) < 2500
    assert all(len(warning) <= 256 and warning.isprintable() for warning in response.get("warnings", ()))


def test_generated_request_does_not_admit_untrusted_image() -> None:
    """Every image in the raw object is trusted, or the whole request is denied."""
    for seed in seeds(20):
        maker = Requests(Random(seed))
        for _ in range(20):
            check(enclose(maker.make()))


@thorough
@given(damaged())
def test_damaged_body_does_not_admit_untrusted_image(body: bytes) -> None:
    """A body is parsed as every JSON parser does, or it is rejected."""
    check(body)


@thorough
@given(st.binary(max_size=200) | junk.map(enclose) | junk.map(lambda value: json.dumps(value).encode()))
def test_random_bytes_do_not_crash_reader(body: bytes) -> None:
    """Any bytes are a review or a failed call."""
    check(body)
