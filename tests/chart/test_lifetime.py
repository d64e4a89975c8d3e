"""A release from its installation to its complete removal, on a real API server."""

from __future__ import annotations

import base64
import datetime as dt
import json
import random
import re
import threading
from pathlib import Path
from typing import Any, Self

import pytest
import yaml

from tests.chart.conftest import Prepare
from tests.chart.installation import (
    AWAY,
    PINNED,
    PINNING,
    REFUSED,
    TEAM,
    TRUSTED,
    UNTRUSTED,
    Replica,
    image_of,
    leftovers,
    run,
    wait_until_called,
    wait_until_pinned,
)
from tests.chart.rendering import NAME, merged
from tests.controlplane import ControlPlane
from webhook.cluster.ca import issue
from webhook.cluster.certificates import ManagedCertificateOptions


def admits(cluster: ControlPlane, image: str) -> bool:
    """Return whether a Pod with this image would be created."""
    output = run(cluster, "late", image, "--dry-run=server")
    return output.endswith("created (server dry run)")


NODE = [
    {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node-1"}},
    {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": "node-1", "namespace": "kube-node-lease"},
        "spec": {"holderIdentity": "node-1"},
    },
]
"""The taint that a kubelet sets before its node is usable."""


class Stream:
    """Creates Pods one after the other while its context is entered."""

    def __init__(self, cluster: ControlPlane) -> None:
        """Record the failures."""
        self._cluster = cluster
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._create)
        self.created = 0
        self.failures: list[str] = []

    def _create(self) -> None:
        while not self._stop.is_set():
            output = run(self._cluster, f"stream-{random.getrandbits(48):x}", TRUSTED)
            if output.endswith("created"):
                self.created += 1
            else:
                self.failures.append(output)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(30)


@pytest.mark.parametrize("mode", ["self", "existingSecret"])
def test_admissions_succeed_during_upgrade_and_rollback(
    cluster: ControlPlane, prepare: Prepare, tmp_path: Path, mode: str
) -> None:
    """Pods are created throughout: mode audit and back, by Helm 4, and nothing is left at the end."""
    installation = prepare(f"chart-upgrade-{mode.lower()}")
    if mode == "existingSecret":
        installation.use_certificate()
    installation.install()
    with Replica(installation, tmp_path) as replica:
        wait_until_called(cluster)

        def refuses() -> bool:
            replica.mount()
            return REFUSED in run(cluster, "probe", UNTRUSTED, "--dry-run=server")

        with Stream(cluster) as stream:
            installation.values["presets"] = {"stage": "audit"}
            installation.install()
            cluster.wait_for("audit", lambda: not refuses())
            installation.helm("rollback", NAME, "1", f"--namespace={installation.namespace}")
            cluster.wait_for("enforcement", refuses)
            cluster.wait_for("some Pods", lambda: stream.created > 10)
        assert stream.failures == []
        installation.uninstall()
        assert admits(cluster, UNTRUSTED)
    assert leftovers(cluster, installation.namespace) == []


def test_certificates_are_restored_and_rotated_without_failed_admission(
    cluster: ControlPlane, prepare: Prepare, tmp_path: Path
) -> None:
    """Certificates belong to the webhook, and GitOps tools or users may replace or empty them."""
    installation = prepare("chart-certificates")
    names = ManagedCertificateOptions(installation.namespace, "", NAME, "").names
    aged = issue(names, dt.datetime.now(dt.UTC) - dt.timedelta(days=70))
    installation.install()
    installation.make_secret(f"{NAME}-tls", {key: value.decode() for key, value in aged.data.items()})

    def get_secret() -> dict[str, str]:
        found = cluster.kubectl(
            "get", "secret", f"{NAME}-tls", "-n", installation.namespace, "-o", "json", check=False
        )
        data: dict[str, str] = json.loads(found).get("data", {}) if found.startswith("{") else {}
        return data

    def is_whole() -> bool:
        return set(get_secret()) == set(aged.data) and admits(cluster, TRUSTED)

    with Replica(installation, tmp_path):
        wait_until_called(cluster)
        with Stream(cluster) as stream:
            first = get_secret()["tls.crt"]
            due = {key: base64.b64encode(aged.data[key]).decode() for key in ("tls.crt", "tls.key")}
            change = json.dumps({"data": due})
            cluster.kubectl("patch", "secret", f"{NAME}-tls", "-n", installation.namespace, "-p", change)
            cluster.wait_for(
                "a new certificate", lambda: get_secret()["tls.crt"] not in (first, due["tls.crt"])
            )
            count = stream.created
            cluster.wait_for("Pods after that", lambda: stream.created > count + 5)
        assert stream.failures == []
        replaced = [one for one in yaml.safe_load_all(installation.render()) if one]
        for kind in ("Secret", "ValidatingWebhookConfiguration"):
            for one in (one for one in replaced if one["kind"] == kind):
                cluster.kubectl("replace", "-f", "-", stdin=one)
            cluster.wait_for(f"the {kind} to be whole again", is_whole, seconds=5)
        cluster.kubectl("delete", "secret", f"{NAME}-tls", "-n", installation.namespace)
        cluster.wait_for("the Secret", is_whole, seconds=5)


