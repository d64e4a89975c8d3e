"""``swr-trust audit``: its output and its exit codes."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from rich.progress import Progress

import webhook.cli.pod_selection
from tests.emulator.server import Emulator
from tests.unit.cli.conftest import WritePolicy
from tests.unit.cluster.lists import FakeLists, owned_by, pod
from webhook.cli.main import main
from webhook.cli.progress import BarProgress
from webhook.errors import ClusterError

HOST = "swr.cn-north-4.myhuaweicloud.com"
PODS = "/api/v1/pods"
Output = pytest.CaptureFixture[str]

CONFIGURATIONS = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"
NAMES = {
    "matchExpressions": [
        {
            "key": "kubernetes.io/metadata.name",
            "operator": "NotIn",
            "values": ["gate", "kube-node-lease", "kube-public", "kube-system"],
        }
    ]
}
DEFAULTS = "The defaults of the chart are left out instead; --exclude-namespace names others."


def configuration(selector: dict[str, Any], name: str = "swr-trust-webhook") -> dict[str, Any]:
    """Return a webhook configuration like the chart's."""
    rules = [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}]
    return {
        "metadata": {"name": name},
        "webhooks": [{"name": "pods.gate.svc", "namespaceSelector": selector, "rules": rules}],
    }


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> FakeLists:
    """Return a cluster with a trusted Pod, an untrusted one that runs an older image, and one of the
    system.
    """
    web = {"containerStatuses": [{"name": "main", "imageID": f"{HOST}/shop/web@sha256:{'0' * 64}"}]}
    api = FakeLists(
        {
            PODS: [
                pod("dns", "kube-system", "coredns"),
                pod("web-1", "shop", f"{HOST}/shop/web:1.0"),
                pod("web-2", "shop", f"{HOST}/shop/web:2.0", status=web, **owned_by("StatefulSet", "web")),
            ],
            CONFIGURATIONS: [configuration(NAMES)],
        }
    )
    monkeypatch.setattr(webhook.cli.pod_selection, "connect", lambda *_: api)
    monkeypatch.setattr("webhook.cluster.client.FIRST_PAUSE", 0.0)
    return api


def audit(policy: Path, *arguments: str) -> int:
    """Run the command."""
    return main(["audit", "--config", str(policy), *arguments])


def test_audit_table_ends_with_verdict(write_policy: WritePolicy, cluster: FakeLists, capsys: Output) -> None:
    """Exit code 1: an image would be denied."""
    assert audit(write_policy("")) == 1
    said = capsys.readouterr()
    assert said.err == ""
    lines = said.out.splitlines()
    assert lines[0].split() == ["NAMESPACE", "WORKLOAD", "IMAGE", "FINDING", "PODS", "MESSAGE"]
    assert lines[1].split() == [
        "shop",
        "StatefulSet/web",
        f"{HOST}/shop/web:2.0",
        "untrusted",
        "1",
        *["SWR", "does", "not", "mark", "this", "tag", "as", "trusted"],
    ]
    assert lines[3] == "Nodes that run another image than the tag names now:"
    assert lines[-1] == "enforcing now would deny 1 of 2 Pods in 1 namespace"
    assert (
        "Left out, in excluded namespaces (gate, kube-node-lease, kube-public, kube-system): 1 Pod." in lines
    )


def test_sentences_outside_tables_are_in_language_of_policy(
    write_policy: WritePolicy, cluster: FakeLists, capsys: Output
) -> None:
    """As the messages in the table are."""
    assert audit(write_policy("messages: zh\n")) == 1
    lines = capsys.readouterr().out.splitlines()
    assert "节点运行的镜像与镜像版本当前指向的镜像不同：" in lines
    assert lines[-1] == "如果现在强制执行，2 个 Pod 中将有 1 个被拒绝，涉及 1 个命名空间"
    assert "未计入排除的命名空间（gate、kube-node-lease、kube-public、kube-system）中的 1 个 Pod。" in lines
    assert not [line for line in lines if line.endswith(".")]


ZEROS, ONES = f"sha256:{'0' * 64}", f"sha256:{'1' * 64}"


