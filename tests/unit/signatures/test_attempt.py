"""The candidates of one listing or manifest: as many as are examined, and whether there are more."""

from __future__ import annotations

import pytest

from webhook.signatures.attempt import Attempt, Outcome, SignatureFormat, report_limit, take_candidates
from webhook.signatures.limits import MAX_SIGNATURES

KIND = SignatureFormat.BUNDLE
OTHER = Attempt(KIND, Outcome.NOT_A_SIGNATURE, problem="it is an attestation")
MALFORMED = Attempt(KIND, Outcome.MALFORMED, problem="it has no digest")
LIMIT = Attempt(KIND, Outcome.NOT_EXAMINED, problem="only 50 signatures are examined")


@pytest.mark.parametrize("one", ["a candidate", MALFORMED])
def test_candidates_are_limited_and_the_rest_is_reported(one: str | Attempt) -> None:
    """Malformed ones count, because anyone can write them."""
    assert take_candidates(KIND, [one] * MAX_SIGNATURES) == [one] * MAX_SIGNATURES
    assert take_candidates(KIND, [one] * (MAX_SIGNATURES + 1)) == [*[one] * MAX_SIGNATURES, LIMIT]


def test_objects_that_are_not_signatures_are_not_counted() -> None:
    found = [OTHER, "a candidate"] * MAX_SIGNATURES
    assert take_candidates(KIND, [*found, OTHER]) == [*found, OTHER]


def test_limit_names_how_many_are_examined() -> None:
    assert report_limit(KIND, 20).problem == "only 20 signatures are examined"
