"""The webhook's rights are those of the chart: with all of them it complains of nothing, with one fewer it does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.chart.conftest import Prepare
from tests.chart.installation import TEAM, TRUSTED, UNTRUSTED, Installation, Replica, run, wait_until_called
from tests.chart.rendering import NAME, render
from tests.controlplane import ControlPlane

FORBIDDEN = "is forbidden: User"
NOT_TRIED = {("gates", "guard"), ("events", "patch")}
"""The first is granted for its own sake (``webhook.standDownWithNamespace``); an Event that happens again is
patched a minute later, which ``tests/cluster/test_events.py`` does not wait for either."""


RIGHTS = [
    ("Role", f"{NAME}-certificate", 0, "get"),
    ("Role", f"{NAME}-certificate", 0, "update"),
    ("Role", f"{NAME}-certificate", 1, "create"),
    ("Role", f"{NAME}-snapshot", 0, "get"),
    ("Role", f"{NAME}-snapshot", 0, "update"),
    ("ClusterRole", NAME, 0, "get"),
    ("ClusterRole", NAME, 0, "patch"),
    ("ClusterRole", NAME, 1, "create"),
]
"""Every right of the chart: kind and name of the role, number of its rule, verb. Listed here, because tests
are collected where there is no Helm, too."""


def granted() -> list[tuple[str, str, int, str]]:
    """Return kind and name of the role, the number of its rule and the verb, of every right of the chart."""
    return [
        (role["kind"], role["metadata"]["name"], number, verb)
        for role in [*render().of("Role"), *render().of("ClusterRole")]
        for number, rule in enumerate(role["rules"])
        for verb in rule["verbs"]
        if (rule["resources"][0], verb) not in NOT_TRIED
    ]


def take(installation: Installation, kind: str, name: str, number: int, verb: str) -> None:
    """Take one verb out of a role, and wait until the API server's authorizer has heard of it."""
    where = () if kind == "ClusterRole" else ("-n", installation.namespace)
    rule = installation.cluster.get(kind, name, *where)["rules"][number]
    verbs = rule["verbs"]
    rest = [other for other in verbs if other != verb]
    change = {"op": "replace", "path": f"/rules/{number}/verbs", "value": rest or ["none"]}
    installation.cluster.kubectl("patch", kind, name, *where, "--type=json", "-p", json.dumps([change]))
    group = rule["apiGroups"][0]
    resource = f"{rule['resources'][0]}.{group}" if group else rule["resources"][0]
    question = [verb, "/".join([resource, *rule.get("resourceNames", [])[:1]])]
    user = f"system:serviceaccount:{installation.namespace}:{NAME}"
    installation.cluster.wait_for(
        f"{user} to lose {' '.join(question)}",
        lambda: (
            installation.cluster.kubectl(
                "auth", "can-i", *question, f"--as={user}", "-n", installation.namespace, check=False
            )
            .strip()
            .startswith("no")
        ),
    )


def live_through(cluster: ControlPlane, installation: Installation, folder: Path) -> str:
    """Begin anew, lose the certificate's Secret, begin again, admit, refuse and stop; return the log.

    It ends early when something is forbidden.
    """
    secret = ("secret", f"{NAME}-tls", "-n", installation.namespace)
    first, second = (Replica(installation, folder, name) for name in ("replica-1", "replica-2"))

    def written_or_forbidden() -> bool:
        found = cluster.kubectl("get", *secret, "-o", "jsonpath={.data}", check=False)
        return FORBIDDEN in first.logs() or "tls.crt" in found

    with first:
        # Deleted before the first look, the chart's empty Secret would be created only, and never updated.
        cluster.wait_for("a certificate, or a complaint", written_or_forbidden)
        cluster.kubectl("delete", *secret, "--ignore-not-found")
        cluster.wait_for("the certificate again, or a complaint", written_or_forbidden)
        first.stop()
    if FORBIDDEN in first.logs():
        return first.logs()
    with second:
        wait_until_called(cluster)
        run(cluster, "rights", UNTRUSTED)
        run(cluster, "rights-trusted", TRUSTED, "--dry-run=server")
        cluster.wait_for(
            "the Event, or a complaint",
            lambda: FORBIDDEN in second.logs() or UNTRUSTED in cluster.kubectl("get", "events", "-n", TEAM),
        )
        second.stop()
    return second.logs()


def complaints(log: str) -> list[dict[str, Any]]:
    """Return the lines that speak of a missing right."""
    return [json.loads(line) for line in log.splitlines() if FORBIDDEN in line]


def test_with_the_rights_of_the_chart_nothing_is_forbidden(
    cluster: ControlPlane, prepare: Prepare, tmp_path: Path
) -> None:
    """From the first start to the end."""
    installation = prepare("rights-all")
    installation.install()
    assert complaints(live_through(cluster, installation, tmp_path)) == []


def test_rights_of_the_chart_are_those_that_are_tried() -> None:
    """Fault A3: the chart was read while the tests were collected, which ended in an error without Helm."""
    assert granted() == RIGHTS


@pytest.mark.parametrize("right", RIGHTS, ids=["-".join(map(str, right[1:])) for right in RIGHTS])
def test_without_one_of_them_something_is(
    cluster: ControlPlane, prepare: Prepare, tmp_path: Path, right: tuple[str, str, int, str]
) -> None:
    """So none is granted in vain; the log names the one that is missing."""
    installation = prepare(f"rights-{RIGHTS.index(right)}")
    installation.install()
    take(installation, *right)
    try:
        log = live_through(cluster, installation, tmp_path)
    except AssertionError as error:  # it does not even serve
        log = str(error)
    assert f"cannot {right[3]} resource" in log