@pytest.mark.parametrize(
    ("pins", "code", "findings", "verdict"),
    [
        ("pinDigests: true\n", 0, [], "enforcing now would deny none of 2 Pods"),
        (
            "",
            1,
            [
                "NAMESPACE WORKLOAD IMAGE FINDING PODS MESSAGE",
                f"shop StatefulSet/old {HOST}/shop/web:1.0@{ZEROS} digest-mismatch 1 "
                "the pinned digest is not the digest of this tag in SWR",
            ],
            "enforcing now would deny 1 of 2 Pods in 1 namespace",
        ),
    ],
    ids=["pinning", "no pinning"],
)
def test_audit_table_tells_pinned_pods_apart(
    write_policy: WritePolicy,
    cluster: FakeLists,
    capsys: Output,
    pins: str,
    code: int,
    findings: list[str],
    verdict: str,
) -> None:
    """A Pod whose tag moved on, and one that runs something else than it pins."""
    status = {"containerStatuses": [{"name": "main", "imageID": f"{HOST}/shop/web@{ZEROS}"}]}
    cluster.collections[PODS] = [
        pod(name, "shop", f"{HOST}/shop/web:1.0@{digest}", status=status, **owned_by("StatefulSet", name))
        for name, digest in (("old", ZEROS), ("odd", ONES))
    ]
    assert audit(write_policy(pins)) == code
    assert [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()] == [
        *findings,
        "",
        "Nodes that report another image than the Pod pins:",
        "NAMESPACE WORKLOAD IMAGE RUNS SWR HOLDS PODS",
        f"shop StatefulSet/odd {HOST}/shop/web:1.0@{ONES} {ZEROS[:19]} {ONES[:19]} 1",
        "",
        "Pinned images whose tag names another image now:",
        "NAMESPACE WORKLOAD IMAGE RUNS SWR HOLDS PODS",
        f"shop StatefulSet/old {HOST}/shop/web:1.0@{ZEROS} {ZEROS[:19]} {ONES[:19]} 1",
        "",
        "NOT THE PINNED IMAGE: nodes report another digest than the pinned one for 1 Pod. What runs there may "
        "never have been evaluated. Find out whether both digests are the same image.",
        "Pinned to an image that its tag no longer names in SWR: 1 Pod. They run what they pin; restart their "
        "workloads to run the new image.",
        verdict,
    ]


def test_digest_that_swr_has_not_named_is_shown_as_dash(
    write_policy: WritePolicy, cluster: FakeLists, capsys: Output
) -> None:
    """The tag does not exist, and the node runs another digest than the pinned one."""
    status = {"containerStatuses": [{"name": "main", "imageID": f"{HOST}/shop/web@{ZEROS}"}]}
    image = f"{HOST}/shop/web:9.9@{ONES}"
    cluster.collections[PODS] = [pod("odd", "shop", image, status=status, **owned_by("StatefulSet", "odd"))]
    assert audit(write_policy("")) == 1
    row = f"shop StatefulSet/odd {image} {ZEROS[:19]} - 1"
    assert row in [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]


@pytest.mark.parametrize("output", ["json", "csv", "html"])
def test_other_formats_print_verdict_on_standard_error(
    write_policy: WritePolicy, cluster: FakeLists, output: str, capsys: Output
) -> None:
    """The user sees the result when the report is written to a file."""
    assert audit(write_policy(""), "-o", output) == 1
    said = capsys.readouterr()
    assert said.err == "enforcing now would deny 1 of 2 Pods in 1 namespace\n"
    if output == "json":
        assert json.loads(said.out)["findings"][0]["workload"] == "StatefulSet/web"
    elif output == "csv":
        assert next(csv.DictReader(io.StringIO(said.out)))["workload"] == "StatefulSet/web"
    else:
        assert said.out.startswith("<!DOCTYPE html>")


def test_audit_without_denials_exits_with_code_0(
    write_policy: WritePolicy, cluster: FakeLists, capsys: Output
) -> None:
    cluster.collections[PODS].pop()
    assert audit(write_policy("")) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "enforcing now would deny none of 1 Pods"


def test_named_namespace_is_not_excluded(write_policy: WritePolicy, cluster: FakeLists) -> None:
    """A user who names kube-system means it."""
    cluster.collections["/api/v1/namespaces/kube-system/pods"] = cluster.collections[PODS][:1]
    assert audit(write_policy(""), "-n", "kube-system") == 1


