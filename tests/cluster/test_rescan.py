"""The audit in the cluster on a real API server, with exactly its rights and with each right removed."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster.test_audit import HOST, deployment
from tests.controlplane import CRDS, ControlPlane
from tests.emulator.server import Emulator
from tests.support.rescanning import GROUP_OF, OPEN, OWNER, RIGHTS, WG, Rescanner, marked

NAMESPACE, OTHER = "rescanned", "rescanned-b"
POLICY_REPORTS = {OPEN: "openreports", WG: "wgpolicyk8s"}


EACH_RIGHT = sorted(
    ((rule["apiGroups"][0], rule["resources"][0], verb) for rule in RIGHTS for verb in rule["verbs"]),
    key=lambda right: right[0] == "wgpolicyk8s.io",
)
"""Those of the older API of reports come last: a change of the served APIs takes seconds."""


def install(cluster: ControlPlane, *plurals: str) -> None:
    """Serve exactly these APIs of policy reports. A change takes seconds."""

    def is_removed(definition: dict[str, Any]) -> bool:
        return not cluster.serves(definition)

    for name, file in POLICY_REPORTS.items():
        text = (CRDS / f"{file}.yaml").read_text(encoding="utf-8")
        definition = yaml.safe_load(text)
        if (name in plurals) == cluster.serves(definition):
            continue
        if name in plurals:
            cluster.kubectl("apply", "-f", "-", stdin=text)
            cluster.wait_for("the API", partial(cluster.serves, definition))
        else:
            cluster.kubectl("delete", "crd", name)
            cluster.wait_for("the API to go", partial(is_removed, definition))


def may(cluster: ControlPlane, group: str, resource: str, verb: str) -> bool:
    """Return whether the audit's user has a right in all namespaces."""
    return cluster.may("gate", verb, resource, group, OWNER if resource == "clusterroles" else "")


def reports(cluster: ControlPlane, plural: str) -> dict[str, dict[str, Any]]:
    """Return the audit's reports by namespace."""
    items = cluster.get(plural, "-A", "-l", "app.kubernetes.io/managed-by=swr-trust-audit")["items"]
    return {item["metadata"]["namespace"]: item for item in items}


def events(cluster: ControlPlane, namespace: str = NAMESPACE) -> list[dict[str, Any]]:
    """Return the Events of the audit."""
    items = cluster.get("events.events.k8s.io", "-n", namespace)["items"]
    return [item for item in items if item.get("reportingController") == "swr-trust/audit"]


@pytest.fixture(scope="module")
def emulator() -> Iterator[Emulator]:
    """Return one SWR for the module."""
    with Emulator() as running:
        yield running


@pytest.fixture(scope="module")
def cluster(control_plane: ControlPlane) -> Iterator[ControlPlane]:
    """Return two namespaces with a trusted, an untrusted and a missing image."""
    for namespace in (NAMESPACE, OTHER):
        control_plane.make_namespace(namespace)
    objs = [
        deployment("good", "shop/web:1.0", NAMESPACE),
        deployment("bad", "shop/web:2.0", NAMESPACE),
        deployment("gone", "shop/web:9.9", OTHER),
    ]
    for obj in objs:
        control_plane.kubectl("create", "-f", "-", stdin=obj)

    def has_pods(namespace: str, count: int) -> bool:
        return len(control_plane.get("pods", "-n", namespace)["items"]) == count

    for namespace, count in ((NAMESPACE, 4), (OTHER, 2)):
        control_plane.wait_for("the Pods", partial(has_pods, namespace, count))
    install(control_plane, OPEN, WG)
    yield control_plane
    install(control_plane, OPEN, WG)
    control_plane.kubectl("delete", "namespace", NAMESPACE, OTHER, "--wait=false")
    control_plane.kubectl("delete", "clusterrole,clusterrolebinding", "grant-gate", "--ignore-not-found")


@pytest.fixture
def rescanner(cluster: ControlPlane, emulator: Emulator, tmp_path: Path) -> Iterator[Rescanner]:
    """Return an audit with all of its rights."""
    emulator.mend()
    cluster.grant("gate", "default", RIGHTS, cluster=True)
    cluster.wait_for("the rights", lambda: all(may(cluster, *right) for right in EACH_RIGHT))
    with Rescanner(tmp_path, emulator.url, cluster.kubeconfig("gate")) as made:
        yield made


