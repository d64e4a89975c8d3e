"""The audit in the cluster as the chart renders it: separate from the webhook."""

from __future__ import annotations

import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.chart.conftest import Prepare
from tests.chart.installation import TEAM, UNTRUSTED, Replica, leftovers, run
from tests.chart.rendering import NAME, NAMESPACE, HelmError, Objects, merged, render
from tests.controlplane import ControlPlane
from tests.support.rescanning import rights

AUDIT = f"{NAME}-audit"
ON: dict[str, Any] = {"audit": {"enabled": True}}


def audit(changes: dict[str, Any] | None = None) -> Objects:
    """Render the chart with the audit enabled."""
    return render(merged(ON, changes or {}))


def pod_of(objects: Objects) -> dict[str, Any]:
    """Return the Pod spec of the audit."""
    spec: dict[str, Any] = objects.one("Deployment", AUDIT)["spec"]["template"]["spec"]
    return spec


def test_audit_is_disabled_by_default() -> None:
    """None of its objects is rendered."""
    assert [one["metadata"]["name"] for one in render() if "audit" in one["metadata"]["name"]] == []


def test_audit_does_not_change_webhook_objects() -> None:
    """Each object of the webhook is the same with and without it, so that no rollout waits for it."""
    without = {(one["kind"], one["metadata"]["name"]): one for one in render()}
    objects = {(one["kind"], one["metadata"]["name"]): one for one in audit()}
    assert {key: objects[key] for key in without} == without
    assert {name for _, name in objects.keys() - without.keys()} == {AUDIT}


def test_audit_is_one_replica_with_policy_and_identity_of_webhook() -> None:
    """The same ConfigMap and Secret, mounted at the same paths."""
    objects = audit()
    spec = objects.one("Deployment", AUDIT)["spec"]
    assert (spec["replicas"], spec["strategy"]) == (1, {"type": "Recreate"})
    webhook = objects.one("Deployment", NAME)["spec"]["template"]["spec"]
    assert pod_of(objects)["volumes"] == webhook["volumes"]
    assert pod_of(objects)["containers"][0]["volumeMounts"] == webhook["containers"][0]["volumeMounts"]
    assert pod_of(objects)["containers"][0]["image"] == webhook["containers"][0]["image"]
    assert pod_of(objects)["containers"][0]["args"] == [
        "rescan",
        "--config=/etc/swr-trust/policy/policy.yaml",
        "--interval=1h",
        "--port=8080",
        "--exclude-namespace=kube-node-lease",
        "--exclude-namespace=kube-public",
        "--exclude-namespace=kube-system",
        f"--exclude-namespace={NAMESPACE}",
        "--reports",
        f"--report-owner={AUDIT}",
        "--events",
        "--log-format=json",
        "--log-level=info",
    ]


def test_audit_rights_are_those_required_by_api_server() -> None:
    """It has no other rights, and its own ServiceAccount."""
    objects = audit()
    assert objects.one("ClusterRole", AUDIT)["rules"] == rights(AUDIT)
    (subject,) = objects.one("ClusterRoleBinding", AUDIT)["subjects"]
    assert (subject["name"], subject["namespace"]) == (AUDIT, NAMESPACE)
    assert pod_of(objects)["serviceAccountName"] == AUDIT
    assert objects.one("ServiceAccount", AUDIT)["automountServiceAccountToken"] is False
    assert AUDIT not in [role["metadata"]["name"] for role in objects.of("Role")]


@pytest.mark.parametrize(
    ("changes", "groups", "absent"),
    [
        ({"reports": False}, ["", "apps", "batch", "events.k8s.io"], "--reports"),
        (
            {"events": False},
            ["", "apps", "batch", "openreports.io", "wgpolicyk8s.io", "rbac.authorization.k8s.io"],
            "--events",
        ),
    ],
    ids=["no reports", "no Events"],
)
def test_disabled_feature_has_no_right(changes: dict[str, Any], groups: list[str], absent: str) -> None:
    """Neither the option nor the rule is rendered."""
    objects = audit({"audit": changes})
    assert [rule["apiGroups"][0] for rule in objects.one("ClusterRole", AUDIT)["rules"]] == groups
    assert absent not in pod_of(objects)["containers"][0]["args"]


def test_reports_without_chart_roles_have_no_owner() -> None:
    """There is no ClusterRole to name."""
    objects = audit({"rbac": {"create": False}})
    assert objects.of("ClusterRole") == []
    assert not [arg for arg in pod_of(objects)["containers"][0]["args"] if arg.startswith("--report-owner")]


def test_audit_pod_satisfies_restricted_standard() -> None:
    """As the webhook's Pod does."""
    objects = audit()
    webhook = objects.one("Deployment", NAME)["spec"]["template"]["spec"]
    pod = pod_of(objects)
    assert pod["securityContext"] == webhook["securityContext"]
    assert pod["containers"][0]["securityContext"] == webhook["containers"][0]["securityContext"]
    assert "priorityClassName" not in pod
    assert pod["containers"][0]["resources"]["limits"].keys() == {"memory"}