def test_excluded_namespaces_can_be_chosen(write_policy: WritePolicy, cluster: FakeLists) -> None:
    """They replace the system's."""
    cluster.collections[PODS].pop()
    assert audit(write_policy(""), "--exclude-namespace", "nothing") == 1
    assert audit(write_policy(""), "--exclude-namespace", "kube-*") == 0


def left_out(capsys: Output) -> list[str]:
    """Return the excluded namespaces of the JSON report."""
    names: list[str] = json.loads(capsys.readouterr().out)["excludedNamespaces"]
    return names


@pytest.mark.parametrize(
    ("selectors", "names"),
    [
        ([NAMES], NAMES["matchExpressions"][0]["values"]),
        ([{}], []),
        ([NAMES, {}], []),
        ([{"matchLabels": {"trust": "on"}}], ["kube-system", "lab", "shop"]),
        ([{**NAMES, "matchLabels": {"trust": "on"}}], ["kube-system", "lab", "shop"]),
        ([{"matchExpressions": [{"key": "trust", "operator": "NotIn", "values": ["off"]}]}], ["lab"]),
        (
            [{"matchExpressions": [{"key": "trust", "operator": "In", "values": ["off"]}]}],
            ["core", "kube-system", "shop"],
        ),
        ([{"matchExpressions": [{"key": "trust", "operator": "Exists"}]}], ["kube-system", "shop"]),
        ([{"matchExpressions": [{"key": "trust", "operator": "DoesNotExist"}]}], ["core", "lab"]),
        ([{"matchExpressions": [{"key": "trust", "operator": "Resembles"}]}], []),
    ],
)
def test_namespaces_outside_webhook_selector_are_excluded(
    write_policy: WritePolicy,
    cluster: FakeLists,
    selectors: list[dict[str, Any]],
    names: list[str],
    capsys: Output,
) -> None:
    """Fault E7: like the API server's namespaceSelector; a namespace is excluded if no configuration covers
    it.
    """
    cluster.collections[CONFIGURATIONS] = [configuration(selector) for selector in selectors]
    labels = {"core": {"trust": "on"}, "kube-system": None, "lab": {"trust": "off"}, "shop": None}
    cluster.collections["/api/v1/namespaces"] = [
        {"metadata": {"name": name, "labels": found}} for name, found in labels.items()
    ]
    assert audit(write_policy(""), "-o", "json") in (0, 1)
    assert left_out(capsys) == names


def test_named_configuration_defines_excluded_namespaces(
    write_policy: WritePolicy, cluster: FakeLists, capsys: Output
) -> None:
    """Fault E7: for an installation with another name."""
    cluster.objects[f"{CONFIGURATIONS}/mine"] = configuration({}, "mine")
    assert audit(write_policy(""), "-o", "json", "--webhook-configuration", "mine") == 1
    assert left_out(capsys) == []


def test_named_configuration_that_does_not_exist_is_an_error(
    write_policy: WritePolicy, cluster: FakeLists, capsys: Output
) -> None:
    """Fault E7: exit code 2; the user means another one."""
    cluster.failures = {1: ClusterError(404, "not found")}
    assert audit(write_policy(""), "--webhook-configuration", "mine") == 2
    assert capsys.readouterr().err == "swr-trust: there is no ValidatingWebhookConfiguration named mine\n"


