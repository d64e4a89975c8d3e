"""Audit, explain and doctor on a real API server, with the webhook in front of the emulator."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.controlplane import ControlPlane
from tests.emulator.server import Emulator
from tests.support.serving import COMMAND, ROOT, ServerProcess, make_certificate
from tests.support.signed import SigningKeys

HOST = "swr.cn-north-4.myhuaweicloud.com"
NAMESPACE = "audited"
OTHER = "audited-b"
CONFIGURATION = "audited-gate"
PINNED = "audited-pinned"
"""A namespace that the webhook does not receive, so that its Pods can pin any digest."""
DIGEST = "sha256:" + "1" * 64
OTHER_DIGEST = "sha256:" + "7" * 64


@dataclass
class ClusterSetup:
    """A cluster with workloads, and the command line."""

    cluster: ControlPlane
    server: ServerProcess
    emulator: Emulator

    def run(self, *arguments: str, user: str = "admin", policy: bool = True) -> tuple[int, str, str]:
        """Run ``swr-trust`` in its own process; return exit code, output and error."""
        options = ["--config", str(self.server.config)] if policy else []
        done = subprocess.run(
            [*COMMAND, *arguments, *options],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=120,
            env={**os.environ, "KUBECONFIG": str(self.cluster.kubeconfig(user))},
        )
        return done.returncode, done.stdout, done.stderr

    def create(self, obj: dict[str, Any]) -> None:
        """Create an object."""
        self.cluster.kubectl("create", "-f", "-", stdin=obj)


def deployment(name: str, image: str, namespace: str = NAMESPACE) -> dict[str, Any]:
    """Return a Deployment of two Pods."""
    labels = {"app": name}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{"name": "main", "image": f"{HOST}/{image}"}]},
            },
        },
    }


@pytest.fixture(scope="module")
def stage(control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClusterSetup]:
    """Create Pods before the webhook is installed, then the webhook, then a Deployment that it denies."""
    folder = tmp_path_factory.mktemp("audited")
    certificate = make_certificate(folder)
    with Emulator() as emulator, ServerProcess(folder, emulator.url, certificate) as server:
        made = ClusterSetup(control_plane, server, emulator)
        for namespace in (NAMESPACE, OTHER, PINNED):
            control_plane.make_namespace(namespace)
        made.create(deployment("good", "shop/web:1.0"))
        made.create(deployment("bad", "shop/web:2.0"))
        made.create(deployment("gone", "shop/web:9.9", OTHER))
        for namespace, count in ((NAMESPACE, 4), (OTHER, 2)):

            def are_there(namespace: str = namespace, count: int = count) -> bool:
                return len(control_plane.get("pods", "-n", namespace)["items"]) == count

            control_plane.wait_for("the Pods", are_there)
        control_plane.register_webhook(
            server.url, certificate.ca, [NAMESPACE, OTHER], configuration=CONFIGURATION
        )

        def refuses() -> bool:
            image = "--image=nginx"
            said = control_plane.kubectl("run", "x", image, "-n", NAMESPACE, "--dry-run=server", check=False)
            return "denied by image trust policy" in said

        control_plane.wait_for("the webhook to be called", refuses)
        made.create(deployment("late", "shop/web:2.0"))
        yield made
        control_plane.kubectl("delete", "validatingwebhookconfiguration", CONFIGURATION)


def audit(stage: ClusterSetup, *arguments: str, user: str = "admin") -> tuple[int, dict[str, Any]]:
    """Run the audit of the two namespaces and return its JSON."""
    code, output, _ = stage.run("audit", "-n", NAMESPACE, "-n", OTHER, "-o", "json", *arguments, user=user)
    return code, json.loads(output)


def test_running_pods_are_audited_by_deployment(stage: ClusterSetup) -> None:
    """ReplicaSets are followed to their Deployments; the summary counts Pods and namespaces."""
    code, report = audit(stage)
    assert code == 1
    assert report["verdict"] == "enforcing now would deny 4 of 6 Pods in 2 namespaces"
    assert [
        (row["namespace"], row["workload"], row["finding"], row["pods"]) for row in report["findings"]
    ] == [(NAMESPACE, "Deployment/bad", "untrusted", 2), (OTHER, "Deployment/gone", "missing", 2)]
    assert report["images"] == {"seen": 3, "asked": 3}


def test_selector_limits_audited_pods(stage: ClusterSetup) -> None:
    """Other Pods are not audited."""
    code, report = audit(stage, "-l", "app=good")
    assert (code, report["pods"]) == (0, 2)


def test_survey_counts_evidence_of_running_images(stage: ClusterSetup, tmp_path: Path) -> None:
    """By registry and namespace, whatever the webhook's policy evaluates."""
    keys = SigningKeys(tmp_path, "release")
    stage.emulator.state.sign_simple("shop/web", DIGEST, keys["release"])
    stage.emulator.state.registry.asks_for_tokens = False
    more = f"registryEndpoint: {stage.emulator.url}\n    signatures: {{keys: [{keys.entries}]}}\n    iamEndpoint:"
    policy = tmp_path / "policy.yaml"
    base = stage.server.config.read_text(encoding="utf-8")
    policy.write_text(base.replace("iamEndpoint:", more), encoding="utf-8")
    ended, output, error = stage.run(
        *("survey", "-n", NAMESPACE, "-n", OTHER, "-o", "json", "--config", str(policy)), policy=False
    )
    assert (ended, error) == (1, "")
    (found,) = json.loads(output)["registries"]
    assert (found["advice"], found["recommended"], found["showRepoTag"]) == (
        "prepare",
        "tagDetail",
        "published",
    )
    assert [
        (one["name"], one["images"], one["missing"], one["marked"], one["signers"])
        for one in found["namespaces"]
    ] == [(NAMESPACE, 2, 0, 1, {"release": 1}), (OTHER, 1, 1, 0, {})]


