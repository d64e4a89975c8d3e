"""The webhook uses every right of the chart, and the log names a missing one.

The used rights are read from the audit log of the API server, which names the role that allowed a request.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.chart.conftest import Prepare
from tests.chart.installation import (
    PINNING,
    REFUSED,
    TEAM,
    TRUSTED,
    UNTRUSTED,
    Installation,
    Replica,
    run,
    wait_until_called,
    wait_until_pinned,
)
from tests.chart.rendering import NAME, NAMESPACE, merged, render
from tests.controlplane import ControlPlane

FORBIDDEN = "is forbidden: User"
NOT_TRIED = {("gates", "guard"), ("events", "patch")}
"""The first is granted for its own sake (``webhook.standDownWithNamespace``). A repeated Event is patched a
minute later, for which ``tests/cluster/test_events.py`` does not wait either.
"""


def granted(cluster: ControlPlane, installation: Installation) -> Iterator[tuple[str, dict[str, Any], str]]:
    """Yield kind and name of the role, the rule and the verb, of every right that the release grants."""
    objects = render(PINNING)  # the names of the roles are those of any release
    for role in (*objects.of("Role"), *objects.of("ClusterRole")):
        kind, name = role["kind"], role["metadata"]["name"]
        where = () if kind == "ClusterRole" else ("-n", installation.namespace)
        for rule in cluster.get(kind, name, *where)["rules"]:
            for verb in rule["verbs"]:
                if (rule["resources"][0], verb) not in NOT_TRIED:
                    yield f'{kind} "{name}"', rule, verb


def uses(request: dict[str, Any], role: str, rule: dict[str, Any], verb: str) -> bool:
    """Return whether this role allowed a request, by this rule and verb."""
    obj = request.get("objectRef", {})
    return (
        f" of {role} to " in request["annotations"]["authorization.k8s.io/reason"]
        and request["verb"] == verb
        and obj["resource"] in rule["resources"]
        and obj.get("apiGroup", "") in rule["apiGroups"]
        and obj.get("name", "") in rule.get("resourceNames", [obj.get("name", "")])
    )


def account(installation: Installation) -> str:
    """Return the user of a release's webhook."""
    return f"system:serviceaccount:{installation.namespace}:{NAME}"


def take(installation: Installation, kind: str, name: str, number: int, verb: str) -> None:
    """Remove one verb from a role, and wait until the API server's authorizer applies the change."""
    cluster, namespace = installation.cluster, installation.namespace
    where = () if kind == "ClusterRole" else ("-n", namespace)
    rule = cluster.get(kind, name, *where)["rules"][number]
    rest = [other for other in rule["verbs"] if other != verb]
    change = {"op": "replace", "path": f"/rules/{number}/verbs", "value": rest or ["none"]}
    cluster.kubectl("patch", kind, name, *where, "--type=json", "-p", json.dumps([change]))
    resource, group, named = rule["resources"][0], rule["apiGroups"][0], rule.get("resourceNames", [""])[0]
    cluster.wait_for(
        f"the webhook to lose {verb} of {resource}",
        lambda: not cluster.may(account(installation), verb, resource, group, named, namespace),
    )


def test_webhook_uses_every_right_of_the_chart_and_needs_no_other(
    cluster: ControlPlane, prepare: Prepare, tmp_path: Path
) -> None:
    """It starts for the first time, loses the certificate's Secret, starts again, pins, admits, denies and stops."""
    installation = prepare("rights-all", PINNING)
    installation.install()
    secret = ("secret", f"{NAME}-tls", "-n", installation.namespace)
    first, second = (Replica(installation, tmp_path, name) for name in ("replica-1", "replica-2"))

    def is_written() -> bool:
        return "tls.crt" in cluster.kubectl("get", *secret, "-o", "jsonpath={.data}", check=False)

    with first:
        # If it were deleted before the first check, the Secret would only be created, and never updated.
        cluster.wait_for("a certificate", is_written)
        cluster.kubectl("delete", *secret)
        cluster.wait_for("the certificate again", is_written)
        first.stop()
    with second:
        wait_until_called(cluster)
        wait_until_pinned(cluster)
        run(cluster, "rights", UNTRUSTED)
        run(cluster, "rights-trusted", TRUSTED, "--dry-run=server")
        cluster.wait_for("the Event", lambda: UNTRUSTED in cluster.kubectl("get", "events", "-n", TEAM))
        second.stop()
    assert [line for line in (first.logs() + second.logs()).splitlines() if FORBIDDEN in line] == []
    requests = cluster.requests(account(installation))
    assert {request["annotations"]["authorization.k8s.io/decision"] for request in requests} == {"allow"}
    rights = list(granted(cluster, installation))
    assert len(rights) == 10
    assert [right for right in rights if not any(uses(request, *right) for request in requests)] == []


