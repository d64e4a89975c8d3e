"""Recorded requests of a real API server, and the whole answer to each.

``tests/data/reviews`` are bodies as kube-apiserver 1.37.2 sent them. ``UPDATE_GOLDEN=1`` writes the answers
again; review the difference before you commit it.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.support.builders import DIGEST, NOW, SOON, FakeAnswers, policy
from webhook.admission.review import read_review, write_review
from webhook.admission.validator import Validator
from webhook.policy.model import BreakGlass
from webhook.trust.records import TrustRecord, TrustStatus

DATA = Path(__file__).parents[2] / "data"
REVIEWS = sorted((DATA / "reviews").glob("*.json"))
DECISIONS = DATA / "decisions"

ONCE = "sha256:57b605845a6367c34bfb6ea6477f16852f59aa1861a2b51d10ab77ae0a1dc9c3"
TRUSTED = (
    "shop/web:1.0 shop/api:1.4 shop/log:3 shop/tools/migrate:2024.11 shop/a:1 "
    "mesh/proxy:1.22 ops/agent:latest ops/debug:1 ml/serve:2"
)
FACTS: dict[str, Any] = {
    **{image: TrustRecord(TrustStatus.TRUSTED, NOW, DIGEST) for image in TRUSTED.split()},
    "shop/once:1": TrustRecord(TrustStatus.TRUSTED, NOW, ONCE),
    "shop/web:2.0": TrustStatus.UNTRUSTED,
    "ml/model:v3": TrustStatus.UNTRUSTED,
}
POLICY = policy(
    break_glass=BreakGlass(users=frozenset({"dev"})),
    hint="How to get an image trusted: https://wiki.example.com/trust",
)


@pytest.mark.parametrize("path", REVIEWS, ids=[path.stem for path in REVIEWS])
def test_recorded_review_has_recorded_answer(path: Path) -> None:
    """Character by character."""
    request = read_review(path.read_bytes())
    decision = Validator(lambda: POLICY, FakeAnswers(FACTS), clock=lambda: NOW).validate(request, SOON)
    answer = json.loads(write_review(request.uid, decision))
    golden = DECISIONS / path.name
    if os.environ.get("UPDATE_GOLDEN"):
        golden.write_text(json.dumps(answer, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    assert answer == json.loads(golden.read_text(encoding="utf-8"))


def test_every_recorded_answer_has_recorded_review() -> None:
    """No file is without its counterpart."""
    assert [path.name for path in sorted(DECISIONS.glob("*"))] == [path.name for path in REVIEWS]
