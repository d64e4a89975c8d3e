"""Changes of signing keys: what stays trusted, by change and by record."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.support.builders import DIGEST, NOW, enterprise_registry, registry
from webhook.registries import Evidence, Registry, SignatureSettings, SigningKey
from webhook.signatures.check import SignatureCheck, SignatureResult
from webhook.trust.key_changes import find_key_changes
from webhook.trust.records import TrustRecord, TrustStatus

A, B, C = (SigningKey(name, f"/keys/{name}.pub", content=name.encode()) for name in ("a", "b", "c"))
LAPSED = replace(B, content=b"", problem="lapsed on 2026-11-29")
UNREADABLE = replace(B, content=b"", problem="cannot be read")


def settings(*keys: SigningKey, threshold: int = 1, **annotations: str) -> SignatureSettings:
    """Return settings with these keys and annotations."""
    return SignatureSettings(keys, threshold, tuple(annotations.items()))


def signed(*signers: str, **values: Any) -> TrustRecord:
    """Return the record of an image that these keys have signed."""
    check = SignatureCheck(SignatureResult.SIGNED, NOW, signers=signers, formats=("bundle",), found=2)
    record = TrustRecord(TrustStatus.TRUSTED, NOW, DIGEST, signature=check, is_marked=True)
    return replace(record, **values)


def carry(
    before: SignatureSettings,
    after: SignatureSettings,
    record: TrustRecord,
    evidence: Evidence = Evidence.SIGNATURE,
) -> TrustRecord | None:
    """Return what stays of a record after a change of the settings."""
    old = registry(evidence=evidence, signatures=before)
    new = registry(evidence=evidence, signatures=after)
    change = find_key_changes([old], [new]).get(old.key)
    if change is None:
        return None
    assert change.key == new.key != old.key
    carried = change.carry_record(record)
    check = change.carry_check(record.signature) if record.signature is not None else None
    if carried is not None:
        assert carried.signature == check
    return carried


TWO = settings(A, B)
BOTH_NEEDED = settings(A, B, threshold=2)

CHANGES: dict[str, tuple[SignatureSettings, SignatureSettings, tuple[str, ...], tuple[str, ...] | None]] = {
    "a key is added": (settings(A), TWO, ("a",), ("a",)),
    "a key is added before it": (settings(A), settings(B, A), ("a",), ("a",)),
    "an unused key lapses": (TWO, settings(A, LAPSED), ("a",), ("a",)),
    "an unused key is unreadable": (TWO, settings(A, UNREADABLE), ("a",), ("a",)),
    "an unused key is removed": (TWO, settings(A), ("a",), ("a",)),
    "an unused key is readable again": (settings(A, UNREADABLE), TWO, ("a",), ("a",)),
    "its key lapses": (TWO, settings(A, LAPSED), ("b",), None),
    "its key is unreadable": (TWO, settings(A, UNREADABLE), ("b",), None),
    "its key is removed": (TWO, settings(A), ("b",), None),
    "the last key is removed": (settings(A), settings(), ("a",), None),
    "one of its keys is removed": (TWO, settings(A), ("a", "b"), ("a",)),
    "one of its two needed keys is removed": (BOTH_NEEDED, settings(A, C, threshold=2), ("a", "b"), None),
    "its key is replaced under its name": (TWO, settings(A, replace(B, content=b"new")), ("b",), None),
    "its key is replaced by one under its name and moves": (
        TWO,
        settings(A, replace(B, content=b"new"), replace(C, content=b"b")),
        ("b",),
        ("c",),
    ),
    "two keys swap their names": (
        TWO,
        settings(replace(A, content=b"b"), replace(B, content=b"a"), C),
        ("a",),
        ("b",),
    ),
    "its key is renamed": (settings(A), settings(replace(C, content=b"a")), ("a",), ("c",)),
    "the order changes with a key": (BOTH_NEEDED, settings(C, B, A, threshold=2), ("a", "b"), ("b", "a")),
    "the threshold is not reached": (TWO, BOTH_NEEDED, ("a",), None),
    "the threshold is reached": (TWO, BOTH_NEEDED, ("a", "b"), ("a", "b")),
    "the threshold is lower": (BOTH_NEEDED, TWO, ("a", "b"), ("a", "b")),
    "the threshold is zero": (TWO, settings(A, B, threshold=0), ("a",), None),
    "more keys than there are must sign": (TWO, settings(A, B, threshold=3), ("a", "b"), None),
    "one key under two names": (
        settings(A, replace(B, content=b"a")),
        settings(A, C, threshold=2),
        ("a", "b"),
        None,
    ),
    "one key under two new names": (
        settings(A),
        settings(A, replace(B, content=b"a"), threshold=2),
        ("a",),
        None,
    ),
    "two keys of one name": (settings(A, replace(B, name="a")), settings(A), ("a",), None),
    "an unknown signer": (settings(A), TWO, ("stranger",), None),
    "a signer that did not count before": (settings(A, LAPSED), TWO, ("b",), None),
    "no signer": (settings(A), TWO, (), None),
    "an annotation is required": (settings(A), settings(A, stage="prod"), ("a",), None),
    "another annotation is required": (settings(A, stage="test"), settings(A, stage="prod"), ("a",), None),
    "an annotation is no longer required": (settings(A, stage="prod"), settings(A), ("a",), None),
    "the same annotations are required": (
        settings(A, stage="prod", team="x"),
        settings(A, B, team="x", stage="prod"),
        ("a",),
        ("a",),
    ),
}


@pytest.mark.parametrize("evidence", [Evidence.SIGNATURE, Evidence.BOTH])
@pytest.mark.parametrize(("before", "after", "signers", "expected"), CHANGES.values(), ids=CHANGES)
def test_record_stays_trusted_if_its_signers_suffice_after_the_change(
    before: SignatureSettings,
    after: SignatureSettings,
    signers: tuple[str, ...],
    expected: tuple[str, ...] | None,
    evidence: Evidence,
) -> None:
    """Keys are compared by their contents; the record has their new names, and its age."""
    record = signed(*signers)
    carried = carry(before, after, record, evidence)
    if expected is None:
        assert carried is None
    else:
        assert record.signature is not None
        assert carried == replace(record, signature=replace(record.signature, signers=expected))


@pytest.mark.parametrize("evidence", [Evidence.SIGNATURE, Evidence.BOTH])
@pytest.mark.parametrize(
    "record",
    [
        signed("a", signature=None),
        signed("a", status=TrustStatus.UNTRUSTED),
        signed("a", status=TrustStatus.MISSING),
        *(
            signed("a", signature=SignatureCheck(result, NOW, signers=("a",)))
            for result in SignatureResult
            if result is not SignatureResult.SIGNED
        ),
    ],
)
def test_record_that_proves_no_trust_is_not_carried_over(record: TrustRecord, evidence: Evidence) -> None:
    """A refusal, and a record of a snapshot, which names no signers."""
    assert carry(settings(A), TWO, record, evidence) is None


@pytest.mark.parametrize(
    ("evidence", "is_marked", "stays"),
    [
        (Evidence.BOTH, True, True),
        (Evidence.BOTH, False, False),
        (Evidence.BOTH, None, False),
        (Evidence.SIGNATURE, False, True),
    ],
)
def test_both_needs_the_mark(evidence: Evidence, is_marked: bool | None, stays: bool) -> None:
    assert (carry(settings(A), TWO, signed("a", is_marked=is_marked), evidence) is not None) is stays


@pytest.mark.parametrize(
    "values",
    [
        {"evidence": Evidence.BOTH},
        {"evidence": Evidence.TAG_DETAIL},
        {"evidence": Evidence.TAG_DETAIL, "signatures": None},
        {"signatures": None},
        {"registry_endpoint": "https://elsewhere.example.com"},
        {"endpoint": "https://elsewhere.example.com"},
        {"organizations": frozenset({"shop"})},
        {"project_id": "another"},
        {"docker_config_file": "/login/another.json"},
        {"hosts": ("elsewhere.example.com",)},
        {"proxy": "http://proxy.example.com:3128"},
        {"ca_file": "/ca.pem"},
    ],
    ids=" ".join,
)
def test_nothing_is_carried_over_to_another_registry(values: dict[str, Any]) -> None:
    old = registry(evidence=Evidence.SIGNATURE, signatures=settings(A))
    assert find_key_changes([old], [replace(old, **{"signatures": TWO, **values})]) == {}


def test_change_is_that_of_the_same_registry() -> None:
    """Each of several registries has a change of its own, and one without a change has none."""
    one, other = (
        registry(evidence=Evidence.SIGNATURE, signatures=settings(A)),
        registry(evidence=Evidence.SIGNATURE, signatures=settings(A), organizations=frozenset({"shop"})),
    )
    team = enterprise_registry(signatures=settings(A))
    marked = registry(organizations=frozenset({"base"}))
    after: list[Registry] = [
        marked,
        replace(team, signatures=settings(A, C)),
        replace(other, signatures=TWO),
        one,
    ]
    changes = find_key_changes([one, other, team, marked], after)
    assert {former: change.key for former, change in changes.items()} == {
        other.key: after[2].key,
        team.key: after[1].key,
    }
