"""The audit in the cluster uses no more memory in later rounds than in its second."""

from __future__ import annotations

import gc
import json
import tracemalloc
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

import webhook.app.audit_process
from tests.support.builders import HOST, FakeAnswers
from tests.support.rescanning import Rescanner
from tests.unit.cluster.lists import pod
from webhook.errors import ClusterError
from webhook.trust.records import TrustStatus

PODS = "/api/v1/pods"


def web(name: str, namespace: str, image: str) -> dict[str, Any]:
    """Return a Pod with an image of SWR."""
    return pod(name, namespace, f"{HOST}/{image}", uid="u-1")


class Many:
    """Ten thousand Pods of two thousand images; each page is created when it is read."""

    PODS, IMAGES, PAGE = 10_000, 2_000, 250

    def get(self, path: str, query: Mapping[str, str] | None = None) -> dict[str, Any]:
        if path != PODS:
            raise ClusterError(404, "not found") if query is None else ClusterError(403, "no")
        start = int((query or {}).get("continue", "0"))
        end = min(start + self.PAGE, self.PODS)
        items = [
            web(f"p{n:05}", f"n{n * 200 // self.PODS:03}", f"shop/app-{n % self.IMAGES}:1")
            for n in range(start, end)
        ]
        left = self.PODS - end
        meta = {"continue": str(end), "remainingItemCount": left} if left else {}
        answer: dict[str, Any] = json.loads(json.dumps({"items": items, "metadata": meta}))
        return answer


@pytest.mark.slow
def test_memory_does_not_grow_over_audit_rounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """10,000 Pods, 2,000 images, 200 namespaces: the fourth round uses as much as the second one."""
    facts: dict[str, TrustStatus] = {
        f"shop/app-{n}:1": TrustStatus.TRUSTED for n in range(Many.IMAGES) if n % 10
    }
    monkeypatch.setattr(webhook.app.audit_process, "connect", lambda *_: Many())
    with Rescanner(tmp_path, "http://127.0.0.1:9", tmp_path / "none", reports=False, events=False) as made:
        check(made, facts)


def check(rescanner: Rescanner, facts: dict[str, TrustStatus]) -> None:
    """Run four rounds and measure the memory after each."""
    held = []
    tracemalloc.start()
    try:
        for _ in range(4):
            rescanner.process.rounds.answers = FakeAnswers(facts)
            rescanner._kept.lines.clear()
            assert rescanner.round()
            rescanner.process.rounds.answers = FakeAnswers({})
            gc.collect()
            held.append(tracemalloc.get_traced_memory()[0])
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert rescanner.metric("swr_trust_audit_last_round_pods") == Many.PODS
    assert rescanner.metric("swr_trust_audit_last_round_images") == Many.IMAGES
    assert max(held[2:]) < held[1] * 1.05
    assert peak < 64 * 2**20