def test_pods_without_replica_are_denied_and_other_objects_admitted(
    cluster: ControlPlane, prepare: Prepare
) -> None:
    """Fail closed without a deadlock: own and system namespaces, labels, finalizers, status, deletion."""
    run(cluster, "early", UNTRUSTED)
    installation = prepare("chart-away")
    installation.use_certificate()
    installation.install()
    try:
        cluster.wait_for("the webhook", lambda: AWAY in run(cluster, "late", TRUSTED, "--dry-run=server"))
        for namespace in ("kube-system", installation.namespace):
            output = run(cluster, "own", UNTRUSTED, "--dry-run=server", namespace=namespace)
            assert output.endswith("created (server dry run)")
        assert "created" in cluster.kubectl("create", "deployment", "d", "--image=x", "-n", TEAM)
        for obj in NODE:
            cluster.kubectl("create", "-f", "-", stdin=obj)
            cluster.kubectl("label", "-f", "-", "a=b", stdin=obj)
            cluster.kubectl("delete", "-f", "-", stdin=obj)
        for patch in ({"metadata": {"labels": {"a": "b"}}}, {"metadata": {"finalizers": ["example.com/a"]}}):
            cluster.kubectl("patch", "pod", "early", "-n", TEAM, "-p", json.dumps(patch))
        status = json.dumps({"status": {"phase": "Failed"}})
        cluster.kubectl("patch", "pod", "early", "-n", TEAM, "--subresource=status", "-p", status)
        cluster.kubectl("delete", "pod", "early", "-n", TEAM, "--wait=false")
        cluster.kubectl("patch", "pod", "early", "-n", TEAM, "-p", '{"metadata": {"finalizers": null}}')
        assert "NotFound" in cluster.kubectl("get", "pod", "early", "-n", TEAM, check=False)
    finally:
        cluster.kubectl("delete", "deployment", "d", "-n", TEAM, "--ignore-not-found")


def test_namespace_deletion_ends_admission_control(cluster: ControlPlane, prepare: Prepare) -> None:
    """The remaining webhook configuration outlives its Service, but is no longer called."""
    installation = prepare("chart-deleted")
    installation.use_certificate()
    installation.install()
    cluster.wait_for("the webhook", lambda: AWAY in run(cluster, "late", TRUSTED, "--dry-run=server"))
    cluster.kubectl("delete", "namespace", installation.namespace, "--wait=false")
    cluster.wait_for("the gate to open", lambda: admits(cluster, UNTRUSTED), seconds=15)
    assert f"ValidatingWebhookConfiguration/{NAME}" in leftovers(cluster, "default")


def ignored_failures(cluster: ControlPlane) -> int:
    """Return how many calls of the mutating webhook failed and were ignored."""
    metrics = cluster.kubectl("get", "--raw", "/metrics")
    pattern = r'apiserver_admission_webhook_fail_open_count\{name="pinning[^}]*\} (\d+)'
    return sum(int(count) for count in re.findall(pattern, metrics))


