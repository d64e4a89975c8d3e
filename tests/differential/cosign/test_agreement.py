"""cosign and this project accept the same signatures, except for the kinds of ``comparison``."""

from __future__ import annotations

import os
from collections import Counter
from typing import Final

import pytest

from tests.differential.cosign.cases import Case, make_case
from tests.differential.cosign.comparison import LENIENT, STRICTER, describe, find_kind
from tests.differential.cosign.examples import AGREED, EXAMPLES
from tests.differential.cosign.verifying import Cosign, CosignResult, verify
from tests.support.signing_kit import VARIABLE, signing_kit

CASES: Final = int(os.environ.get("COSIGN_CASES", "0"))
"""The number of cases in a long run; the suite tries ``SHARES`` fixed ones."""

SHARES: Final = {"cosign": 100, "cosign2": 40}
BATCH: Final = 500

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", params=SHARES)
def cosign(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Cosign:
    """Return one version of cosign."""
    kit = signing_kit()
    if kit is None:
        pytest.skip(f"{VARIABLE} names no folder with the real cosign")
    return Cosign(kit, request.param, tmp_path_factory.mktemp(request.param))


@pytest.fixture(scope="module")
def results(cosign: Cosign) -> dict[str, tuple[Case, CosignResult]]:
    """Return cosign's results for all examples, which are verified side by side."""
    makers = {name: make for name, (_, _, make) in EXAMPLES.items()} | AGREED
    cases = [Case(number, "p256") for number in range(len(makers))]
    for case, make in zip(cases, makers.values(), strict=True):
        make(case)
    return dict(zip(makers, zip(cases, cosign.verify_all(cases), strict=True), strict=True))


def numbers(version: str) -> range:
    """Return the numbers of the cases to try: always the same, or new ones in a long run."""
    first = int.from_bytes(os.urandom(5)) if CASES else 0
    return range(first, first + (CASES or SHARES[version]))


@pytest.mark.timeout(60 + CASES)
def test_changed_signatures_are_accepted_as_by_cosign(cosign: Cosign) -> None:
    """Each disagreement is of a kind that is listed, with its reason."""
    counts: Counter[str] = Counter()
    unexplained = []
    for start in range(0, len(numbered := numbers(cosign.version)), BATCH):
        cases = [make_case(number) for number in numbered[start : start + BATCH]]
        for case, theirs in zip(cases, cosign.verify_all(cases), strict=True):
            ours = verify(case)
            if ours.is_valid == theirs.is_valid:
                counts["both valid" if ours.is_valid else "both refused"] += 1
                continue
            kind = find_kind(case, ours, theirs)
            counts[f"{'more lenient' if ours.is_valid else 'stricter'}: {kind}"] += 1
            if not kind:
                unexplained.append(describe(case, ours, theirs))
    print(f"{cosign.version}: {sum(counts.values())} cases")
    print(*(f"{count:6} {kind}" for kind, count in counts.most_common()), *unexplained, sep="\n")
    assert unexplained == []
    assert min(counts["both valid"], counts["both refused"]) >= len(numbered) // 10


@pytest.mark.parametrize("name", EXAMPLES)
def test_listed_kind_is_a_disagreement(
    name: str, cosign: Cosign, results: dict[str, tuple[Case, CosignResult]]
) -> None:
    """The list does not outlive cosign's behavior or ours."""
    kind, version, _ = EXAMPLES[name]
    case, theirs = results[name]
    ours = verify(case)
    found = describe(case, ours, theirs)
    if version not in ("both", cosign.version):
        assert ours.is_valid == theirs.is_valid, found
        return
    assert (ours.is_valid, theirs.is_valid) == (kind in LENIENT, kind in STRICTER), found
    assert find_kind(case, ours, theirs) == kind


def test_each_kind_has_an_example() -> None:
    """Otherwise a kind could cover anything."""
    assert {kind for kind, _, _ in EXAMPLES.values()} == {*STRICTER, *LENIENT}


@pytest.mark.parametrize("name", AGREED)
def test_ordinary_signature_is_accepted_by_both(
    name: str, results: dict[str, tuple[Case, CosignResult]]
) -> None:
    """Being strict must not cost a signature."""
    case, theirs = results[name]
    ours = verify(case)
    assert (ours.is_valid, theirs.is_valid) == (True, True), describe(case, ours, theirs)
