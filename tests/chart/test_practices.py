"""Kubernetes' advice for admission webhooks, requirement by requirement, over the rendered objects.

Sources: Kubernetes documentation, Admission Webhook Good Practices and Dynamic Admission Control. A test is
named after its requirement, R1 to R23. Those of the program itself are named by ``OF_THE_PROGRAM``.
"""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.chart.rendering import CHART, NAME, NAMESPACE, Objects, render
from tests.support.serving import ROOT
from webhook.admission.extraction import EVALUATED_OPERATIONS, PODS, WORKLOADS
from webhook.policy.loading import load_policy
from webhook.server.reviews import time_to_decide
from webhook.trust.settings import LookupSettings

OF_THE_PROGRAM = {
    "r10": "tests/bypasses/test_protocol.py::test_dry_run_is_counted_without_break_glass",
    "r13": "tests/unit/admission/test_review.py::test_denial_has_status_warnings_and_annotations",
    "r14": "tests/unit/admission/test_messages.py::test_warnings_stay_within_api_server_limits",
    "r16": "tests/unit/admission/test_review.py::test_unknown_fields_are_skipped",
    "r18": "tests/unit/admission/test_validator.py::test_mirror_pod_of_its_node_is_admitted_and_recorded",
    "r21": "tests/chart/test_versions.py::test_objects_are_valid_in_every_version",
}
"""Requirements that the program meets, alone or together with the rendered objects."""

SYSTEM = ["kube-node-lease", "kube-public", "kube-system"]
OWN_ONLY: dict[str, Any] = {"webhook": {"excludedNamespaces": []}}

EVERYTHING: dict[str, Any] = {
    "autoscaling": {"enabled": True},
    "networkPolicy": {"enabled": True},
    "scrapeAnnotations": {"prometheus": True, "aom": True},
    "serviceMonitor": {"enabled": True},
    "prometheusRule": {"enabled": True},
    "dashboard": {"enabled": True},
    "events": {"enabled": True},
    "audit": {"enabled": True},
    "pinning": {"enabled": True},
}


def excluded(entry: dict[str, Any]) -> list[str]:
    """Return the namespaces that an entry of the webhook configuration excludes."""
    (demand,) = entry["namespaceSelector"]["matchExpressions"]
    assert (demand["key"], demand["operator"]) == ("kubernetes.io/metadata.name", "NotIn")
    values: list[str] = demand["values"]
    return values