@pytest.mark.parametrize(
    ("stands_down", "failures"), [(True, 0), (False, 1)], ids=["with the namespace", "never"]
)
def test_namespace_deletion_ends_calls_of_mutating_webhook(
    cluster: ControlPlane, prepare: Prepare, stands_down: bool, failures: int
) -> None:
    """Otherwise each Pod would wait for a call that fails, although it is then created."""
    installation = prepare(
        f"chart-deleted-pinning-{failures}",
        {**PINNING, "webhook": {"standDownWithNamespace": stands_down}, "presets": {"stage": "audit"}},
    )
    installation.use_certificate()
    before = ignored_failures(cluster)
    installation.install()

    def fails() -> bool:
        assert admits(cluster, TRUSTED)
        return ignored_failures(cluster) > before

    cluster.wait_for("the mutating webhook", fails)
    cluster.kubectl("delete", "namespace", installation.namespace, "--wait=false")
    service = ("get", "service", NAME, "-n", installation.namespace)
    cluster.wait_for("the end", lambda: "NotFound" in cluster.kubectl(*service, check=False))

    def more_failures() -> int:
        count = ignored_failures(cluster)
        assert admits(cluster, UNTRUSTED)
        return ignored_failures(cluster) - count

    cluster.wait_for("the calls to end, or to go on", lambda: more_failures() == failures, seconds=15)
    assert [more_failures() for _ in range(3)] == [failures] * 3
    assert f"MutatingWebhookConfiguration/{NAME}" in leftovers(cluster, "default")


def test_upgrade_turns_pinning_on_and_off(cluster: ControlPlane, prepare: Prepare, tmp_path: Path) -> None:
    """Helm adds the object, the argument and the right, and takes them away again."""
    installation = prepare("chart-pinning-switch")
    account = f"system:serviceaccount:{installation.namespace}:{NAME}"
    right = ("patch", "mutatingwebhookconfigurations", "admissionregistration.k8s.io", NAME)

    def switch(*, on: bool) -> str:
        installation.values = merged(installation.values, {"pinning": {"enabled": on}})
        installation.install()
        found = cluster.get("mutatingwebhookconfigurations", "-l", f"app.kubernetes.io/instance={NAME}")
        assert [one["metadata"]["name"] for one in found["items"]] == [NAME] * on
        cluster.wait_for("the right to change", lambda: cluster.may(account, *right) is on)
        folder = tmp_path / str(on)
        folder.mkdir(exist_ok=True)
        with Replica(installation, folder):
            wait_until_called(cluster)
            if on:
                wait_until_pinned(cluster)
            return image_of(cluster, "switched")

    assert [switch(on=on) for on in (False, True, False)] == [TRUSTED, PINNED, TRUSTED]


def test_namespace_deletion_without_binding_keeps_pods_denied(
    cluster: ControlPlane, prepare: Prepare
) -> None:
    """The test above depends on this condition."""
    installation = prepare("chart-shut", {"webhook": {"standDownWithNamespace": False}})
    installation.use_certificate()
    installation.install()
    cluster.wait_for("the webhook", lambda: AWAY in run(cluster, "late", TRUSTED, "--dry-run=server"))
    cluster.kubectl("delete", "namespace", installation.namespace, "--wait=false")
    cluster.wait_for(
        "the end",
        lambda: (
            "NotFound" in cluster.kubectl("get", "service", NAME, "-n", installation.namespace, check=False)
        ),
    )
    assert AWAY in run(cluster, "late", TRUSTED, "--dry-run=server")


def test_gitops_reapply_is_idempotent_and_prunes_webhook_first(
    cluster: ControlPlane, prepare: Prepare
) -> None:
    """Rendered without the cluster, applied twice without a change, pruned by waves without a denied Pod."""
    installation = prepare("chart-gitops", PINNING)
    installation.use_certificate()
    text = installation.render()
    cluster.kubectl("apply", "-f", "-", stdin=text)
    second = cluster.kubectl("apply", "-f", "-", stdin=text).splitlines()
    # kubectl patches a disruption budget each time without a change; the tests redirect the Service.
    changed = [line for line in second if not line.endswith("unchanged")]
    assert changed == [f"poddisruptionbudget.policy/{NAME} configured", f"service/{NAME} configured"]
    cluster.wait_for("the webhook", lambda: AWAY in run(cluster, "late", TRUSTED, "--dry-run=server"))
    waves: dict[int, list[dict[str, Any]]] = {}
    for one in (one for one in yaml.safe_load_all(text) if one):
        wave = (one["metadata"].get("annotations") or {}).get("argocd.argoproj.io/sync-wave", "0")
        waves.setdefault(int(wave), []).append(one)
    for wave in sorted(waves, reverse=True):
        random.Random(wave).shuffle(waves[wave])
        for one in waves[wave]:
            cluster.kubectl("delete", "-f", "-", "--wait=false", stdin=one)
            assert admits(cluster, TRUSTED)
    assert leftovers(cluster, installation.namespace) == []
