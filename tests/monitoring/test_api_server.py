"""The alerts use the metrics by which a real API server counts failed webhook calls."""

from __future__ import annotations

import base64
import http.server
import json
import re
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.controlplane import ControlPlane
from tests.monitoring.rules import FILES, WORDS, read_alerts
from tests.support.serving import free_port, make_certificate
from tests.support.tls_serving import TlsServer

PODS = "pods.swr-trust-webhook.monitoring.svc"  # of a namespace that no other test uses
PINNING = "pinning.swr-trust-webhook.monitoring.svc"
CONFIGURATION = "monitoring"
Samples = dict[str, list[dict[str, str]]]


class _BadPatch(http.server.BaseHTTPRequestHandler):
    """A mutating webhook whose patch tests a field that a Pod does not have."""

    def do_POST(self) -> None:
        review = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        patch = base64.b64encode(b'[{"op": "test", "path": "/spec/nothing", "value": "x"}]').decode()
        review["response"] = {
            "uid": review["request"]["uid"],
            "allowed": True,
            "patchType": "JSONPatch",
            "patch": patch,
        }
        body = json.dumps(review).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def counted(control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Samples]:
    """Return the labels of the API server's samples, by metric, after calls that failed both ways."""
    ca = make_certificate(tmp_path_factory.mktemp("nobody")).ca
    for policy in ("Fail", "Ignore"):
        _call_closed_port(control_plane, ca, policy)
    yield _samples_of(control_plane, PODS)
    control_plane.kubectl("delete", "validatingwebhookconfiguration", CONFIGURATION)


@pytest.fixture(scope="module")
def counted_pinning(
    control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Samples]:
    """Return the same for a mutating webhook with the policy ``Ignore``: no process listens on its port, then
    its patch cannot be applied.
    """
    certificate = make_certificate(tmp_path_factory.mktemp("patch"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.certificate, certificate.key)
    with TlsServer(_BadPatch, context) as server:
        for namespace, port, metric in (
            ("monitoring-no-patch", free_port(), "fail_open_count"),
            ("monitoring-bad-patch", server.port, "rejection_count"),
        ):
            control_plane.make_namespace(namespace)
            control_plane.register_mutating_webhook(
                f"https://127.0.0.1:{port}",
                certificate.ca,
                [namespace],
                CONFIGURATION,
                name=PINNING,
                timeoutSeconds=1,
            )
            _create_pods_until_counted(control_plane, namespace, metric, PINNING)
    yield _samples_of(control_plane, PINNING)
    control_plane.kubectl("delete", "mutatingwebhookconfiguration", CONFIGURATION)


def _samples_of(control_plane: ControlPlane, webhook: str) -> Samples:
    """Return the labels of the API server's samples about a webhook, by metric."""
    samples: Samples = {}
    # Parsed by hand, because prometheus_client's parser adds a _total to counters that lack it.
    text = control_plane.kubectl("get", "--raw", "/metrics")
    for name, labels in re.findall(r"^(\w+)\{(.*)\} ", text, re.MULTILINE):
        found = dict(re.findall(r'(\w+)="([^"]*)"', labels))
        if found.get("name") == webhook:
            samples.setdefault(name, []).append(found)
    return samples


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
    _create_pods_until_counted(control_plane, namespace, metric, PODS)


def _create_pods_until_counted(
    control_plane: ControlPlane, namespace: str, metric: str, webhook: str
) -> None:
    """Create Pods until a metric of the API server has a sample about a webhook."""
    name = f"apiserver_admission_webhook_{metric}"

    def counted() -> bool:
        control_plane.kubectl(
            "run", "web", "--image=web", "-n", namespace, "--dry-run=server", user="dev", check=False
        )
        return name in _samples_of(control_plane, webhook)

    control_plane.wait_for(f"{metric} of {webhook}", counted)


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


def test_api_server_counts_pinning_by_same_metrics(counted_pinning: Samples) -> None:
    """The alerts on failed calls of /mutate need no other metric or label than those of /validate."""
    for name, matchers in set(_asked()):
        labels = set(re.findall(r"(\w+)\s*(?:=~|!=|=)", matchers))
        assert {sample["type"] for sample in counted_pinning[name]} == {"admit"}, name
        assert all(labels <= sample.keys() for sample in counted_pinning[name]), (name, labels)


def test_patch_that_cannot_be_applied_denies_despite_ignore(counted_pinning: Samples) -> None:
    """SwrTrustCallsFail covers pinning, although a call that fails is ignored."""
    samples = counted_pinning["apiserver_admission_webhook_rejection_count"]
    assert {sample["error_type"] for sample in samples} == {"apiserver_internal_error"}


def test_webhook_pattern_of_chart_matches_only_own_webhooks() -> None:
    """Prometheus compares the whole value."""
    assert re.fullmatch(WORDS["__WEBHOOKS__"], "pods.swr-trust-webhook.swr-trust.svc")
    assert re.fullmatch(WORDS["__WEBHOOKS__"], "pinning.swr-trust-webhook.swr-trust.svc")
    assert re.fullmatch("pods[.].*", PODS)
    assert re.fullmatch("pinning[.].*", PINNING)
    assert not re.fullmatch(WORDS["__WEBHOOKS__"], "pods.another.swr-trust.svc")
