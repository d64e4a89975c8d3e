"""``swr-trust audit``: what it prints, and its exit codes."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from rich.progress import Progress

import webhook.cli.audit
from tests.emulator.server import Emulator
from tests.unit.cli.conftest import WritePolicy
from tests.unit.cluster.lists import FakeLists, owned_by, pod
from webhook.cli.audit import BarProgress
from webhook.cli.main import main
from webhook.cluster.scope import CONFIGURATIONS
from webhook.errors import ClusterError

HOST = "swr.cn-north-4.myhuaweicloud.com"
PODS = "/api/v1/pods"
Output = pytest.CaptureFixture[str]


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> FakeLists:
    """A cluster with a trusted Pod, an untrusted one that runs an older image, and one of the system."""
    web = {"containerStatuses": [{"name": "main", "imageID": f"{HOST}/shop/web@sha256:{'0' * 64}"}]}
    api = FakeLists(
        {
            PODS: [
                pod("dns", "kube-system", "coredns"),
                pod("web-1", "shop", f"{HOST}/shop/web:1.0"),
                pod("web-2", "shop", f"{HOST}/shop/web:2.0", status=web, **owned_by("StatefulSet", "web")),
            ]
        }
    )
    monkeypatch.setattr(webhook.cli.audit, "connect", lambda *_: api)
    monkeypatch.setattr("webhook.cluster.pods.FIRST_PAUSE", 0.0)
    return api


def audit(policy: Path, *arguments: str) -> int:
    """Run the command."""
    return main(["audit", "--config", str(policy), *arguments])


def test_the_table_ends_with_the_verdict(
    write_policy: WritePolicy, cluster: FakeLists, capsys: Output
) -> None:
    """Exit code 1: something would be refused."""
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
    assert lines[-1] == "enforcing now would refuse 1 of 2 Pods in 1 namespace"
    assert "Left out, in excluded namespaces (kube-system, kube-public, kube-node-lease): 1 Pod." in lines


@pytest.mark.parametrize("output", ["json", "csv", "html"])
def test_other_forms_say_the_verdict_on_standard_error(
    write_policy: WritePolicy, cluster: FakeLists, output: str, capsys: Output
) -> None:
    """Whoever writes a file sees the result."""
    assert audit(write_policy(""), "-o", output) == 1
    said = capsys.readouterr()
    assert said.err == "enforcing now would refuse 1 of 2 Pods in 1 namespace\n"
    if output == "json":
        assert json.loads(said.out)["findings"][0]["workload"] == "StatefulSet/web"
    elif output == "csv":
        assert next(csv.DictReader(io.StringIO(said.out)))["workload"] == "StatefulSet/web"
    else:
        assert said.out.startswith("<!DOCTYPE html>")


def test_a_clean_cluster(write_policy: WritePolicy, cluster: FakeLists, capsys: Output) -> None:
    """Exit code 0."""
    cluster.collections[PODS].pop()
    assert audit(write_policy("")) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "enforcing now would refuse none of 1 Pods"


def test_a_named_namespace_is_never_excluded(write_policy: WritePolicy, cluster: FakeLists) -> None:
    """Who names kube-system means it."""
    cluster.collections["/api/v1/namespaces/kube-system/pods"] = cluster.collections[PODS][:1]
    assert audit(write_policy(""), "-n", "kube-system") == 1


def configuration(*entries: tuple[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """Return a webhook configuration of entries: a resource, and the conditions on its namespaces."""
    webhooks = [
        {"rules": [{"resources": [resource]}], "namespaceSelector": {"matchExpressions": conditions}}
        for resource, conditions in entries
    ]
    return {"metadata": {"name": "swr-trust-webhook"}, "webhooks": webhooks}


def left_out(*names: str) -> dict[str, Any]:
    """Return the condition that leaves these namespaces out."""
    return {"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": list(names)}


OTHERS = {"key": "team", "operator": "Exists"}
SCOPES = [
    (
        "as installed",
        [configuration(("pods", [left_out("shop", "swr-trust")]))],
        1,
        "(shop, swr-trust): 2 Pods.",
        "",
    ),
    ("nothing left out", [configuration(("pods", []))], 0, "", ""),
    (
        "two that ask about Pods",
        [configuration(("pods", [left_out("shop", "dev")]), ("pods", [left_out("shop")]))],
        1,
        "(shop): 2 Pods.",
        "",
    ),
    (
        "another resource",
        [configuration(("pods", [left_out("kube-system")]), ("deployments", [left_out("shop")]))],
        0,
        "(kube-system): 1 Pod.",
        "",
    ),
    (
        "further conditions",
        [configuration(("pods", [left_out("shop"), OTHERS]))],
        1,
        "(shop): 2 Pods.",
        "the webhook's namespaceSelector has further conditions, which this report does not regard.",
    ),
    (
        "not installed",
        [],
        0,
        "(kube-system, kube-public, kube-node-lease): 1 Pod.",
        "the webhook's configuration is not installed, so the chart's defaults are left out.",
    ),
]


@pytest.mark.parametrize(
    ("configurations", "judged", "remark", "note"),
    [case[1:] for case in SCOPES],
    ids=[case[0] for case in SCOPES],
)
def test_namespaces_that_the_webhook_is_not_asked_about_are_left_out(
    write_policy: WritePolicy,
    cluster: FakeLists,
    configurations: list[dict[str, Any]],
    judged: int,
    remark: str,
    note: str,
    capsys: Output,
) -> None:
    """Fault E7: the same as in the audit in the cluster; ``judged`` is whether shop is among them."""
    cluster.collections[CONFIGURATIONS] = configurations
    audit(write_policy(""))
    lines = capsys.readouterr().out.splitlines()
    assert [
        line.removeprefix("Left out, in excluded namespaces ") for line in lines if "Left out" in line
    ] == [*([remark] if remark else [])]
    assert [line for line in lines if line.startswith("the webhook's")] == [*([note] if note else [])]
    assert any(line.startswith("shop ") for line in lines) is not bool(judged)


def test_a_configuration_that_may_not_be_read_is_said_to_be_so(
    write_policy: WritePolicy, cluster: FakeLists, capsys: Output
) -> None:
    """Fault E7: then the chart's defaults are left out."""
    cluster.failures[1] = ClusterError(403, "GET /x: 403 forbidden")
    assert audit(write_policy("")) == 1
    assert (
        "the webhook's configuration cannot be read (GET /x: 403 forbidden), so the chart's defaults are left out."
    ) in capsys.readouterr().out.splitlines()