def test_audit_round_updates_metrics_and_reports(cluster: ControlPlane, rescanner: Rescanner) -> None:
    """Metrics by namespace, one report each in the newer API, none in the older one, and no Event yet."""
    assert rescanner.round(), rescanner.said()
    assert rescanner.metric("swr_trust_audit_pods", resource_namespace=NAMESPACE, state="refused") == 2
    assert rescanner.metric("swr_trust_audit_pods", resource_namespace=NAMESPACE, state="admitted") == 2
    assert rescanner.metric("swr_trust_audit_image_uses", resource_namespace=OTHER, finding="missing") == 2
    assert rescanner.metric("swr_trust_audit_report_api_info", api="openreports.io/v1alpha1") == 1
    assert rescanner.metric("swr_trust_audit_last_round_complete") == 1
    found = reports(cluster, OPEN)
    assert {NAMESPACE, OTHER} <= set(found)
    assert reports(cluster, WG) == {}
    report = found[NAMESPACE]
    assert report["summary"] == {"pass": 2, "skip": 0, "warn": 0, "fail": 2, "error": 0}
    (result,) = report["results"]
    assert (result["result"], result["rule"], result["severity"]) == ("fail", "untrusted", "high")
    (subject,) = result["resources"]
    assert (subject["kind"], subject["name"], subject["apiVersion"]) == ("Deployment", "bad", "apps/v1")
    assert subject["uid"] == cluster.get("deployment", "bad", "-n", NAMESPACE)["metadata"]["uid"]
    assert result["properties"]["image"] == f"{HOST}/shop/web:2.0"
    assert events(cluster) == []


def test_round_with_unchanged_findings_writes_no_report(cluster: ControlPlane, rescanner: Rescanner) -> None:
    """The object is not sent."""
    rescanner.round()
    before = reports(cluster, OPEN)[NAMESPACE]["metadata"]["resourceVersion"]
    written = rescanner.metric("swr_trust_audit_reports_total", outcome="written")
    assert rescanner.round(), rescanner.said()
    assert reports(cluster, OPEN)[NAMESPACE]["metadata"]["resourceVersion"] == before
    assert rescanner.metric("swr_trust_audit_reports_total", outcome="written") == written
    assert rescanner.metric("swr_trust_audit_reports_total", outcome="unchanged") >= 2


def test_revoked_image_creates_event_and_report(
    cluster: ControlPlane, rescanner: Rescanner, emulator: Emulator
) -> None:
    """One Event on the workload; when the image is trusted again the report is deleted."""
    rescanner.round()
    with marked(emulator, "shop/web:1.0", trusted=False):
        rescanner.forget()
        rescanner.round()
        rescanner.write_events()
        (event,) = events(cluster)
        regarding = event["regarding"]
        assert (regarding["kind"], regarding["name"]) == ("Deployment", "good")
        assert event["reason"] == "RunningImageWouldBeRefused"
        assert event["note"].startswith(
            f"Deployment/good runs an image that would be denied now: {HOST}/shop/web:1.0: "
            "SWR does not mark this tag as trusted."
        )
        assert "RunningImageWouldBeRefused" in cluster.kubectl(
            "describe", "deployment", "good", "-n", NAMESPACE
        )
        refused = rescanner.metric("swr_trust_audit_newly_refused_total")
        assert refused >= 1  # other tests leave Pods of that image
        assert len(reports(cluster, OPEN)[NAMESPACE]["results"]) == 2
        rescanner.round()
        assert rescanner.metric("swr_trust_audit_newly_refused_total") == refused
    with marked(emulator, "shop/web:2.0", trusted=True):
        rescanner.forget()
        assert rescanner.round(), rescanner.said()
        assert NAMESPACE not in reports(cluster, OPEN)
        assert rescanner.metric("swr_trust_audit_reports_total", outcome="deleted") >= 1  # the same


