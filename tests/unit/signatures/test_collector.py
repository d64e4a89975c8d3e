"""The fold of all attempts into one result, which is total: nothing else is signed."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.signing.making import signer
from webhook.signatures.attempt import Attempt, Outcome, SignatureFormat
from webhook.signatures.check import MAX_PROBLEMS, SignatureCheck, SignatureResult
from webhook.signatures.collector import Collector
from webhook.signatures.requirement import Requirement

KEYS = (("a", signer("p256").key), ("b", signer("other").key), ("c", signer("rsa2048").key))
SIMPLE, BUNDLE = SignatureFormat.SIMPLE_SIGNING, SignatureFormat.BUNDLE

OTHER = Attempt(BUNDLE, Outcome.NOT_A_SIGNATURE, problem="it is an attestation")
BAD = Attempt(SIMPLE, Outcome.BAD, problem="no key that counts has signed it")
MALFORMED = Attempt(SIMPLE, Outcome.MALFORMED, problem="the payload is not JSON")
ELSEWHERE = Attempt(BUNDLE, Outcome.OTHER_IMAGE, problem="it is of another image")


def valid(*signers: str, kind: SignatureFormat = SIMPLE) -> Attempt:
    """Return a signature of these keys."""
    return Attempt(kind, Outcome.VALID, signers)


def lacking(*signers: str) -> Attempt:
    """Return a signature without the annotations that are required."""
    return Attempt(SIMPLE, Outcome.ANNOTATIONS, signers, "it lacks annotations that are required")


def collect(*attempts: Attempt, threshold: int = 1, keys: int = 3) -> SignatureCheck:
    """Return the result of these attempts."""
    collector = Collector(Requirement(KEYS[:keys], threshold), 5.0)
    for attempt in attempts:
        collector.add(attempt)
    result = collector.result()
    assert collector.is_satisfied == (result.result is SignatureResult.SIGNED)
    return result


RESULTS: list[tuple[int, list[Attempt], str, tuple[str, ...]]] = [
    (1, [], "unsigned", ()),
    (1, [OTHER, OTHER], "unsigned", ()),
    (1, [BAD], "bad-signature", ()),
    (1, [MALFORMED], "bad-signature", ()),
    (1, [ELSEWHERE, OTHER], "bad-signature", ()),
    (1, [valid("a")], "signed", ("a",)),
    (1, [BAD, MALFORMED, ELSEWHERE, OTHER, valid("b")], "signed", ("b",)),
    (1, [valid("c"), valid("a")], "signed", ("a", "c")),
    (1, [lacking("a")], "annotations", ()),
    (1, [lacking("a"), BAD], "annotations", ()),
    (1, [lacking("a"), valid("a")], "signed", ("a",)),
    (2, [valid("a")], "threshold", ("a",)),
    (2, [valid("a"), valid("a"), valid("a", kind=BUNDLE)], "threshold", ("a",)),
    (2, [valid("a"), BAD], "threshold", ("a",)),
    (2, [valid("a"), lacking("a")], "threshold", ("a",)),
    (2, [valid("a"), lacking("b")], "annotations", ("a",)),
    (3, [valid("a"), lacking("b")], "threshold", ("a",)),
    (2, [lacking("a")], "annotations", ()),
    (2, [lacking("a"), lacking("b")], "annotations", ()),
    (2, [valid("b"), valid("a", kind=BUNDLE)], "signed", ("a", "b")),
    (2, [valid("a", "b")], "signed", ("a", "b")),
    (3, [valid("a"), valid("b"), valid("c")], "signed", ("a", "b", "c")),
    (4, [valid("a"), valid("b"), valid("c")], "threshold", ("a", "b", "c")),
    (0, [], "unsigned", ()),
    (0, [valid("a")], "threshold", ("a",)),
    (-1, [BAD], "bad-signature", ()),
]


@pytest.mark.parametrize(
    ("threshold", "attempts", "result", "signers"), RESULTS, ids=[str(index) for index in range(len(RESULTS))]
)
def test_attempts_are_combined(
    threshold: int, attempts: list[Attempt], result: str, signers: tuple[str, ...]
) -> None:
    """In any order."""
    for order in itertools.permutations(attempts):
        found = collect(*order, threshold=threshold)
        assert (found.result.value, found.signers) == (result, signers)


def test_result_has_everything_that_was_found() -> None:
    """Attestations are not counted as signatures."""
    assert collect(BAD, valid("b", kind=BUNDLE), OTHER, valid("a"), threshold=3) == SignatureCheck(
        SignatureResult.THRESHOLD,
        5.0,
        ("a", "b"),
        ("bundle", "simple-signing"),
        3,
        ("simple-signing: no key that counts has signed it",),
        ("bundle", "simple-signing"),
    )
    assert collect(ELSEWHERE, OTHER, valid("a")).stored == ("bundle", "simple-signing")
    assert collect(OTHER, BAD).stored == ("simple-signing",)


def test_no_keys_are_never_enough() -> None:
    """If all are unreadable or lapsed."""
    assert collect(valid(), keys=0).result is not SignatureResult.SIGNED
    assert collect(BAD, keys=0).result is SignatureResult.BAD_SIGNATURE
    assert collect(keys=0).result is SignatureResult.UNSIGNED


def test_limit_is_named_first_and_is_not_a_signature() -> None:
    """Five other problems must not hide that the search ended."""
    limit = Attempt(BUNDLE, Outcome.NOT_EXAMINED, problem="only 50 signatures are examined")
    others = [Attempt(SIMPLE, Outcome.MALFORMED, problem=f"problem {number}") for number in range(7)]
    found = collect(*others, limit, limit)
    assert (found.found, found.stored, len(found.problems)) == (7, ("simple-signing",), MAX_PROBLEMS)
    assert found.problems[0] == "bundle: only 50 signatures are examined"
    assert collect(valid("a"), limit).problems == found.problems[:1]


def test_image_is_not_unsigned_if_the_search_ended_at_a_limit() -> None:
    limit = Attempt(BUNDLE, Outcome.NOT_EXAMINED, problem="only 50 signatures are examined")
    assert collect(OTHER, limit).result is SignatureResult.BAD_SIGNATURE


def test_problems_are_few_and_different() -> None:
    """An endless list must not fill a log."""
    many = [Attempt(SIMPLE, Outcome.BAD, problem=f"problem {number % 20}") for number in range(100)]
    found = collect(*many)
    assert found.problems == tuple(f"simple-signing: problem {number}" for number in range(MAX_PROBLEMS))
    assert found.found == 100


attempts = st.builds(
    Attempt,
    st.sampled_from(SignatureFormat),
    st.sampled_from(Outcome),
    st.lists(st.sampled_from("abc"), unique=True).map(tuple),
)


@given(st.lists(attempts, max_size=8), st.integers(-1, 4))
def test_only_enough_different_signers_are_signed(found: list[Attempt], threshold: int) -> None:
    """Whatever else there is."""
    signers = {name for attempt in found if attempt.outcome is Outcome.VALID for name in attempt.signers}
    is_signed = collect(*found, threshold=threshold).result is SignatureResult.SIGNED
    assert is_signed == (threshold >= 1 and len(signers) >= threshold)
