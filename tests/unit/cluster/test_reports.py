"""Policy reports: their content, their limits, and failures of the API server."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import msgspec
import pytest

from tests.support.builders import DIGEST, HOST, NOW, OTHER_DIGEST, exemption, policy, registry, rule
from tests.support.fakes import RecorderSpy
from tests.unit.audit.builders import FACTS, audit, running
from webhook.audit.pods import PodPage, Workload
from webhook.audit.report import AuditReport
from webhook.cluster.client import KubernetesApi
from webhook.cluster.reports import MAX_BYTES, MAX_RESULTS, SELECTOR, PolicyReports
from webhook.errors import ClusterError, RegistryUnavailable
from webhook.registries import Evidence, RegistryTable, SignatureSettings, SigningKey
from webhook.signatures.check import SignatureCheck, SignatureResult
from webhook.trust.records import TrustRecord, TrustStatus

OPEN, WG = "/apis/openreports.io/v1alpha1", "/apis/wgpolicyk8s.io/v1alpha2"
PLURALS = {OPEN: "reports", WG: "policyreports"}
ROLE = "/apis/rbac.authorization.k8s.io/v1/clusterroles/audit"
GAP = PodPage(gaps=("the API server went away",))


class Reports(KubernetesApi):
    """A fake API server with reports; ``errors`` maps a method and a part of a path to an exception."""

    def __init__(self, *served: str) -> None:
        self.served = served
        self.kept: dict[str, dict[str, Any]] = {}
        self.calls: list[str] = []
        self.errors: dict[tuple[str, str], ClusterError] = {}

    def _record(self, method: str, path: str) -> None:
        self.calls.append(f"{method} {path}")
        for (verb, part), error in self.errors.items():
            if verb == method and part in path:
                raise error

    def get(self, path: str, query: Mapping[str, str] | None = None) -> dict[str, Any]:
        self._record("GET", path)
        if path in self.served:
            return {"resources": [{"name": PLURALS[path]}]}
        if path == ROLE:
            return {"metadata": {"uid": "u-1"}}
        raise ClusterError(404, "not found")

    def list_metadata(self, path: str, query: Mapping[str, str]) -> dict[str, Any]:
        self._record("LIST", path)
        assert query["labelSelector"] == SELECTOR
        version = path.rpartition("/")[0]
        items = [{"metadata": obj["metadata"]} for at, obj in self.kept.items() if at.startswith(version)]
        start = int(query.get("continue", "0"))
        rest = len(items) > start + 2
        return {"items": items[start : start + 2], "metadata": {"continue": str(start + 2)} if rest else {}}

    def apply(self, path: str, obj: Mapping[str, Any], manager: str) -> dict[str, Any]:
        self._record("APPLY", path)
        assert manager == "swr-trust-audit"
        self.kept[path] = dict(obj)
        return {}

    def delete(self, path: str) -> dict[str, Any]:
        self._record("DELETE", path)
        del self.kept[path]
        return {}


class Published:
    """Reports after some audits."""

    def __init__(self, *served: str, owner: str = "") -> None:
        self.api, self.notes = Reports(*(served or (OPEN,))), RecorderSpy()
        self.writer = PolicyReports(self.api, owner, self.notes, lambda _seconds: None)

    def publish(self, report: AuditReport) -> None:
        self.notes.lines.clear()
        self.api.calls.clear()
        self.writer.publish(report)

    def of(self, namespace: str = "shop") -> dict[str, Any]:
        return self.api.kept[f"{OPEN}/namespaces/{namespace}/reports/swr-trust"]

    @property
    def outcomes(self) -> list[object]:
        return [outcome for (outcome,) in self.notes.named("report_ended")]


BAD = running("shop/api:1", workload="Deployment/api")


def test_report_lists_pod_that_runs_another_digest_than_pinned() -> None:
    """As a warning, because a node may name the same image by another digest. A moved tag is not listed."""
    published = Published()
    published.publish(
        audit(
            running(f"shop/web:1@{DIGEST}", digest=OTHER_DIGEST),
            running(f"shop/web:1@{OTHER_DIGEST}", digest=OTHER_DIGEST, name="superseded"),
            running(digest=OTHER_DIGEST, name="moved"),
            current=policy(pin_digests=True),
        )
    )
    report = published.of()
    assert report["summary"] == {"pass": 2, "skip": 0, "warn": 1, "fail": 0, "error": 0}
    assert report["results"] == [
        {
            "source": "swr-trust",
            "policy": "image-trust",
            "rule": "other-than-pinned",
            "category": "Software supply chain",
            "severity": "medium",
            "result": "warn",
            "scored": False,
            "message": f"{HOST}/shop/web:1@{DIGEST}: a node reports {OTHER_DIGEST} instead of the pinned "
            "digest. Find out whether both digests are the same image.",
            "resources": [{"kind": "Deployment", "namespace": "shop", "name": "web"}],
            "properties": {
                "image": f"{HOST}/shop/web:1@{DIGEST}",
                "running": OTHER_DIGEST,
                "pods": "1",
                "examplePod": "web-1",
            },
            "timestamp": {"seconds": 1_800_000_000, "nanos": 0},
        }
    ]


def test_result_names_the_keys_that_have_signed() -> None:
    """Of an image that too few keys have signed."""
    settings = SignatureSettings((SigningKey("release", "/keys/release.pub", content=b"x"),), threshold=2)
    signed = registry(evidence=Evidence.SIGNATURE, signatures=settings)
    check = SignatureCheck(SignatureResult.THRESHOLD, NOW, ("release",), found=1)
    facts = {"shop/api:1": TrustRecord(TrustStatus.UNTRUSTED, NOW, DIGEST, signature=check)}
    published = Published()
    current = policy(registries=RegistryTable.of([signed]))
    published.publish(audit(running("shop/api:1"), facts=facts, current=current))
    (result,) = published.of()["results"]
    assert result["properties"] == {
        "image": f"{HOST}/shop/api:1",
        "field": "spec.containers[0].image",
        "reason": "threshold",
        "mode": "enforce",
        "signers": "release",
        "pods": "1",
        "examplePod": "web-1",
    }


def test_report_lists_findings_by_workload() -> None:
    published = Published(owner="audit")
    published.publish(audit(running(), BAD))
    report = json.loads(json.dumps(published.of()))
    assert len(report["metadata"]["annotations"].pop("swr-trust/content")) == 32
    assert report == {
        "apiVersion": "openreports.io/v1alpha1",
        "kind": "Report",
        "metadata": {
            "name": "swr-trust",
            "namespace": "shop",
            "labels": {
                "app.kubernetes.io/managed-by": "swr-trust-audit",
                "app.kubernetes.io/part-of": "swr-trust",
            },
            "annotations": {"swr-trust/complete": "true"},
            "ownerReferences": [
                {
                    "apiVersion": "rbac.authorization.k8s.io/v1",
                    "kind": "ClusterRole",
                    "name": "audit",
                    "uid": "u-1",
                }
            ],
        },
        "scope": {"apiVersion": "v1", "kind": "Namespace", "name": "shop"},
        "summary": {"pass": 1, "skip": 0, "warn": 0, "fail": 1, "error": 0},
        "results": [
            {
                "source": "swr-trust",
                "policy": "image-trust",
                "rule": "untrusted",
                "category": "Software supply chain",
                "severity": "high",
                "result": "fail",
                "scored": True,
                "message": f"{HOST}/shop/api:1: SWR does not mark this tag as trusted. "
                "Mark this tag as trusted in SWR, or use a tag that already is.",
                "resources": [{"kind": "Deployment", "namespace": "shop", "name": "api"}],
                "properties": {
                    "image": f"{HOST}/shop/api:1",
                    "field": "spec.containers[0].image",
                    "mode": "enforce",
                    "pods": "1",
                    "examplePod": "web-1",
                },
                "timestamp": {"seconds": 1_800_000_000, "nanos": 0},
            }
        ],
    }


@pytest.mark.parametrize(
    ("pods", "changes", "facts", "summary", "result", "severity"),
    [
        ((BAD,), {"rules": (rule(mode="audit"),)}, FACTS, "warn", "warn", "medium"),
        ((BAD,), {}, {"shop/api:1": RegistryUnavailable("down")}, "error", "error", "low"),
    ],
    ids=["a mode lets it through", "SWR could not be asked"],
)
def test_finding_is_mapped_to_report_result_and_severity(
    pods: Any, changes: Any, facts: Any, summary: str, result: str, severity: str
) -> None:
    """Only an image that is denied today is a failure with a score."""
    published = Published()
    published.publish(audit(*pods, facts=facts, current=policy(**changes)))
    (found,) = published.of()["results"]
    assert (found["result"], found["severity"], found["scored"]) == (result, severity, False)
    assert published.of()["summary"][summary] == 1


def test_exempt_images_are_counted_as_skipped() -> None:
    """Counted, not listed."""
    published = Published()
    exempt = policy(exemptions=(exemption("e", [f"{HOST}/shop/web"]),))
    published.publish(audit(running(), BAD, current=exempt))
    assert published.of()["summary"] == {"pass": 0, "skip": 1, "warn": 0, "fail": 1, "error": 0}


def test_report_of_namespace_without_findings_is_deleted() -> None:
    """Its finding is gone."""
    published = Published()
    published.publish(audit(BAD, running("shop/api:1", namespace="other")))
    published.publish(audit(running(), running("shop/api:1", namespace="other")))
    assert published.outcomes == ["unchanged", "deleted"]
    assert list(published.api.kept) == [f"{OPEN}/namespaces/other/reports/swr-trust"]


def test_all_report_pages_are_read() -> None:
    """Five namespaces with two per page."""
    published = Published()
    published.publish(audit(*(running("shop/api:1", namespace=f"n{n}") for n in range(5))))
    published.publish(audit(running()))
    assert (published.outcomes, published.api.kept) == (["deleted"] * 5, {})


def test_partial_round_deletes_no_reports_and_is_annotated() -> None:
    """A namespace that was not read is not a clean one."""
    published = Published()
    published.publish(audit(BAD, running("shop/api:1", namespace="other")))
    published.publish(audit(BAD, GAP))
    assert published.outcomes == ["written"]
    assert published.of()["metadata"]["annotations"]["swr-trust/complete"] == "false"
    assert published.of("other")["metadata"]["annotations"]["swr-trust/complete"] == "true"


@pytest.mark.parametrize(
    ("served", "written", "api"),
    [
        ((OPEN, WG), OPEN, "openreports.io/v1alpha1"),
        ((OPEN,), OPEN, "openreports.io/v1alpha1"),
        ((WG,), WG, "wgpolicyk8s.io/v1alpha2"),
        ((), None, "none"),
    ],
    ids=["both", "the newer", "the older", "neither"],
)
def test_reports_are_written_to_newest_served_api(
    served: tuple[str, ...], written: str | None, api: str
) -> None:
    """If both APIs are served."""
    published = Published()
    published.api.served = served
    published.publish(audit(BAD))
    plural = "" if written is None else PLURALS[written]
    expected = [] if written is None else [f"{written}/namespaces/shop/{plural}/swr-trust"]
    assert list(published.api.kept) == expected
    assert published.notes.named("report_api_found") == [(api,)]


def test_reports_of_older_api_are_deleted_if_newer_is_served() -> None:
    """No finding is counted twice."""
    published = Published(WG)
    published.publish(audit(BAD))
    published.api.served = (OPEN, WG)
    published.publish(audit(BAD))
    assert list(published.api.kept) == [f"{OPEN}/namespaces/shop/reports/swr-trust"]


def test_report_results_are_limited_and_omitted_ones_counted() -> None:
    """The summary counts all of them."""
    published = Published()
    images = [f"shop/app-{number}:1" for number in range(MAX_RESULTS + 500)]
    published.publish(audit(running(images)))
    report = published.of()
    listed = len(report["results"])
    assert listed <= MAX_RESULTS
    assert report["metadata"]["annotations"]["swr-trust/omitted"] == str(MAX_RESULTS + 500 - listed)
    assert report["summary"]["fail"] == MAX_RESULTS + 500


def test_report_size_is_limited() -> None:
    """With names of any length, a report stays far below etcd's 1.5 MiB."""
    published = Published()
    images = [f"example.com/{number}/{'x' * 180}/{'y' * 400}:1" for number in range(MAX_RESULTS)]
    published.publish(audit(running(images, workload=f"Deployment/{'d' * 250}")))
    assert len(published.of()["results"]) > 100
    assert len(msgspec.json.encode(published.of())) < MAX_BYTES * 1.2