def report_digest(stage: ClusterSetup, name: str, digest: str, namespace: str = NAMESPACE) -> None:
    """Write the status of a Pod as a node would; there is no kubelet here."""
    status = {
        "containerStatuses": [
            {
                "name": "main",
                "image": "x",
                "imageID": f"{HOST}/shop/web@{digest}",
                "ready": True,
                "restartCount": 0,
            }
        ]
    }
    stage.cluster.kubectl(
        "patch",
        "pod",
        name,
        "-n",
        namespace,
        "--subresource=status",
        "--type=merge",
        "-p",
        json.dumps({"status": status}),
    )


def test_other_running_digest_is_reported(stage: ClusterSetup) -> None:
    """The Pod names only the tag, which has another digest in SWR."""
    (name, *_) = (
        item["metadata"]["name"]
        for item in stage.cluster.get("pods", "-n", NAMESPACE, "-l", "app=good")["items"]
    )
    report_digest(stage, name, OTHER_DIGEST)
    _, report = audit(stage)
    assert [
        (row["workload"], row["reason"], row["running"], row["current"]) for row in report["otherDigest"]
    ] == [("Deployment/good", "moved", OTHER_DIGEST, DIGEST)]


@pytest.mark.parametrize(
    ("pins", "code", "findings", "verdict"),
    [
        (True, 0, [], "enforcing now would deny none of 4 Pods"),
        (
            False,
            1,
            [("Deployment/superseded", "digest-mismatch", 2)],
            "enforcing now would deny 2 of 4 Pods in 1 namespace",
        ),
    ],
    ids=["pinning", "no pinning"],
)
def test_pinned_pods_are_told_apart_by_what_runs(
    stage: ClusterSetup,
    tmp_path: Path,
    pins: bool,
    code: int,
    findings: list[tuple[str, str, int]],
    verdict: str,
) -> None:
    """The tag of one Deployment's Pods was moved; those of the other run another digest than they pin."""
    for name, digest in (("superseded", OTHER_DIGEST), ("odd", DIGEST)):
        manifest = deployment(name, f"shop/web:1.0@{digest}", PINNED)
        stage.cluster.kubectl("apply", "-f", "-", stdin=manifest)
    stage.cluster.wait_for("the Pods", lambda: len(stage.cluster.get("pods", "-n", PINNED)["items"]) == 4)
    for item in stage.cluster.get("pods", "-n", PINNED)["items"]:
        report_digest(stage, item["metadata"]["name"], OTHER_DIGEST, PINNED)
    policy = tmp_path / "policy.yaml"
    base = stage.server.config.read_text(encoding="utf-8")
    policy.write_text(f"{base}pinDigests: {str(pins).lower()}\n", encoding="utf-8")
    ended, output, error = stage.run(
        "audit", "-n", PINNED, "-o", "json", "--config", str(policy), policy=False
    )
    report = json.loads(output)
    assert (ended, error) == (code, f"{verdict}\n")
    assert [(row["workload"], row["finding"], row["pods"]) for row in report["findings"]] == findings
    assert [
        (row["workload"], row["reason"], row["running"], row["current"], row["pods"])
        for row in report["otherDigest"]
    ] == [
        ("Deployment/odd", "other-than-pinned", OTHER_DIGEST, DIGEST, 2),
        ("Deployment/superseded", "superseded", OTHER_DIGEST, DIGEST, 2),
    ]