def test_excluded_namespaces_can_be_chosen(write_policy: WritePolicy, cluster: FakeLists) -> None:
    """In the place of the system's."""
    cluster.collections[PODS].pop()
    assert audit(write_policy(""), "--exclude-namespace", "nothing") == 1
    assert audit(write_policy(""), "--exclude-namespace", "kube-*") == 0


@pytest.mark.parametrize("output", ["table", "json", "csv", "html"])
def test_a_partial_report_is_marked_in_every_form(
    write_policy: WritePolicy, cluster: FakeLists, output: str, capsys: Output
) -> None:
    """Exit code 3, whatever was found."""
    cluster.failures = {call: ClusterError(0, "connection refused") for call in range(2, 99)}
    assert audit(write_policy(""), "-o", output) == 3
    said = capsys.readouterr()
    assert "connection refused" in said.out
    assert "partial" in said.out.lower()
    assert output == "table" or said.err.endswith(" (PARTIAL)\n")


def test_an_interrupt(write_policy: WritePolicy, cluster: FakeLists, capsys: Output) -> None:
    """Ctrl-C: the report of what was seen, exit code 3."""

    def interrupt(_path: str) -> None:
        if len(cluster.calls) == 2:
            raise KeyboardInterrupt

    cluster.before = interrupt
    # The fake is called in a thread; the interrupt comes to the main one.
    cluster_get = cluster.get
    assert callable(cluster_get)
    policy = write_policy("")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "webhook.cluster.pods.Patient._get_once", lambda _self, path, query: cluster_get(path, query)
        )
        assert audit(policy) == 3
    assert "This report is PARTIAL: it was interrupted." in capsys.readouterr().out


def test_swr_away(
    write_policy: WritePolicy, cluster: FakeLists, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code 3: refused only as unknown."""
    monkeypatch.setattr("webhook.audit.answers.PATIENCE_WITH_OUTAGES", 0.0)
    emulator.break_with("status", status=500)
    assert audit(write_policy("")) == 3


@pytest.mark.slow
def test_throttling_in_the_middle_is_waited_for(
    write_policy: WritePolicy, cluster: FakeLists, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SWR's 429 delays an audit and does not spoil it."""
    monkeypatch.setattr("webhook.audit.answers.FIRST_PAUSE", 0.2)
    emulator.break_with("status", match="web", status=429, times=2)
    assert audit(write_policy("")) == 1


def test_no_cluster(write_policy: WritePolicy, tmp_path: Path, capsys: Output) -> None:
    """Exit code 2 and what is missing."""
    assert audit(write_policy(""), "--kubeconfig", str(tmp_path / "none")) == 2
    assert capsys.readouterr().err.startswith("swr-trust: no access to a cluster: ")


def test_the_bar_shows_what_is_done_and_what_is_waited_for() -> None:
    """Pods done of all, images asked, a pause that SWR asks for."""
    with Progress(
        "{task.completed}/{task.total} {task.fields[note]}", console=Console(file=io.StringIO())
    ) as bar:
        shown: Any = BarProgress(bar)
        shown.pods_judged(250, None)
        assert bar.tasks[0].total is None
        shown.pods_judged(250, 750)
        shown.images_asked(64, 3.0)
        assert (bar.tasks[0].completed, bar.tasks[0].total) == (250, 1000)
        assert bar.tasks[0].fields["note"] == "64 images asked, SWR asks for a pause of 3 s"
