"""The alerts use the metrics by which a real API server counts failed webhook calls."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.controlplane import ControlPlane
from tests.monitoring.rules import FILES, WORDS, read_alerts
from tests.support.serving import free_port, make_certificate

PODS = "pods.swr-trust-webhook.monitoring.svc"  # of a namespace that no other test uses
CONFIGURATION = "monitoring"
Samples = dict[str, list[dict[str, str]]]


@pytest.fixture(scope="module")
def counted(control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Samples]:
    """Return the labels of the API server's samples, by metric, after calls that failed both ways."""
    ca = make_certificate(tmp_path_factory.mktemp("nobody")).ca
    for policy in ("Fail", "Ignore"):
        _call_closed_port(control_plane, ca, policy)
    text = control_plane.kubectl("get", "--raw", "/metrics")
    samples: Samples = {}
    # Parsed by hand, because prometheus_client's parser adds a _total to counters that lack it.
    for name, labels in re.findall(r"^(\w+)\{(.*)\} ", text, re.MULTILINE):
        found = dict(re.findall(r'(\w+)="([^"]*)"', labels))
        if found.get("name") == PODS:
            samples.setdefault(name, []).append(found)
    yield samples
    control_plane.kubectl("delete", "validatingwebhookconfiguration", CONFIGURATION)


def _call_closed_port(control_plane: ControlPlane, ca: Path, policy: str) -> None:
    """Create Pods until the API server has called a port on which no process listens."""
    namespace = f"monitoring-{policy.lower()}"
    control_plane.make_namespace(namespace)
    control_plane.register_webhook(
        f"https://127.0.0.1:{free_port()}",
        ca,
        [namespace],
        CONFIGURATION,
        name=PODS,
        failurePolicy=policy,
        timeoutSeconds=1,
    )
    metric = "rejection_count" if policy == "Fail" else "fail_open_count"

    def counted() -> bool:
        control_plane.kubectl(
            "run", "web", "--image=web", "-n", namespace, "--dry-run=server", user="dev", check=False
        )
        wanted = f'^apiserver_admission_webhook_{metric}{{[^}}]*name="{re.escape(PODS)}"'
        return re.search(wanted, control_plane.kubectl("get", "--raw", "/metrics"), re.MULTILINE) is not None

    control_plane.wait_for(f"{metric} of the API server", counted)


def _asked() -> Iterator[tuple[str, str]]:
    dashboard = json.loads((FILES / "dashboard.json").read_text(encoding="utf-8"))
    expressions = [alert["expr"] for alert in read_alerts()]
    expressions += [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", ())]
    for expression in expressions:
        yield from re.findall(r"\b(apiserver_\w+)\{([^}]*)\}", expression)


def test_api_server_has_every_metric_and_label_of_alerts(counted: Samples) -> None:
    """The names of metrics and labels are those of this Kubernetes version."""
    asked = set(_asked())
    assert {name for name, _ in asked} == {
        "apiserver_admission_webhook_admission_duration_seconds_bucket",
        "apiserver_admission_webhook_fail_open_count",
        "apiserver_admission_webhook_rejection_count",
    }
    for name, matchers in asked:
        labels = set(re.findall(r"(\w+)\s*(?:=~|!=|=)", matchers))
        assert counted[name], name
        assert all(labels <= sample.keys() for sample in counted[name]), (name, labels)


def test_failed_calls_are_distinguished_from_denials(counted: Samples) -> None:
    """A call without an answer is not ``no_error``, which is the value for a denial."""
    samples = counted["apiserver_admission_webhook_rejection_count"]
    assert {sample["error_type"] for sample in samples} == {"calling_webhook_error"}


def test_webhook_pattern_of_chart_matches_only_own_webhooks() -> None:
    """Prometheus compares the whole value."""
    assert re.fullmatch(WORDS["__WEBHOOKS__"], "pods.swr-trust-webhook.swr-trust.svc")
    assert re.fullmatch("pods[.].*", PODS)
    assert not re.fullmatch(WORDS["__WEBHOOKS__"], "pods.another.swr-trust.svc")