@pytest.mark.parametrize(
    ("selector", "failures", "why"),
    [
        (
            NAMES,
            {1: ClusterError(403, "GET: 403 forbidden")},
            "you need the verb list on validatingwebhookconfigurations (GET: 403 forbidden)",
        ),
        (
            {"matchLabels": {"trust": "on"}},
            {2: ClusterError(403, "GET: 403 forbidden")},
            "you need the verb list on namespaces (GET: 403 forbidden)",
        ),
        (
            None,
            {},
            "no ValidatingWebhookConfiguration labelled app.kubernetes.io/name=swr-trust-webhook receives Pods",
        ),
    ],
    ids=["configurations", "namespaces", "none"],
)
@pytest.mark.parametrize("output", ["table", "csv"])
def test_unreadable_scope_is_reported_and_chart_defaults_are_used(
    write_policy: WritePolicy,
    cluster: FakeLists,
    selector: dict[str, Any] | None,
    failures: dict[int, ClusterError],
    why: str,
    output: str,
    capsys: Output,
) -> None:
    """Fault E7: the report is complete, and names the scope that it used."""
    cluster.collections[CONFIGURATIONS] = [] if selector is None else [configuration(selector)]
    cluster.failures = failures
    assert audit(write_policy(""), "-o", output) == 1
    said = capsys.readouterr()
    note = f"It is not known which namespaces are not sent to the webhook: {why}. {DEFAULTS}"
    if output == "table":
        assert note in said.out.splitlines()
        assert (
            "Left out, in excluded namespaces (kube-system, kube-public, kube-node-lease, swr-trust): 1 Pod."
            in said.out.splitlines()
        )
    else:
        assert said.err.splitlines()[-1] == f"swr-trust audit: {note.removesuffix('.')}"


@pytest.mark.parametrize("output", ["table", "json", "csv", "html"])
def test_partial_report_is_marked_in_every_format(
    write_policy: WritePolicy, cluster: FakeLists, output: str, capsys: Output
) -> None:
    """Exit code 3, regardless of the findings."""
    cluster.failures = {call: ClusterError(0, "connection refused") for call in range(3, 99)}
    assert audit(write_policy(""), "-o", output) == 3
    said = capsys.readouterr()
    assert "connection refused" in said.out
    assert "partial" in said.out.lower()
    assert output == "table" or said.err.endswith(" (PARTIAL)\n")


def test_interrupted_audit_exits_with_code_3(
    write_policy: WritePolicy, cluster: FakeLists, capsys: Output
) -> None:
    """Ctrl-C: the report contains the results until then."""

    def interrupt(_path: str) -> None:
        if len(cluster.calls) == 3:
            raise KeyboardInterrupt

    cluster.before = interrupt
    # The fake is called in a thread; the interrupt arrives in the main one.
    cluster_get = cluster.get
    assert callable(cluster_get)
    policy = write_policy("")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "webhook.cluster.client.RetryingClient._get_once",
            lambda _self, path, query: cluster_get(path, query),
        )
        assert audit(policy) == 3
    assert "This report is PARTIAL: it was interrupted." in capsys.readouterr().out


def test_swr_outage_exits_with_code_3(
    write_policy: WritePolicy, cluster: FakeLists, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Images are denied only as unknown."""
    monkeypatch.setattr("webhook.audit.caching_lookup.OUTAGE_RETRY_BUDGET", 0.0)
    emulator.break_with("status", status=500)
    assert audit(write_policy("")) == 3


@pytest.mark.slow
def test_throttled_audit_waits_and_completes(
    write_policy: WritePolicy, cluster: FakeLists, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A 429 of SWR delays an audit, but does not make it partial."""
    monkeypatch.setattr("webhook.audit.caching_lookup.FIRST_PAUSE", 0.2)
    emulator.break_with("status", match="web", status=429, times=2)
    assert audit(write_policy("")) == 1


def test_audit_without_cluster_exits_with_code_2(
    write_policy: WritePolicy, tmp_path: Path, capsys: Output
) -> None:
    """The error says what is missing."""
    assert audit(write_policy(""), "--kubeconfig", str(tmp_path / "none")) == 2
    assert capsys.readouterr().err.startswith("swr-trust: no access to a cluster: ")


def test_progress_bar_shows_pods_images_and_pause() -> None:
    """Finished Pods, looked-up images, and a pause that SWR requests."""
    with Progress(
        "{task.completed}/{task.total} {task.fields[note]}", console=Console(file=io.StringIO())
    ) as bar:
        shown: Any = BarProgress(bar)
        shown.pods_evaluated(250, None)
        assert [task.total for task in bar.tasks] == [None]
        shown.pods_evaluated(250, 750)
        shown.images_looked_up(64, 3.0)
        assert (bar.tasks[0].completed, bar.tasks[0].total) == (250, 1000)
        assert bar.tasks[0].fields["note"] == "64 images looked up, waiting 3 s as SWR requests"