def test_reports_are_deleted_with_owning_role(cluster: ControlPlane, rescanner: Rescanner) -> None:
    """Disabling the audit removes its ClusterRole, and Kubernetes deletes the reports."""
    rescanner.round()
    assert NAMESPACE in reports(cluster, OPEN)
    cluster.kubectl("delete", "clusterrole", "grant-gate")
    cluster.wait_for("the reports to go", lambda: reports(cluster, OPEN) == {})


def without(group: str, resource: str, verb: str) -> list[dict[str, Any]]:
    """Return all rights but one."""
    fewer = []
    for rule in RIGHTS:
        verbs = [
            one
            for one in rule["verbs"]
            if (rule["apiGroups"][0], rule["resources"][0], one) != (group, resource, verb)
        ]
        if verbs:
            fewer.append({**rule, "verbs": verbs})
    return fewer


def use_everything(rescanner: Rescanner, emulator: Emulator) -> None:
    """Create a finding, remove it, and create another one."""
    rescanner.round()
    with marked(emulator, "shop/web:2.0", trusted=True):
        rescanner.forget()
        rescanner.round()
    with marked(emulator, "shop/web:1.0", trusted=False):
        rescanner.forget()
        rescanner.round()
        rescanner.write_events()
        rescanner.repeat_events()


def test_all_rights_are_sufficient(cluster: ControlPlane, rescanner: Rescanner, emulator: Emulator) -> None:
    """With all rights, the same actions log no problem."""
    use_everything(rescanner, emulator)
    assert "forbidden" not in rescanner.said()
    assert rescanner.metric("swr_trust_events_total", outcome="failed") == 0
    assert rescanner.metric("swr_trust_audit_reports_total", outcome="failed") == 0


@pytest.fixture(scope="module")
def job(cluster: ControlPlane) -> None:
    """Return a Job's Pod, which is recognized by listing Jobs."""
    spec = {"restartPolicy": "Never", "containers": [{"name": "main", "image": f"{HOST}/shop/web:1.0"}]}
    obj = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "once", "namespace": NAMESPACE},
        "spec": {"template": {"spec": spec}},
    }
    cluster.kubectl("apply", "-f", "-", stdin=obj)
    cluster.wait_for(
        "the Job's Pod", lambda: cluster.get("pods", "-n", NAMESPACE, "-l", "job-name=once")["items"]
    )


@pytest.mark.parametrize(("group", "resource", "verb"), EACH_RIGHT)
@pytest.mark.usefixtures("job")
def test_missing_right_is_logged(
    cluster: ControlPlane, rescanner: Rescanner, emulator: Emulator, group: str, resource: str, verb: str
) -> None:
    """Without one verb a call is forbidden, which is logged; the process continues."""
    install(cluster, *((WG,) if group == "wgpolicyk8s.io" else (OPEN, WG)))
    cluster.kubectl("delete", GROUP_OF.get(group, (OPEN,))[0], "-A", "--all")
    if (resource, verb) in {("reports", "delete"), ("policyreports", "delete")}:
        rescanner.round()
    cluster.grant("gate", "default", without(group, resource, verb), cluster=True)
    complaint = f'cannot {verb} resource "{resource}" in API group "{group}"'
    cluster.wait_for("the right to go", lambda: not may(cluster, group, resource, verb))
    use_everything(rescanner, emulator)
    said = rescanner.said()
    assert complaint in said, said


def test_older_report_api_is_used_as_fallback(cluster: ControlPlane, rescanner: Rescanner) -> None:
    """The same report, with the kind of the older API."""
    install(cluster, WG)
    assert rescanner.round(), rescanner.said()
    report = reports(cluster, WG)[NAMESPACE]
    assert (report["apiVersion"], report["kind"]) == ("wgpolicyk8s.io/v1alpha2", "PolicyReport")
    assert report["results"][0]["rule"] == "untrusted"
    install(cluster, OPEN, WG)
    assert rescanner.round(), rescanner.said()
    assert (reports(cluster, WG), NAMESPACE in reports(cluster, OPEN)) == ({}, True)


def test_round_without_report_api_succeeds(cluster: ControlPlane, rescanner: Rescanner) -> None:
    """Only metrics and Events are written."""
    install(cluster)
    assert rescanner.round(), rescanner.said()
    assert rescanner.metric("swr_trust_audit_report_api_info", api="none") == 1