@pytest.mark.parametrize(
    ("error", "outcomes"),
    [
        (ClusterError(403, "namespace shop because it is being terminated"), ["written"]),
        (ClusterError(404, 'namespaces "shop" not found'), ["written"]),
        (ClusterError(403, "User cannot create"), ["written", "failed"]),
        (ClusterError(422, "invalid"), ["written", "failed"]),
        (ClusterError(413, "too large"), ["written", "failed"]),
    ],
    ids=["being deleted", "deleted", "no right", "invalid", "too large"],
)
def test_failed_report_does_not_affect_other_reports(error: ClusterError, outcomes: list[str]) -> None:
    """A namespace may be deleted in the meantime."""
    published = Published()
    published.api.errors["APPLY", "/shop/"] = error
    published.publish(audit(BAD, running("shop/api:1", namespace="other")))
    assert published.outcomes == outcomes


@pytest.mark.parametrize("status", [0, 429, 503])
@pytest.mark.parametrize("method", ["GET", "LIST", "APPLY"])
def test_api_server_outage_ends_report_writing(status: int, method: str) -> None:
    """The other reports are written in the next round."""
    published = Published()
    published.api.errors[method, "openreports"] = ClusterError(status, "away")
    with pytest.raises(ClusterError):
        published.publish(audit(BAD, running("shop/api:1", namespace="other")))
    assert len([call for call in published.api.calls if call.startswith(method)]) == 1


def test_unreadable_owner_leaves_reports_without_owner() -> None:
    """They are still written."""
    published = Published(owner="audit")
    published.api.errors["GET", "clusterroles"] = ClusterError(403, "forbidden")
    published.publish(audit(BAD))
    assert "ownerReferences" not in published.of()["metadata"]


def test_changed_owner_is_written_to_unchanged_reports() -> None:
    """A recreated ClusterRole would otherwise leave orphans."""
    published = Published()
    published.publish(audit(BAD))
    published.writer._owner = "audit"
    published.publish(audit(BAD))
    assert published.outcomes == ["written"]


def test_workload_names_are_not_used_in_paths() -> None:
    """A workload's kind and name are fields of an object, never parts of a path."""
    published = Published()
    published.publish(audit(running("shop/api:1", workload="../x/..")))
    assert published.of()["results"][0]["resources"][0]["name"] == "x/.."
    assert Workload("a", "b", "v1", "u") == Workload("a", "b")
