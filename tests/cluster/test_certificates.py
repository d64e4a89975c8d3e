"""The managed certificate of the webhook, which a real API server calls through its Service."""

from __future__ import annotations

import base64
import datetime as dt
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Self

import pytest

from tests.controlplane import ControlPlane
from tests.emulator.server import Emulator
from tests.support.serving import Certificate, ServerProcess
from webhook.cluster.ca import issue
from webhook.cluster.certificates import ManagedCertificateOptions, trust_patch
from webhook.cluster.client import connect
from webhook.cluster.secrets import SharedSecret

HOME = "swr-trust"
NAMESPACE = "managed"
SERVICE = "gate"
SECRET = "gate-tls"
CONFIGURATION = "managed-gate"
HOST = "swr.cn-north-4.myhuaweicloud.com"


class ManagedServer(ServerProcess):
    """``swr-trust serve`` with a certificate that it keeps in the cluster."""

    def __init__(self, folder: Path, endpoint: str, kubeconfig: Path) -> None:
        nothing = Certificate(folder / "none", folder / "none", folder / "ca.crt")
        super().__init__(folder, endpoint, nothing, environment={"KUBECONFIG": str(kubeconfig)})

    def certificate_arguments(self) -> list[str]:
        return [
            f"--cert-secret={HOME}/{SECRET}",
            f"--service={SERVICE}",
            f"--webhook-configuration={CONFIGURATION}",
        ]

    def get(self, path: str) -> tuple[int, bytes]:
        """Send a GET without verifying the certificate, as a kubelet does."""
        import http.client
        import ssl

        context = ssl._create_unverified_context()
        connection = http.client.HTTPSConnection("127.0.0.1", self.port, context=context, timeout=5)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()


def install(cluster: ControlPlane, port: int) -> None:
    """Create the chart's objects: the Service (here a name for this machine) and the configuration."""
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": SERVICE, "namespace": HOME},
        "spec": {"type": "ExternalName", "externalName": "localhost", "ports": [{"port": port}]},
    }
    webhook = {
        "name": "pods.gate.swr-trust.svc",
        "clientConfig": {
            "service": {"namespace": HOME, "name": SERVICE, "path": "/validate", "port": port},
        },
        "rules": [
            {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}
        ],
        "admissionReviewVersions": ["v1"],
        "sideEffects": "None",
        "failurePolicy": "Fail",
        "timeoutSeconds": 5,
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": NAMESPACE}},
    }
    configuration = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": CONFIGURATION},
        "webhooks": [webhook],
    }
    cluster.kubectl(
        "apply", "-f", "-", stdin={"apiVersion": "v1", "kind": "List", "items": [service, configuration]}
    )


@pytest.fixture(scope="module")
def cluster(control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """Return a control plane that calls two replicas, which have just created their certificate."""
    control_plane.make_namespace(HOME)
    control_plane.make_namespace(NAMESPACE)
    folders = [tmp_path_factory.mktemp("one"), tmp_path_factory.mktemp("two")]
    with Emulator() as emulator:
        config = control_plane.kubeconfig("admin")
        first, second = (ManagedServer(folder, emulator.url, config) for folder in folders)
        install(control_plane, first.port)
        with first, second:
            refused = lambda: "denied by image trust policy" in run(control_plane, "probe", "nginx")  # noqa: E731
            control_plane.wait_for("the webhook to be called", refused)
            yield control_plane
        control_plane.kubectl("delete", "validatingwebhookconfiguration", CONFIGURATION)


def run(cluster: ControlPlane, name: str, image: str) -> str:
    """Run ``kubectl run --dry-run=server``, which calls the webhook; return its output."""
    return cluster.kubectl(
        "run", name, f"--image={image}", "-n", NAMESPACE, "--dry-run=server", check=False
    ).strip()


def bundle(cluster: ControlPlane) -> bytes:
    """Return the CAs that the API server trusts."""
    configuration = cluster.get("validatingwebhookconfiguration", CONFIGURATION)
    return base64.b64decode(configuration["webhooks"][0]["clientConfig"].get("caBundle", ""))


class Stream:
    """Creates Pods one after another during another action."""

    def __init__(self, cluster: ControlPlane) -> None:
        self._cluster = cluster
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._create)
        self.answers: list[str] = []

    def _create(self) -> None:
        while not self._stop.is_set():
            self.answers.append(run(self._cluster, "stream", f"{HOST}/shop/web:1.0"))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        # Create a few more, so that late effects are seen, too.
        time.sleep(0.5)
        self._stop.set()
        self._thread.join(60)


def test_untrusted_pod_is_denied_through_service(cluster: ControlPlane) -> None:
    """Only names were configured, and no certificate was made by hand."""
    assert "SWR does not mark this tag as trusted" in run(cluster, "untrusted", f"{HOST}/shop/web:2.0")
    assert run(cluster, "trusted", f"{HOST}/shop/web:1.0").startswith("pod/trusted created")


def test_removed_ca_bundle_is_restored_within_five_seconds(cluster: ControlPlane) -> None:
    """This happens after ``kubectl replace``, or a sync without the bundle."""
    before = bundle(cluster)
    change = '[{"op":"remove","path":"/webhooks/0/clientConfig/caBundle"}]'
    cluster.kubectl(
        "patch", "validatingwebhookconfiguration", CONFIGURATION, "--type=json", f"--patch={change}"
    )
    cluster.wait_for("the bundle", lambda: bundle(cluster) == before, seconds=5)
    cluster.wait_for("admission", lambda: "created" in run(cluster, "mended", f"{HOST}/shop/web:1.0"), 5)


def test_admissions_succeed_during_certificate_renewal(cluster: ControlPlane) -> None:
    """A certificate that expires in 25 days is replaced without a failed call."""
    secret = SharedSecret(connect(str(cluster.kubeconfig("admin"))), HOME, SECRET)
    names = ManagedCertificateOptions(HOME, SECRET, SERVICE, CONFIGURATION).names
    aged = issue(names, dt.datetime.now(dt.UTC) - dt.timedelta(days=65))
    aged = replace(aged, bundle=aged.bundle + secret.read().data["ca.crt"])
    path = f"/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/{CONFIGURATION}"
    api = connect(str(cluster.kubeconfig("admin")))
    with Stream(cluster) as stream:
        # First trusted, as a replica does it, and served a moment later.
        api.patch(path, trust_patch(api.get(path)["webhooks"], aged.bundle))
        time.sleep(1)
        assert secret.write(secret.read(), aged.data)
        cluster.wait_for("another certificate", lambda: secret.read().data["tls.crt"] != aged.leaf)
        time.sleep(3)
    assert bundle(cluster) == secret.read().data["ca.crt"] == aged.bundle
    assert len(stream.answers) > 3
    assert set(stream.answers) == {"pod/stream created (server dry run)"}


def test_admissions_succeed_after_secret_deletion(cluster: ControlPlane) -> None:
    """A replica writes it again from memory."""
    before = cluster.get("secret", SECRET, "-n", HOME)["data"]
    with Stream(cluster) as stream:
        cluster.kubectl("delete", "secret", SECRET, "-n", HOME)
        cluster.wait_for(
            "the Secret", lambda: SECRET in cluster.kubectl("get", "secret", "-n", HOME, check=False)
        )
    assert cluster.get("secret", SECRET, "-n", HOME)["data"] == before
    assert set(stream.answers) == {"pod/stream created (server dry run)"}
