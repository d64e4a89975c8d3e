"""From what is known about an image to its one finding."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webhook.errors import (
    Fault,
    Forbidden,
    LookupTimeout,
    MalformedAnswer,
    RegistryUnavailable,
    Throttled,
    TrustLookupError,
    Unauthorized,
)
from webhook.images.reference import ImageReference
from webhook.policy.evaluation import Judgement, evaluate
from webhook.policy.findings import Finding
from webhook.trust.lookup import Failed, Found, LookupResult, Origin
from webhook.trust.records import TrustRecord, TrustStatus

D, E = "sha256:" + "a" * 64, "sha256:" + "b" * 64
TAGGED = ImageReference("h", "a/b", "1", None)
PINNED = ImageReference("h", "a/b", "1", D)
DIGEST_ONLY = ImageReference("h", "a/b", None, D)
DOWN = RegistryUnavailable("down")


def known(status: TrustStatus, digest: str | None = D, origin: Origin = Origin.SWR) -> Found:
    """Return an answer of SWR."""
    failure = DOWN if origin is Origin.STALE else None
    return Found(TrustRecord(status, 1.0, digest), origin, failure)


CASES = [
    ("trusted", TAGGED, known(TrustStatus.TRUSTED), Finding.TRUSTED),
    ("untrusted", TAGGED, known(TrustStatus.UNTRUSTED), Finding.UNTRUSTED),
    ("missing", TAGGED, known(TrustStatus.MISSING, None), Finding.MISSING),
    ("pinned and equal", PINNED, known(TrustStatus.TRUSTED), Finding.TRUSTED),
    ("pinned to another digest", PINNED, known(TrustStatus.TRUSTED, E), Finding.DIGEST_MISMATCH),
    ("pinned, and SWR names no digest", PINNED, known(TrustStatus.TRUSTED, None), Finding.DIGEST_MISMATCH),
    ("pinned and untrusted", PINNED, known(TrustStatus.UNTRUSTED, E), Finding.UNTRUSTED),
    ("by digest alone", DIGEST_ONLY, known(TrustStatus.TRUSTED), Finding.TRUSTED),
    ("stale and trusted", TAGGED, known(TrustStatus.TRUSTED, D, Origin.STALE), Finding.TRUSTED),
    ("stale and pinned", PINNED, known(TrustStatus.TRUSTED, D, Origin.STALE), Finding.TRUSTED),
    (
        "stale with another digest proves nothing",
        PINNED,
        known(TrustStatus.TRUSTED, E, Origin.STALE),
        Finding.UNKNOWN,
    ),
    ("unknown", TAGGED, Failed(DOWN), Finding.UNKNOWN),
]


@pytest.mark.parametrize(
    ("reference", "answer", "finding"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_each_answer_has_one_finding(
    reference: ImageReference, answer: LookupResult, finding: Finding
) -> None:
    """The table of verdicts (T26)."""
    assert evaluate(reference, answer).finding is finding


FAILURES = [
    (LookupTimeout("x", fault=Fault.REGISTRY), "timeout", True),
    (Throttled("x", fault=Fault.REGISTRY), "throttled", True),
    (RegistryUnavailable("x"), "unavailable", True),
    (Throttled("x", fault=Fault.LOCAL), "throttled", True),
    (LookupTimeout("x", fault=Fault.IMAGE), "timeout", True),
    (Unauthorized("x"), "unauthorized", False),
    (Forbidden("x"), "forbidden", False),
    (MalformedAnswer("x"), "malformed", False),
]


@pytest.mark.parametrize(("failure", "reason", "passes"), FAILURES)
def test_a_failure_keeps_its_reason(failure: TrustLookupError, reason: str, passes: bool) -> None:
    """Only what may be over in a moment is worth another try."""
    assert evaluate(TAGGED, Failed(failure)) == Judgement(Finding.UNKNOWN, reason, failure=failure)
    assert failure.transient is passes


answers = st.builds(
    known, st.sampled_from(TrustStatus), st.sampled_from([D, E, None]), st.sampled_from(Origin)
) | st.sampled_from([Failed(case[0]) for case in FAILURES])


@given(st.sampled_from([TAGGED, PINNED, DIGEST_ONLY]), answers)
def test_trusted_means_trusted_and_the_very_digest(reference: ImageReference, answer: LookupResult) -> None:
    """No combination is trusted but the one."""
    if evaluate(reference, answer).finding is Finding.TRUSTED:
        assert isinstance(answer, Found)
        assert answer.record.status is TrustStatus.TRUSTED
        assert reference is not PINNED or answer.record.digest == D