def test_missing_rights_make_report_partial(stage: ClusterSetup) -> None:
    """One namespace may be read without its ReplicaSets: exit code 3, and the readable part is kept."""
    rules = [{"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]}]
    stage.cluster.grant("gate", NAMESPACE, rules)
    code, report = audit(stage, user="gate")
    assert (code, report["partial"], report["pods"]) == (3, True, 4)
    assert report["gaps"][0].startswith(
        f"the API server does not let you list Pods in the namespace {OTHER}: you need the verb list on pods there"
    )
    assert [row["workload"] for row in report["findings"]] == ["Deployment/bad"]


def test_missing_namespace_makes_report_partial(stage: ClusterSetup) -> None:
    """The API server answers with an empty list, but the report does not look clean."""
    code, output, _ = stage.run("audit", "-n", "no-such", "-o", "json")
    assert (code, json.loads(output)["gaps"]) == (
        3,
        ["the namespace no-such does not exist, or no longer"],
    )


def test_all_namespaces_are_audited_as_html(stage: ClusterSetup) -> None:
    """One self-contained file."""
    code, output, error = stage.run("audit", "-o", "html")
    assert code == 1
    assert output.startswith("<!DOCTYPE html>")
    assert "Deployment/bad" in output
    assert error.startswith("enforcing now would deny ")


def test_unreachable_api_server_makes_report_partial(stage: ClusterSetup, tmp_path: Path) -> None:
    """Exit code 3, with the cause."""
    config = json.loads(stage.cluster.kubeconfig("admin").read_text(encoding="utf-8"))
    config["clusters"][0]["cluster"]["server"] = "https://127.0.0.1:1"
    path = tmp_path / "gone.kubeconfig"
    path.write_text(json.dumps(config), encoding="utf-8")
    code, output, _ = stage.run("audit", "--kubeconfig", str(path))
    assert code == 3
    assert "This report is PARTIAL: Pods in all namespaces could not be read to the end: " in output


def test_sigint_while_swr_hangs_prints_partial_report(stage: ClusterSetup) -> None:
    """The report comes at once."""
    # A tag that the webhook does not look up again: it still evaluates the attempts of Deployments.
    before = stage.emulator.calls("/tags/9.9")
    stage.emulator.break_with("hang")
    command = [*COMMAND, "audit", "--config", str(stage.server.config)]
    environment = {**os.environ, "KUBECONFIG": str(stage.cluster.kubeconfig("admin"))}
    # A shell that runs this suite in the background makes it ignore Ctrl-C, and so all of its children.
    former = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
        ) as process:
            stage.cluster.wait_for("a lookup", lambda: stage.emulator.calls("/tags/9.9") > before)
            process.send_signal(signal.SIGINT)
            output, error = process.communicate(timeout=30)
    finally:
        signal.signal(signal.SIGINT, former)
        stage.emulator.mend()
    assert (process.returncode, error) == (3, "")
    assert "This report is PARTIAL: it was interrupted." in output


def test_explain_shows_denial_with_view_role(stage: ClusterSetup) -> None:
    """With the rights of Kubernetes' role ``view``, without a policy or a credential of SWR."""
    stage.cluster.kubectl(
        "create", "rolebinding", "look", "--clusterrole=view", "--user=gate", "-n", NAMESPACE, check=False
    )

    def explained() -> bool:
        return stage.run("explain", f"{NAMESPACE}/late", user="gate", policy=False)[0] == 1

    stage.cluster.wait_for("the denial", explained)
    _, output, _ = stage.run("explain", f"{NAMESPACE}/late", user="gate", policy=False)
    assert output.startswith(
        f"Deployment {NAMESPACE}/late, 0 of 2 Pods ready\n"
        f"  image {HOST}/shop/web:2.0\n"
        "\n"
        "Its Pods are denied because of an image:\n"
        f'  denied by image trust policy: spec.containers[0].image "{HOST}/shop/web:2.0": SWR does not mark this tag as trusted.\n'
        "  Mark this tag as trusted in SWR, or use a tag that already is.\n"
    )


def test_explain_of_deployment_without_denials_exits_0(stage: ClusterSetup) -> None:
    """Its Pods wait for a node, which is not a denial."""
    code, output, _ = stage.run("explain", f"{NAMESPACE}/Deployment/good", policy=False)
    assert (code, "\nNo condition and no Event says that its Pods are" in output) == (0, True)


def doctor(
    stage: ClusterSetup, *arguments: str, user: str = "admin"
) -> tuple[int, dict[str, tuple[str, str]]]:
    """Run the doctor; return the exit code, and status and finding by name."""
    code, output, error = stage.run(
        "doctor",
        "-o",
        "json",
        "--webhook-configuration",
        CONFIGURATION,
        "--probe-namespace",
        NAMESPACE,
        *arguments,
        user=user,
    )
    assert output, error
    return code, {row["name"]: (row["health"], row["found"]) for row in json.loads(output)}


def test_doctor_passes_on_working_installation(stage: ClusterSetup) -> None:
    """From the API server through the certificate to a denial."""
    code, checks = doctor(stage, "--image", f"{HOST}/shop/web:1.0")
    assert code == 0
    assert {name: health for name, (health, _) in checks.items() if health == "failed"} == {}
    assert checks["dry run"] == ("ok", f"a Pod with an invalid image is denied in {NAMESPACE}")
    assert checks["serving certificate"][0] == "ok"
    assert checks["rules"][0] == "ok"
    assert checks["getRepoTag"] == ("ok", f"{HOST}/shop/web:1.0 is trusted")


def test_doctor_dry_run_leaves_no_pod(stage: ClusterSetup) -> None:
    """It is a dry run, even if the Pod is admitted."""
    stage.cluster.make_namespace("open")
    code, checks = doctor(stage, "--probe-namespace", "open")
    assert code == 1
    assert checks["dry run"] == ("failed", "a Pod with an invalid image would be admitted in open")
    assert stage.cluster.get("pods", "-n", "open")["items"] == []


def test_doctor_reports_untrusted_certificate(stage: ClusterSetup, tmp_path: Path) -> None:
    """Both the direct handshake and the dry run through the API server report it."""
    before = stage.cluster.get("validatingwebhookconfiguration", CONFIGURATION)
    other = make_certificate(tmp_path)
    stage.cluster.register_webhook(
        stage.server.url, other.ca, [NAMESPACE, OTHER], configuration=CONFIGURATION
    )

    def broken() -> bool:
        return doctor(stage)[1]["dry run"][0] == "failed"

    stage.cluster.wait_for("the broken bundle to count", broken)
    code, checks = doctor(stage)
    assert code == 1
    assert checks["serving certificate"][0] == "failed"
    assert "x509: certificate signed by unknown authority" in checks["dry run"][1]
    before["metadata"].pop("resourceVersion")
    stage.cluster.kubectl("apply", "-f", "-", stdin=before)
    stage.cluster.wait_for("the bundle", lambda: doctor(stage)[1]["dry run"][0] == "ok")


def test_doctor_without_rights_exits_3(stage: ClusterSetup) -> None:
    """No problem could be seen."""
    code, checks = doctor(stage, "--probe-namespace", OTHER, user="gate")
    assert code == 3
    assert checks["webhook configuration"][0] == "unknown"
    assert checks["dry run"][0] == "unknown"
