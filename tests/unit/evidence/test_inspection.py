"""Inspecting images: both kinds of evidence of each, whichever of them counts, and few lookups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from tests.support.builders import NOW, enterprise_registry, registry
from webhook.errors import Fault, Forbidden, RegistryUnavailable, Unauthorized
from webhook.evidence.inspection import (
    Inspection,
    Inspector,
    for_signatures,
    for_tag_detail,
)
from webhook.registries import Evidence, Registry, SignatureSettings, SigningKey
from webhook.signatures.check import SignatureCheck, SignatureResult
from webhook.trust.lookup import Failed, Found, LookupRequest, LookupResult, Origin
from webhook.trust.records import TrustQuery, TrustRecord, TrustStatus

KEYS = SignatureSettings(
    (
        SigningKey("new", "/keys/new.pub", content=b"new"),
        SigningKey("old", "/keys/old.pub", content=b"old"),
    )
)
PLAIN = registry()
WATCHED = registry(signatures=KEYS)
SIGNATURE = registry(evidence=Evidence.SIGNATURE, signatures=KEYS)
BOTH = registry(evidence=Evidence.BOTH, signatures=KEYS)
ENTERPRISE = enterprise_registry(signatures=KEYS)

MARKED = TrustRecord(TrustStatus.TRUSTED, NOW)
UNMARKED = TrustRecord(TrustStatus.UNTRUSTED, NOW)
MISSING = TrustRecord(TrustStatus.MISSING, NOW)
DOWN = RegistryUnavailable("the registry cannot be reached")
NOT_READ = Forbidden("a signature cannot be read")


def signed(*signers: str, marked: bool | None = False, found: int | None = None) -> TrustRecord:
    """Return the record of an image whose signatures by these keys count."""
    result = SignatureResult.THRESHOLD if signers else SignatureResult.UNSIGNED
    check = SignatureCheck(result, NOW, signers, found=len(signers) if found is None else found)
    return TrustRecord(TrustStatus.UNTRUSTED, NOW, signature=check, is_marked=marked)


ENOUGH = TrustRecord(
    TrustStatus.TRUSTED, NOW, signature=SignatureCheck(SignatureResult.SIGNED, NOW, ("new",)), is_marked=True
)


class Answers:
    """Results by variant: ``all`` for every signature, ``enough`` for enough, ``mark`` for the tag detail."""

    def __init__(self, **results: TrustRecord | RegistryUnavailable | Forbidden | Unauthorized) -> None:
        self.results: Mapping[str, object] = results
        self.asked: list[str] = []

    def look_up(self, requests: Sequence[LookupRequest]) -> list[LookupResult]:
        return [self._answer(request.query) for request in requests]

    def _answer(self, query: TrustQuery) -> LookupResult:
        signatures = query.registry.signatures
        if query.registry.evidence is Evidence.TAG_DETAIL:
            name = "mark"
        else:
            assert signatures is not None
            name = "all" if signatures.threshold > len(signatures.keys) else "enough"
        self.asked.append(name)
        result = self.results[name]
        return Found(result, Origin.SWR) if isinstance(result, TrustRecord) else Failed(result)  # type: ignore[arg-type]


def inspect(
    answers: Answers, configured: Registry, known: LookupResult | None = None, *, reads: bool = True
) -> Inspection:
    """Inspect one image of a registry."""
    query = TrustQuery(configured, "shop", "web", tag="1")
    (found,) = Inspector(answers.look_up, lambda _registry: reads).inspect([(query, known)])
    return found


def summary(found: Inspection) -> tuple[bool | None, bool | None, bool | None]:
    """Return whether an image exists, is marked, and is signed."""
    return found.exists, found.is_marked, found.is_signed


@pytest.mark.parametrize("configured", [WATCHED, SIGNATURE, BOTH], ids=["tagDetail", "signature", "both"])
@pytest.mark.parametrize(
    ("record", "expected"),
    [
        (signed("new"), (True, False, True)),
        (signed("new", "old", marked=True), (True, True, True)),
        (signed(), (True, False, False)),
        (MISSING, (False, None, None)),
    ],
    ids=["signed", "both", "neither", "missing"],
)
def test_one_lookup_finds_both_kinds_of_evidence(
    configured: Registry, record: TrustRecord, expected: tuple[bool | None, ...]
) -> None:
    """Whichever of them is configured."""
    answers = Answers(all=record)
    assert summary(inspect(answers, configured)) == expected
    assert answers.asked == ["all"]


def test_signatures_are_read_until_each_signer_is_known() -> None:
    """An image that one key has signed suffices, but the survey counts the images of each key."""
    settings = for_signatures(SIGNATURE).signatures
    assert settings is not None
    assert (settings.keys, settings.threshold) == (KEYS.keys, 3)


@pytest.mark.parametrize(
    ("threshold", "signers", "is_signed"),
    [(1, (), False), (1, ("new",), True), (2, ("new",), False), (2, ("new", "old"), True)],
)
def test_configured_threshold_decides_whether_an_image_is_signed(
    threshold: int, signers: tuple[str, ...], is_signed: bool
) -> None:
    configured = registry(signatures=SignatureSettings(KEYS.keys, threshold))
    assert inspect(Answers(all=signed(*signers)), configured).is_signed is is_signed


@pytest.mark.parametrize(("found", "is_signed"), [(0, False), (2, None)], ids=["nothing stored", "stored"])
def test_stored_signatures_cannot_be_verified_without_keys(found: int, is_signed: bool | None) -> None:
    """It is not known whether they would count."""
    assert inspect(Answers(all=signed(found=found)), PLAIN).is_signed is is_signed


def test_mark_is_known_although_signatures_cannot_be_read() -> None:
    answers = Answers(all=DOWN, mark=MARKED)
    found = inspect(answers, SIGNATURE)
    assert summary(found) == (True, True, None)
    assert (answers.asked, found.failures) == (["all", "mark"], (DOWN,))


def test_signature_that_cannot_be_read_does_not_hide_one_that_suffices() -> None:
    """The webhook would admit the image, too."""
    answers = Answers(all=NOT_READ, enough=ENOUGH)
    found = inspect(answers, SIGNATURE)
    assert summary(found) == (True, True, True)
    assert (answers.asked, found.failures) == (["all", "enough"], ())


def test_image_of_enterprise_has_no_mark() -> None:
    answers = Answers(all=signed("old", marked=None))
    assert summary(inspect(answers, ENTERPRISE)) == (True, None, True)
    answers = Answers(all=DOWN)
    assert summary(inspect(answers, ENTERPRISE)) == (None, None, None)
    assert answers.asked == ["all"]


@pytest.mark.parametrize(
    ("configured", "known", "expected", "asked"),
    [
        (PLAIN, Found(MARKED, Origin.SWR), (True, True, None), []),
        (PLAIN, Found(UNMARKED, Origin.SWR), (True, False, None), []),
        (WATCHED, Found(UNMARKED, Origin.SWR), (True, False, True), ["all"]),
        (WATCHED, Found(MISSING, Origin.SWR), (False, None, None), []),
        (SIGNATURE, Found(ENOUGH, Origin.SWR), (True, True, True), []),
        (BOTH, Found(UNMARKED, Origin.SWR), (True, False, True), ["all"]),
        (BOTH, Found(ENOUGH, Origin.SWR), (True, True, True), []),
        (ENTERPRISE, Found(signed(marked=None), Origin.SWR), (True, None, False), []),
        (SIGNATURE, Failed(DOWN), (None, None, None), []),
        (WATCHED, Failed(DOWN), (None, None, None), []),
    ],
)
def test_what_an_audit_has_looked_up_is_not_looked_up_again(
    configured: Registry, known: LookupResult, expected: tuple[bool | None, ...], asked: list[str]
) -> None:
    """A lookup that has failed is not repeated, either."""
    answers = Answers(all=signed("new"), mark=MARKED)
    found = inspect(answers, configured, known, reads=configured.signatures is not None)
    assert (summary(found), answers.asked) == (expected, asked)


def test_all_images_of_one_variant_are_looked_up_together() -> None:
    """So that the queue of the registry is used as by reviews."""
    asked: list[int] = []

    def look_up(requests: Sequence[LookupRequest]) -> list[LookupResult]:
        asked.append(len(requests))
        return [Found(signed("new"), Origin.SWR)] * len(requests)

    queries = [TrustQuery(SIGNATURE, "shop", "web", tag=str(number)) for number in range(5)]
    found = Inspector(look_up, lambda _registry: True).inspect([(query, None) for query in queries])
    assert (asked, len(found)) == ([5], 5)


YES, NO, UNKNOWN = True, False, None


@pytest.mark.parametrize(
    ("exists", "marked", "is_signed", "denied"),
    [
        (YES, YES, YES, (NO, NO, NO)),
        (YES, YES, NO, (NO, YES, YES)),
        (YES, NO, YES, (YES, NO, YES)),
        (YES, NO, NO, (YES, YES, YES)),
        (YES, YES, UNKNOWN, (NO, UNKNOWN, UNKNOWN)),
        (YES, NO, UNKNOWN, (YES, UNKNOWN, YES)),
        (YES, UNKNOWN, NO, (UNKNOWN, YES, YES)),
        (NO, UNKNOWN, UNKNOWN, (YES, YES, YES)),
        (UNKNOWN, UNKNOWN, UNKNOWN, (UNKNOWN, UNKNOWN, UNKNOWN)),
    ],
)
def test_denial_under_each_evidence(
    exists: bool | None, marked: bool | None, is_signed: bool | None, denied: tuple[bool | None, ...]
) -> None:
    """By tagDetail, signature and both."""
    found = Inspection(exists, marked, is_signed)
    assert tuple(found.is_denied(evidence) for evidence in Evidence) == denied


def test_variants_have_keys_of_their_own() -> None:
    """So that their records are never used for a review."""
    keys = {one.key for one in (SIGNATURE, for_signatures(SIGNATURE), for_tag_detail(SIGNATURE))}
    assert len(keys) == 3
    assert Fault.IMAGE is NOT_READ.fault