def matched(entry: dict[str, Any]) -> set[tuple[str, str, str]]:
    """Return group, resource and operation of all requests for which an entry is called."""
    return {
        (group, resource, operation)
        for rule in entry["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for operation in rule["operations"]
    }


@pytest.mark.parametrize("number", range(1, 24))
def test_every_requirement_has_test(number: int) -> None:
    """A test here by its name, or another one by a name that exists."""
    path, _, name = OF_THE_PROGRAM.get(f"r{number}", "").partition("::")
    if path:
        assert f"\ndef {name}(" in (ROOT / path).read_text(encoding="utf-8")
    else:
        assert [test for test in globals() if re.match(rf"test_(r\d+_)*r{number}_", test)]


def test_r1_lookup_and_answer_fit_within_timeout() -> None:
    """The API server waits 5 s; one lookup with its retries ends before the webhook's own deadline."""
    for entry in render().webhooks.values():
        seconds = entry["timeoutSeconds"]
        assert seconds == 5
        assert LookupSettings().timeout < time_to_decide(f"timeout={seconds}s") < seconds


def test_r2_replicas_are_spread_over_nodes_and_zones() -> None:
    """One node or one drain never stops both."""
    objects = render()
    assert objects.one("Deployment")["spec"]["replicas"] == 2
    assert objects.one("Service")["spec"]["type"] == "ClusterIP"
    assert objects.one("PodDisruptionBudget")["spec"]["maxUnavailable"] == 1
    keys = [one["topologyKey"] for one in objects.pod["topologySpreadConstraints"]]
    assert keys == ["topology.kubernetes.io/zone", "kubernetes.io/hostname"]
    assert "podAntiAffinity" in objects.pod["affinity"]
    rolling = objects.one("Deployment")["spec"]["strategy"]["rollingUpdate"]
    assert rolling == {"maxSurge": 1, "maxUnavailable": 0}


def test_r3_r5_rules_match_only_resources_with_images() -> None:
    """No status, no lease, no wildcard: the node and the control plane recover without the webhook."""
    entries = render().webhooks
    assert matched(entries["pods"]) == {
        (*PODS, "CREATE"),
        (*PODS, "UPDATE"),
        ("", "pods/ephemeralcontainers", "UPDATE"),
    }
    assert matched(entries["workloads"]) == {
        (group, resource, operation) for group, resource in WORKLOADS for operation in EVALUATED_OPERATIONS
    }
    assert all(rule["scope"] == "Namespaced" for entry in entries.values() for rule in entry["rules"])


def test_r4_system_namespaces_are_excluded_by_immutable_label() -> None:
    """The API server itself writes this label."""
    for entry in render().webhooks.values():
        assert excluded(entry) == [*SYSTEM, NAMESPACE]


@pytest.mark.parametrize("namespace", [NAMESPACE, "security"])
def test_r6_release_namespace_is_always_excluded(namespace: str) -> None:
    """Its own Pods can start while it is down."""
    for entry in render(OWN_ONLY, namespace=namespace).webhooks.values():
        assert excluded(entry) == [namespace]


def test_r7_further_namespaces_can_be_excluded() -> None:
    """Some add-ons are needed by the nodes or by other webhooks."""
    changes = {"webhook": {"excludedNamespaces": [*SYSTEM, "cert-manager"]}}
    for entry in render(changes).webhooks.values():
        assert excluded(entry) == ["cert-manager", *SYSTEM, NAMESPACE]


def test_r8_updates_without_image_change_are_not_sent() -> None:
    """By conditions, well below the limit of 64; their effect is tested on the API server."""
    for entry in render().webhooks.values():
        names = [condition["name"] for condition in entry["matchConditions"]]
        assert names == ["stands-guard", "brings-in-images"]


def test_r9_other_api_versions_are_converted() -> None:
    """An older or newer API version cannot bypass the webhook."""
    for entry in render().webhooks.values():
        assert entry["matchPolicy"] == "Equivalent"
        assert all(rule["apiVersions"] == ["v1"] for rule in entry["rules"])


@pytest.mark.parametrize(("events", "expected"), [(True, "NoneOnDryRun"), (False, "None")])
def test_r10_side_effects_are_declared(events: bool, expected: str) -> None:
    """Events are a side effect, which a dry run does not have."""
    for entry in render({"events": {"enabled": events}}).webhooks.values():
        assert entry["sideEffects"] == expected


def test_r11_object_labels_do_not_exclude_objects() -> None:
    """There is no object selector unless one is configured."""
    assert all("objectSelector" not in entry for entry in render().webhooks.values())


def test_r12_service_name_matches_certificate() -> None:
    """Cert-manager issues for exactly the name that the API server verifies."""
    objects = render({"certificates": {"mode": "certManager"}})
    for entry in objects.webhooks.values():
        service = entry["clientConfig"]["service"]
        assert service == {"name": NAME, "namespace": NAMESPACE, "path": "/validate", "port": 443}
        assert "url" not in entry["clientConfig"]
    names = objects.one("Certificate", f"{NAME}-tls")["spec"]["dnsNames"]
    assert f"{NAME}.{NAMESPACE}.svc" in names


def test_r13_only_supported_review_version_is_requested() -> None:
    """Only v1 exists."""
    assert all(entry["admissionReviewVersions"] == ["v1"] for entry in render().webhooks.values())


def test_r15_names_are_unique_and_qualified() -> None:
    """Metrics and audit logs distinguish the entries, and two installations."""
    names = [entry["name"] for entry in render().webhooks.values()]
    assert names == [f"pods.{NAME}.{NAMESPACE}.svc", f"workloads.{NAME}.{NAMESPACE}.svc"]


@pytest.mark.parametrize(
    "field", ["containers", "initContainers", "ephemeralContainers", "volumes", "image", "imagePullPolicy"]
)
def test_r16_conditions_cover_every_evaluated_field(field: str) -> None:
    """They require no optional field, so that a later API version does not break them."""
    for entry in render().webhooks.values():
        expression = entry["matchConditions"][-1]["expression"]
        assert f".{field})" in expression


def test_r17_final_state_is_evaluated() -> None:
    """Validating webhooks run after all mutation. A mutating one only pins, after a change by others again."""
    paths = {
        (one["kind"], entry["clientConfig"]["service"]["path"], entry.get("reinvocationPolicy"))
        for one in render(EVERYTHING)
        if "Webhook" in one["kind"]
        for entry in one["webhooks"]
    }
    assert paths == {
        ("ValidatingWebhookConfiguration", "/validate", None),
        ("MutatingWebhookConfiguration", "/mutate", "IfNeeded"),
    }


@pytest.mark.parametrize(
    ("stage", "mode", "failure_policy"),
    [("audit", "audit", "Ignore"), ("warn", "warn", "Ignore"), ("enforce", "enforce", "Fail")],
)
def test_r19_stage_sets_mode_and_failure_policy(stage: str, mode: str, failure_policy: str) -> None:
    """One value leads from audit to enforcement."""
    objects = render({"presets": {"stage": stage}})
    assert objects.policy["mode"] == mode
    assert objects.webhooks["pods"]["failurePolicy"] == failure_policy


def test_workload_webhook_fails_open() -> None:
    """Workload kinds have their own entry that fails open, regardless of the Pods' entry."""
    for stage in ("audit", "enforce"):
        assert render({"presets": {"stage": stage}}).webhooks["workloads"]["failurePolicy"] == "Ignore"
    assert list(render({"policy": {"workloads": "off"}}).webhooks) == ["pods"]


def test_r20_rights_are_minimal() -> None:
    """Rights name their objects, list and delete nothing, and contain no wildcard."""
    for role in [*render().of("Role"), *render().of("ClusterRole")]:
        for rule in role["rules"]:
            assert "*" not in rule["verbs"] + rule["resources"] + rule["apiGroups"]
            assert not {"list", "delete", "deletecollection", "escalate", "bind"} & set(rule["verbs"])
            assert "resourceNames" in rule or rule["verbs"][0] == "create"


@pytest.mark.parametrize("mode", ["certManager", "existingSecret"])
def test_r20_external_certificates_need_no_api_rights(mode: str) -> None:
    """Without any use of the API it has no token."""
    changes = {
        "certificates": {"mode": mode, "existingSecret": "tls" if mode == "existingSecret" else ""},
        "events": {"enabled": False},
        "snapshot": {"enabled": False},
    }
    objects = render(changes)
    assert [role["metadata"]["name"] for role in objects.of("Role")] == [f"{NAME}-gate"]
    assert objects.of("ClusterRole") == []
    assert objects.pod["automountServiceAccountToken"] is False


def test_r22_alerts_use_metrics_of_api_server() -> None:
    """The webhook cannot see these itself: failed calls, and calls that were admitted by the failure
    policy.
    """
    rules = str(render(EVERYTHING).one("PrometheusRule")["spec"]["groups"])
    assert "apiserver_admission_webhook_rejection_count" in rules
    assert "apiserver_admission_webhook_fail_open_count" in rules
    assert f"(pods|workloads|pinning)[.]{NAME}[.]{NAMESPACE}[.]svc" in rules
    assert "__" not in rules


def test_r23_install_guide_names_validating_admission_policy() -> None:
    """CEL cannot query SWR."""
    assert "ValidatingAdmissionPolicy" in (ROOT / "docs" / "install.md").read_text(encoding="utf-8")


def test_webhook_pod_satisfies_restricted_standard() -> None:
    """Pod Security Standards, restricted; in addition a read-only root, no CPU limit and no service links."""
    objects = render()
    assert objects.pod["securityContext"] == {
        "runAsNonRoot": True,
        "runAsUser": 65532,
        "runAsGroup": 65532,
        "fsGroup": 65532,
        "fsGroupChangePolicy": "OnRootMismatch",
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert objects.container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "privileged": False,
        "readOnlyRootFilesystem": True,
        "runAsNonRoot": True,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert "cpu" not in objects.container["resources"]["limits"]
    assert objects.pod["priorityClassName"] == "system-cluster-critical"
    assert objects.pod["enableServiceLinks"] is False
    assert all("emptyDir" not in volume for volume in objects.pod["volumes"])


def test_probes_use_tls_port() -> None:
    """There is no second listener."""
    container = render().container
    assert [port["name"] for port in container["ports"]] == ["https"]
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert container[probe]["httpGet"]["scheme"] == "HTTPS"
        assert container[probe]["httpGet"]["port"] == "https"


@pytest.mark.parametrize(("kubernetes", "how"), [("1.28.0", "exec"), ("1.29.9", "exec"), ("1.30.0", "sleep")])
def test_pre_stop_keeps_pod_serving_before_shutdown(kubernetes: str, how: str) -> None:
    """By the action of Kubernetes 1.30, by a process before; within the grace period."""
    objects = render(kubernetes=kubernetes)
    assert list(objects.container["lifecycle"]["preStop"]) == [how]
    assert objects.pod["terminationGracePeriodSeconds"] >= 10 + 20 + 5


def test_rendered_policy_is_valid_for_program(tmp_path: Any) -> None:
    """It is the mounted file."""
    path = tmp_path / "policy.yaml"
    path.write_text(render().policy_text, encoding="utf-8")
    policy = load_policy(str(path))
    assert [exemption.name for exemption in policy.exemptions] == [
        "CCE preset: hwofficial",
        "CCE preset: op_svc_apm",
    ]


def test_chart_name_and_version_are_valid_for_cce() -> None:
    """My Charts: at most 64 characters, numbers of the version below 100."""
    text = (CHART / "Chart.yaml").read_text(encoding="utf-8")
    assert f"name: {NAME}\nde" in text.replace("\ndescription", "\nde")
    assert all(int(number) < 100 for number in _version(text).split("."))


def _version(text: str) -> str:
    return next(line.split()[1] for line in text.splitlines() if line.startswith("version:"))


def test_every_object_has_release_label_and_name() -> None:
    """All objects of a release can be found, and removed, by label."""
    objects: Objects = render(EVERYTHING)
    for one in objects:
        assert one["metadata"]["labels"]["app.kubernetes.io/instance"] == NAME
        assert one["metadata"]["name"].startswith(NAME)
