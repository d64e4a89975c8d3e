"""Rounds of the audit in the cluster: failures during a round, limits and memory."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import webhook.app.audit_process
from tests.emulator.server import Emulator
from tests.support.builders import DIGEST, OTHER_DIGEST, FakeAnswers, policy
from tests.support.rescanning import Rescanner
from tests.unit.cluster.lists import FakeCluster, pod
from webhook.app.audit_rounds import with_background_limits
from webhook.errors import ClusterError, Fault, RegistryUnavailable, Throttled, Unauthorized
from webhook.trust.records import TrustStatus
from webhook.trust.settings import LookupSettings

HOST = "swr.cn-north-4.myhuaweicloud.com"
PODS = "/api/v1/pods"
NOWHERE = "http://127.0.0.1:9"


Make = Callable[..., Rescanner]


@pytest.fixture
def make(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Make]:
    """Return a factory of audits of a cluster with given answers of SWR."""
    made: list[Rescanner] = []

    def build(
        cluster: Any, answers: FakeAnswers | None, endpoint: str = NOWHERE, **options: Any
    ) -> Rescanner:
        monkeypatch.setattr(webhook.app.audit_process, "connect", lambda *_: cluster)
        monkeypatch.setattr("webhook.cluster.client.FIRST_PAUSE", 0.0)
        monkeypatch.setattr("webhook.audit.caching_lookup.OUTAGE_RETRY_BUDGET", 0.0)
        monkeypatch.setattr("webhook.audit.caching_lookup.THROTTLING_RETRY_BUDGET", 0.0)
        rescanner = Rescanner(tmp_path, endpoint, tmp_path / "none", **options)
        if answers is not None:
            rescanner.process.rounds.answers = answers
        made.append(rescanner)
        return rescanner

    yield build
    for rescanner in made:
        rescanner.__exit__(None, None, None)


def web(name: str = "web", namespace: str = "shop", image: str = "shop/web:1") -> dict[str, Any]:
    """Return a Pod with an image of SWR."""
    return pod(name, namespace, f"{HOST}/{image}", uid="u-1")


def test_revoked_image_is_counted_logged_and_reported_as_event(make: Make) -> None:
    """In the second round, and on the Pod if it has no owner."""
    answers = FakeAnswers({"shop/web:1": TrustStatus.TRUSTED})
    cluster = FakeCluster([web()])
    rescanner = make(cluster, answers)
    assert rescanner.round()
    answers.facts["shop/web:1"] = TrustStatus.UNTRUSTED
    assert rescanner.round()
    rescanner.write_events()
    (event,) = cluster.created
    assert event["regarding"] == {
        "apiVersion": "v1",
        "kind": "Pod",
        "name": "web",
        "namespace": "shop",
        "uid": "u-1",
    }
    assert event["reportingController"] == "swr-trust/audit"
    assert event["note"] == (
        f"Pod/web runs an image that would be denied now: {HOST}/shop/web:1: SWR does not mark this tag as "
        "trusted. Mark this tag as trusted in SWR, or use a tag that already is."
    )
    assert rescanner.metric("swr_trust_audit_newly_refused_total") == 1
    said = {"namespace": "shop", "workload": "Pod/web", "image": f"{HOST}/shop/web:1", "finding": "untrusted"}
    assert "running images would be denied now" in rescanner.said()
    assert f"'images': [{said}], 'count': 1" in rescanner.said()


def test_pod_that_runs_another_digest_than_pinned_is_counted_and_logged(make: Make) -> None:
    """It is not denied, so there is no Event."""
    image = f"shop/web:1@{DIGEST}"
    statuses = [{"name": "main", "imageID": f"{HOST}/shop/web@{OTHER_DIGEST}"}]
    cluster = FakeCluster([])
    rescanner = make(cluster, FakeAnswers({"shop/web:1": TrustStatus.TRUSTED}))
    assert rescanner.round()
    cluster.collections[PODS] = [{**web(image=image), "status": {"containerStatuses": statuses}}]
    assert rescanner.round()
    rescanner.write_events()
    reasons = ("other-than-pinned", "moved", "superseded")
    name = "swr_trust_audit_other_digest_reason_pods"
    assert [rescanner.metric(name, reason=reason) for reason in reasons] == [1, 0, 0]
    assert "nodes report other images than Pods pin" in rescanner.said()
    said = {
        "namespace": "shop",
        "workload": "Pod/web",
        "image": f"{HOST}/{image}",
        "running": OTHER_DIGEST,
        "pod": "web",
    }
    assert f"'images': [{said}], 'count': 1" in rescanner.said()
    assert cluster.created == []


def test_survey_of_a_round_is_exposed(make: Make) -> None:
    """No signature is read, because no key is configured."""
    answers = FakeAnswers({"shop/web:1": TrustStatus.UNTRUSTED})
    rescanner = make(FakeCluster([web(), web("gone", image="shop/gone:1")]), answers)
    assert rescanner.round()
    labels = {"registry": HOST, "evidence": "tagDetail", "mode": "enforce", "advice": "no-mark"}
    assert rescanner.metric("swr_trust_audit_evidence_info", **labels) == 1
    states = ("existing", "missing", "marked", "signed", "unknown")
    name = "swr_trust_audit_evidence_images"
    assert [rescanner.metric(name, registry=HOST, state=state) for state in states] == [1, 1, 0, 0, 0]
    name = "swr_trust_audit_evidence_denied_images"
    evidence = ("tagDetail", "signature", "both")
    assert [rescanner.metric(name, registry=HOST, evidence=one) for one in evidence] == [2, 0, 0]
    assert answers.asked == ["shop/web:1", "shop/gone:1"]


@pytest.mark.parametrize(
    ("failures", "gap"),
    [
        ({call: ClusterError(0, "refused") for call in range(1, 9)}, "could not be read to the end: refused"),
        ({1: ClusterError(403, "forbidden")}, "does not let you list Pods in all namespaces"),
        ({call: ClusterError(410, "too old") for call in (2, 4, 6, 8, 10)}, "expired again and again"),
        ({call: ClusterError(503, "away") for call in range(2, 9)}, "could not be read to the end: away"),
    ],
    ids=["gone", "no right", "expired tokens", "away in the middle"],
)
def test_api_server_failure_makes_round_partial(
    make: Make, failures: dict[int, ClusterError], gap: str
) -> None:
    """Metrics and log show it; the results of an earlier round stay."""
    cluster = FakeCluster([web(f"web-{n}") for n in range(5)])
    rescanner = make(cluster, FakeAnswers({}))
    assert rescanner.round()
    before = rescanner.metric("swr_trust_audit_last_complete_timestamp_seconds")
    cluster.calls.clear()
    cluster.failures = failures
    assert not rescanner.round()
    assert rescanner.metric("swr_trust_audit_last_round_complete") == 0
    assert rescanner.metric("swr_trust_audit_rounds_total", result="partial") == 1
    assert rescanner.metric("swr_trust_audit_last_complete_timestamp_seconds") == before
    assert rescanner.metric("swr_trust_audit_pods", resource_namespace="shop", state="refused") > 0
    assert gap in rescanner.said()
    assert "(PARTIAL)" in rescanner.said()
    cluster.failures = {}
    assert rescanner.round()
    assert rescanner.metric("swr_trust_audit_last_round_complete") == 1


@pytest.mark.parametrize(
    "failure",
    [Throttled("slow down", fault=Fault.REGISTRY), RegistryUnavailable("500"), Unauthorized("401")],
    ids=["throttling", "an outage", "a credential that is not accepted"],
)
def test_swr_failure_makes_round_partial_without_new_denials(make: Make, failure: Any) -> None:
    """A failed lookup is not a denial."""
    answers = FakeAnswers({"shop/web:1": TrustStatus.TRUSTED})
    rescanner = make(FakeCluster([web()]), answers)
    rescanner.round()
    answers.facts["shop/web:1"] = failure
    assert not rescanner.round()
    assert rescanner.metric("swr_trust_audit_last_round_complete") == 0
    assert rescanner.metric("swr_trust_audit_pods", resource_namespace="shop", state="unknown") == 1
    assert rescanner.metric("swr_trust_audit_newly_refused_total") == 0
    assert "SWR gave no answer about 1 image" in rescanner.said()


def test_audit_round_does_not_use_stale_answers(emulator: Emulator, tmp_path: Path, make: Make) -> None:
    """The webhook would admit by a stale answer; a round without a fresh one reports it as unknown."""
    rescanner = make(FakeCluster([web(image="shop/web:1.0")]), None, endpoint=emulator.url)
    assert rescanner.round(), rescanner.said()
    rescanner.forget_fresh()
    emulator.break_with("status", status=500)
    assert not rescanner.round()
    assert rescanner.metric("swr_trust_audit_pods", resource_namespace="shop", state="unknown") == 1


@pytest.mark.slow
def test_pod_with_thousands_of_images_is_audited(make: Make) -> None:
    """One Pod, a row for each image, and the next round finds nothing new."""
    obj = web()
    obj["spec"]["containers"] = [{"name": f"c{n}", "image": f"{HOST}/shop/app-{n}:1"} for n in range(3000)]
    rescanner = make(FakeCluster([obj]), FakeAnswers({}))
    assert rescanner.round()
    assert rescanner.round()
    assert rescanner.metric("swr_trust_audit_image_uses", finding="missing") == 3000
    assert rescanner.metric("swr_trust_audit_newly_refused_total") == 0


def test_exception_ends_round_but_not_process(make: Make) -> None:
    """It is counted and logged, and the next round runs."""
    cluster = FakeCluster([web()])
    rescanner = make(cluster, FakeAnswers({"shop/web:1": TrustStatus.TRUSTED}))
    rounds = rescanner.process.rounds
    answers = rounds.answers
    rounds.answers = None  # type: ignore[assignment]  # wrong on purpose
    assert not rescanner.round()
    assert rescanner.metric("swr_trust_audit_rounds_total", result="failed") == 1
    assert "a round failed" in rescanner.said()
    rounds.answers = answers
    assert rescanner.round()


def test_excluded_namespaces_are_not_audited(make: Make) -> None:
    """They are those that the webhook excludes."""
    rescanner = make(FakeCluster([web(namespace="kube-system")]), FakeAnswers({}), excluded=("kube-*",))
    assert rescanner.round()
    assert rescanner.metric("swr_trust_audit_last_round_pods") == 0


def test_failed_report_write_makes_next_round_sooner(make: Make) -> None:
    """The round itself was complete."""
    cluster = FakeCluster([web()])
    rescanner = make(cluster, FakeAnswers({"shop/web:1": TrustStatus.TRUSTED}))
    cluster.failures = {2: ClusterError(429, "storage is initializing")}
    assert not rescanner.round()
    assert rescanner.metric("swr_trust_audit_last_round_complete") == 1
    assert rescanner.metric("swr_trust_audit_reports_total", outcome="failed") == 1


def test_changed_policy_starts_round_before_interval(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """The loop: a round, a change, a round, and an end on request."""
    monkeypatch.setattr(webhook.app.audit_process, "MIN_ROUND_GAP", 0.01)
    monkeypatch.setattr(webhook.app.audit_process, "INTERVAL", 0.01)
    monkeypatch.setattr("webhook.policy.reloading.DEBOUNCE", 0.0)
    rescanner = make(FakeCluster([web()]), FakeAnswers({}))
    process = rescanner.process
    monkeypatch.setattr(process.policy, "_subscribers", [])
    for work in (process._run_rounds, process._watch_policy):
        threading.Thread(target=work, daemon=True).start()

    def rounds(count: int) -> None:
        ends = time.monotonic() + 30
        while rescanner.metric("swr_trust_audit_rounds_total", result="complete") < count:
            assert time.monotonic() < ends, rescanner.said()
            time.sleep(0.01)

    rounds(1)
    text = rescanner.config.read_text(encoding="utf-8")
    rescanner.config.write_text(text + "mode: audit\n", encoding="utf-8")
    rounds(2)
    process._stop.set()


def test_stuck_process_fails_liveness_probe(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """After half an hour; every page of Pods and every batch of images is a sign of progress."""
    process = make(FakeCluster([]), FakeAnswers({})).process
    assert process.live().ok
    process._progress_at -= webhook.app.audit_process.STUCK_SECONDS + 1
    assert not process.live().ok
    process.images_looked_up(64, 0.0)
    assert process.live().ok
    process._progress_at -= webhook.app.audit_process.STUCK_SECONDS + 1
    process.pods_evaluated(250, None)
    assert process.live().ok


def test_readiness_does_not_depend_on_rounds(make: Make) -> None:
    """A rollout never waits for SWR."""
    report = make(FakeCluster([]), FakeAnswers({})).process.ready(verbose=False)
    assert (report.ok, report.lines[0]) == (True, "no round has ended yet")


def test_background_limits_cap_calls_per_second() -> None:
    """Ten calls per second, or the policy's limit if that is lower."""
    assert with_background_limits(policy()).lookup.calls_per_second == 10
    slow = policy(lookup=LookupSettings(calls_per_second=3))
    assert with_background_limits(slow).lookup.calls_per_second == 3