def test_audit_probes_use_http_port() -> None:
    """Readiness means that the process runs, not that SWR answers."""
    container = pod_of(audit())["containers"][0]
    paths = {name: container[name]["httpGet"] for name in ("startupProbe", "livenessProbe", "readinessProbe")}
    assert {probe["port"] for probe in paths.values()} == {"http"}
    assert paths["readinessProbe"]["path"] == "/readyz"
    assert container["ports"] == [{"name": "http", "containerPort": 8080, "protocol": "TCP"}]


@pytest.mark.parametrize("kind", ["ServiceMonitor", "PodMonitor"])
def test_audit_is_scraped_as_separate_job(kind: str) -> None:
    """Alerts on replicas do not count it."""
    value = kind[0].lower() + kind[1:]
    objects = audit({value: {"enabled": True, "labels": {"release": "prometheus"}}})
    monitor = objects.one(kind, AUDIT)
    assert monitor["metadata"]["labels"]["release"] == "prometheus"
    (endpoint,) = monitor["spec"]["endpoints" if kind == "ServiceMonitor" else "podMetricsEndpoints"]
    assert (endpoint["port"], endpoint["relabelings"]) == (
        "http",
        [{"targetLabel": "job", "replacement": AUDIT}],
    )
    selected = monitor["spec"]["selector"]["matchLabels"]
    labelled = objects.one("Service", AUDIT)["metadata"]["labels"]
    assert selected.items() <= labelled.items()
    assert selected["app.kubernetes.io/component"] == "audit"


def test_audit_is_scraped_by_annotations() -> None:
    """Plain HTTP on its own port."""
    objects = audit({"scrapeAnnotations": {"prometheus": True}})
    annotations = objects.one("Deployment", AUDIT)["spec"]["template"]["metadata"]["annotations"]
    assert (annotations["prometheus.io/scheme"], annotations["prometheus.io/port"]) == ("http", "8080")


def test_network_policy_covers_audit() -> None:
    """Access to its metrics is a separate setting, its egress is not."""
    peer = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}
    objects = audit({"networkPolicy": {"enabled": True}, "audit": {"ingressFrom": [peer]}})
    policy = objects.one("NetworkPolicy", AUDIT)["spec"]
    assert policy["podSelector"]["matchLabels"]["app.kubernetes.io/component"] == "audit"
    assert policy["ingress"] == [{"ports": [{"port": "http", "protocol": "TCP"}], "from": [peer]}]
    assert policy["egress"] == objects.one("NetworkPolicy", NAME)["spec"]["egress"]


def test_audit_can_use_existing_service_account() -> None:
    """IAM identifies workloads by their ServiceAccount's name."""
    objects = audit({"audit": {"serviceAccount": {"name": "auditor"}}})
    assert pod_of(objects)["serviceAccountName"] == "auditor"
    assert "auditor" not in [one["metadata"]["name"] for one in objects.of("ServiceAccount")]
    assert objects.one("ClusterRoleBinding", AUDIT)["subjects"][0]["name"] == "auditor"


@pytest.mark.parametrize("interval", ["10", "1h30", "0.5h", "", "30s"])
def test_invalid_audit_interval_is_rejected(interval: str) -> None:
    """The schema rejects it before anything is installed."""
    with pytest.raises(HelmError, match="audit"):
        audit({"audit": {"interval": interval}})


def test_prometheus_rule_has_labels_for_cce() -> None:
    """CCE's Prometheus evaluates no other rules."""
    labels = {"role": "operator-prometheus"}
    objects = audit({"prometheusRule": {"enabled": True, "labels": labels}})
    rule = objects.one("PrometheusRule")
    assert labels.items() <= rule["metadata"]["labels"].items()
    assert f'job="{AUDIT}"' in str(rule["spec"]["groups"])


def test_installed_audit_writes_reports_and_uninstall_deletes_them(
    prepare: Prepare, cluster: ControlPlane, tmp_path: Path
) -> None:
    """Its Pod as rendered, with its own ServiceAccount's token; ``helm uninstall`` deletes the reports."""
    assert run(cluster, "audited", UNTRUSTED).endswith("created")
    release = prepare("audit-installed", ON)
    release.install()

    def reported() -> bool:
        found = cluster.kubectl("get", "reports.openreports.io", "-n", TEAM, "-o", "name", check=False)
        return "report.openreports.io/swr-trust" in found

    with Replica(release, tmp_path, "audit-1", AUDIT) as audit_pod:
        cluster.wait_for("the report", reported, seconds=90)
        with urllib.request.urlopen(f"http://127.0.0.1:{audit_pod.port}/metrics", timeout=10) as response:
            text = response.read().decode()
        assert f'swr_trust_audit_pods{{resource_namespace="{TEAM}",state="refused"}}' in text
        assert "forbidden" not in audit_pod.logs()
        assert audit_pod.stop() == 0
    release.uninstall()
    cluster.wait_for("the report to go", lambda: not reported(), seconds=90)
    assert leftovers(cluster, "audit-installed") == []
    cluster.kubectl("delete", "pod", "audited", "-n", TEAM, "--wait=false")
