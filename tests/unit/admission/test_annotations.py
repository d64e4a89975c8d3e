"""Audit annotations: stable keys and bounded values."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.builders import DIGEST, HOST, NOW, SOON, FakeAnswers, exemption, policy, rule
from webhook.admission.annotations import MAX_FINDINGS, MAX_IMAGE_LENGTH, annotate
from webhook.admission.decision import Effect, ImageResult
from webhook.admission.evaluator import Evaluator
from webhook.admission.extraction import ImageUse
from webhook.errors import Forbidden, RegistryUnavailable
from webhook.policy.findings import Mode
from webhook.policy.model import Policy
from webhook.signatures.check import SignatureCheck, SignatureResult
from webhook.trust.lookup import Found, Origin
from webhook.trust.records import TrustRecord, TrustStatus

FACTS: dict[str, Any] = {
    "shop/web:1": TrustStatus.TRUSTED,
    "shop/web:2": TrustStatus.UNTRUSTED,
    "shop/old:1": Found(
        TrustRecord(TrustStatus.TRUSTED, NOW, DIGEST), Origin.STALE, RegistryUnavailable("down")
    ),
    "shop/hidden:1": Forbidden("x"),
    "shop/signed:1": TrustRecord(
        TrustStatus.TRUSTED,
        NOW,
        DIGEST,
        signature=SignatureCheck(SignatureResult.SIGNED, NOW, ("release", "qa"), ("bundle",), 2),
    ),
    "shop/signed:2": TrustRecord(
        TrustStatus.UNTRUSTED,
        NOW,
        DIGEST,
        signature=SignatureCheck(SignatureResult.THRESHOLD, NOW, ("qa",), ("simple-signing",), 1),
    ),
    "shop/signed:3": TrustRecord(
        TrustStatus.UNTRUSTED, NOW, DIGEST, signature=SignatureCheck(SignatureResult.UNSIGNED, NOW)
    ),
}


def judge(current: Policy, *images: str) -> tuple[ImageResult, ...]:
    """Evaluate some images."""
    uses = [ImageUse(f"f{n}", ("containers", str(n)), image) for n, image in enumerate(images)]
    return Evaluator(current, FakeAnswers(FACTS)).evaluate(uses, "shop", SOON, NOW)


FINDINGS = [
    (f"{HOST}/shop/web:1", {"finding": "trusted", "digest": DIGEST}),
    (f"{HOST}/shop/web:2", {"finding": "untrusted", "digest": DIGEST}),
    (f"{HOST}/shop/web:3", {"finding": "missing"}),
    (f"{HOST}/shop/old:1", {"finding": "trusted", "digest": DIGEST, "origin": "stale"}),
    (f"{HOST}/shop/hidden:1", {"finding": "unknown", "reason": "forbidden"}),
    (f"{HOST}/shop/signed:1", {"finding": "trusted", "digest": DIGEST, "signers": ["release", "qa"]}),
    (
        f"{HOST}/shop/signed:2",
        {"finding": "untrusted", "reason": "threshold", "digest": DIGEST, "signers": ["qa"]},
    ),
    (f"{HOST}/shop/signed:3", {"finding": "untrusted", "reason": "unsigned", "digest": DIGEST}),
    ("quay.io/a/b", {"finding": "exempt", "exemption": "quay"}),
    ("nginx", {"finding": "unmanaged"}),
    ("", {"finding": "invalid", "reason": "empty"}),
]


@pytest.mark.parametrize(("image", "expected"), FINDINGS, ids=[case[0] or "empty" for case in FINDINGS])
def test_finding_annotation_has_only_known_fields(image: str, expected: dict[str, Any]) -> None:
    """Field, image, finding, and other fields only if they have a value."""
    current = policy(exemptions=(exemption("quay", ["quay.io/**"]),))
    annotations = annotate(current, Effect.DENY, judge(current, image))
    assert json.loads(annotations["findings"]) == [{"field": "f0", "image": image, **expected}]


def test_annotations_name_strictest_mode_and_every_rule() -> None:
    """Each rule once, in the order in which they applied."""
    current = policy(
        mode=Mode.AUDIT,
        rules=(rule("web", [f"{HOST}/shop/web"], mode="enforce"), rule("rest", ["**"], mode="warn")),
    )
    judged = judge(current, "nginx", f"{HOST}/shop/web:1", f"{HOST}/shop/web:2")
    annotations = annotate(current, Effect.DENY, judged)
    assert (annotations["decision"], annotations["mode"], annotations["rule"], annotations["policy"]) == (
        "deny",
        "enforce",
        "rest, web",
        "v1",
    )


def test_unevaluated_request_has_error_and_mode_annotations() -> None:
    """No findings, but the error and the mode that was applied."""
    assert annotate(policy(), Effect.AUDIT, (), error="unreadable", mode=Mode.AUDIT) == {
        "decision": "audit",
        "mode": "audit",
        "policy": "v1",
        "error": "unreadable",
    }


def test_break_glass_and_mirror_pods_are_annotated() -> None:
    """The reason as it was given, and a flag."""
    assert annotate(policy(), Effect.ALLOW, (), break_glass="incident 7")["break-glass"] == "incident 7"
    assert annotate(policy(), Effect.ALLOW, (), mirror=True)["mirror-pod"] == "true"


@given(st.lists(st.text(max_size=2000), max_size=30))
def test_annotations_of_any_images_are_bounded(images: list[str]) -> None:
    """In number and in length, and the list is JSON."""
    current = policy()
    annotations = annotate(current, Effect.DENY, judge(current, *images))
    if not images:
        assert "findings" not in annotations
        return
    text, _, more = annotations["findings"].partition("] and ")
    listed = json.loads(f"{text}]" if more else text)
    assert [item["image"] for item in listed] == [image[:MAX_IMAGE_LENGTH] for image in images[:MAX_FINDINGS]]
    assert len(annotations["findings"]) < MAX_FINDINGS * (MAX_IMAGE_LENGTH * 6 + 300)