def test_log_names_a_right_that_is_missing(cluster: ControlPlane, prepare: Prepare, tmp_path: Path) -> None:
    """One for each part that uses the API server: certificate, snapshot and Events; the webhook continues."""
    installation = prepare("rights-missing")
    installation.install()
    with Replica(installation, tmp_path) as replica:

        def is_logged(complaint: str) -> bool:
            return complaint in decoded(replica.logs())

        wait_until_called(cluster)
        for right in (
            ("ClusterRole", NAME, 0, "get"),
            ("ClusterRole", NAME, 1, "create"),
            ("Role", f"{NAME}-snapshot", 0, "get"),
        ):
            take(installation, *right)
        assert REFUSED in run(cluster, "rights-missing", UNTRUSTED)
        for complaint in (
            'cannot get resource "validatingwebhookconfigurations" in API group "admissionregistration.k8s.io"',
            'cannot create resource "events" in API group "events.k8s.io"',
        ):
            cluster.wait_for(complaint, partial(is_logged, complaint))
        assert REFUSED in run(cluster, "rights-missing", UNTRUSTED)
        replica.stop()
    assert 'cannot get resource "secrets"' in decoded(replica.logs())


@pytest.mark.parametrize(
    ("changes", "verb", "name", "allowed"),
    [
        (PINNING, "get", NAME, True),
        (PINNING, "patch", NAME, True),
        (PINNING, "patch", "foreign", False),
        (PINNING, "update", NAME, False),
        (PINNING, "delete", NAME, False),
        (PINNING, "list", "", False),
        (PINNING, "create", "", False),
        ({}, "get", NAME, False),
        ({}, "patch", NAME, False),
        (merged(PINNING, {"certificates": {"mode": "certManager"}}), "patch", NAME, False),
    ],
    ids=[
        "read",
        "write",
        "another one",
        "replace",
        "delete",
        "list",
        "create",
        "read without pinning",
        "write without pinning",
        "cert-manager",
    ],
)
def test_webhook_may_patch_only_its_own_mutating_configuration(
    cluster: ControlPlane, changes: dict[str, Any], verb: str, name: str, allowed: bool
) -> None:
    """With the right to another one, a stolen token could disable or redirect other products' webhooks."""
    made = render(changes)
    for kind in ("ClusterRole", "ClusterRoleBinding"):
        cluster.kubectl("apply", "-f", "-", stdin=made.one(kind))
    user = f"system:serviceaccount:{NAMESPACE}:{NAME}"
    group, resource = "admissionregistration.k8s.io", "mutatingwebhookconfigurations"
    try:
        # The answer about a right that every variant has shows that the authorizer applies this variant.
        cluster.wait_for("the roles", lambda: cluster.may(user, "create", "events", "events.k8s.io"))
        cluster.wait_for(
            f"{verb} to be {'allowed' if allowed else 'denied'}",
            lambda: cluster.may(user, verb, resource, group, name) is allowed,
            seconds=10,
        )
    finally:
        for kind in ("ClusterRoleBinding", "ClusterRole"):
            cluster.kubectl("delete", kind, NAME)
        cluster.wait_for(
            "the roles to be gone", lambda: not cluster.may(user, "create", "events", "events.k8s.io")
        )


def decoded(log: str) -> str:
    """Return lines of JSON without the escapes of quotation marks."""
    return log.replace('\\"', '"').replace("\\", "")
