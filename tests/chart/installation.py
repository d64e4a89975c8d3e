"""The chart on a real API server: installed by Helm, its container run as a kubelet would run it.

Two missing parts of a cluster are replaced. There is no network of Services: a MutatingAdmissionPolicy turns
the chart's Service into an ``ExternalName`` for localhost. Therefore the webhook configuration is called as
it is rendered, by the Service's name. There is no kubelet: ``Replica`` lays out the volumes of the
Deployment's Pod and runs its container.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import trustme

from tests.chart.rendering import CHART, NAME, find_helm, merged
from tests.controlplane import ControlPlane
from tests.support.serving import COMMAND, ROOT, free_port

HOST: Final = "swr.cn-north-4.myhuaweicloud.com"
TRUSTED: Final = f"{HOST}/shop/web:1.0"
UNTRUSTED: Final = f"{HOST}/shop/web:2.0"

PINNED: Final = f"{TRUSTED}@sha256:{'1' * 64}"
"""The trusted image with the digest that the emulator has for it."""

PINNING: Final[dict[str, Any]] = {"pinning": {"enabled": True}}

IMAGES: Final = "jsonpath={.spec.containers[*].image}"

TEAM: Final = "chart-team"
"""A namespace for which the webhook is called."""

AWAY: Final = 'failed calling webhook "pods.'
REFUSED: Final = f'"{UNTRUSTED}": SWR does not mark this tag as trusted'

CLUSTER_WIDE: Final = (
    "validatingwebhookconfigurations,mutatingwebhookconfigurations,clusterroles,clusterrolebindings"
)
"""The kinds of a release's objects that have no namespace."""

_FOLDER: Final = "/etc/swr-trust"

_LOOPBACK: Final = """\
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingAdmissionPolicy
metadata: {name: loopback-services}
spec:
  failurePolicy: Fail
  reinvocationPolicy: Never
  matchConstraints:
    resourceRules:
      - {apiGroups: [""], apiVersions: [v1], operations: [CREATE, UPDATE], resources: [services]}
  matchConditions:
    - {name: ours, expression: "object.metadata.name.startsWith('swr-trust')"}
  mutations:
    - patchType: JSONPatch
      jsonPatch:
        expression: |-
          [
            JSONPatch{op: "add", path: "/spec/type", value: "ExternalName"},
            JSONPatch{op: "add", path: "/spec/externalName", value: "localhost"}
          ] + (has(object.spec.clusterIP) ? [JSONPatch{op: "remove", path: "/spec/clusterIP"}] : [])
            + (has(object.spec.clusterIPs) ? [JSONPatch{op: "remove", path: "/spec/clusterIPs"}] : [])
---
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingAdmissionPolicyBinding
metadata: {name: loopback-services}
spec: {policyName: loopback-services}
"""


def redirect_services(cluster: ControlPlane) -> None:
    """Send every Service of the chart to the loopback address, and wait until that works.

    No test may install the chart before, because no process listens on an address of the Service network.
    """
    cluster.kubectl("apply", "-f", "-", stdin=_LOOPBACK)
    probe = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "swr-trust-probe", "namespace": "default"},
        "spec": {"ports": [{"port": 1}]},
    }

    def redirected() -> bool:
        made = cluster.kubectl("create", "--dry-run=server", "-o", "json", "-f", "-", stdin=probe)
        return bool(json.loads(made)["spec"]["type"] == "ExternalName")

    cluster.wait_for("Services to lead to the loopback address", redirected)


def run(cluster: ControlPlane, name: str, image: str, *arguments: str, namespace: str = TEAM) -> str:
    """Run ``kubectl run`` and return its output."""
    return cluster.kubectl(
        "run", name, f"--image={image}", "-n", namespace, *arguments, user="dev", check=False
    ).strip()


def wait_until_called(cluster: ControlPlane) -> None:
    """Wait until the API server calls the webhook and its answer is a denial."""
    cluster.wait_for(
        "the webhook to be called", lambda: REFUSED in run(cluster, "probe", UNTRUSTED, "--dry-run=server")
    )


def image_of(cluster: ControlPlane, name: str, image: str = TRUSTED, namespace: str = TEAM) -> str:
    """Return the image with which a Pod would be created."""
    return run(cluster, name, image, "--dry-run=server", "-o", IMAGES, namespace=namespace)


def wait_until_pinned(cluster: ControlPlane) -> None:
    """Wait until the API server calls the mutating webhook, and it pins."""
    cluster.wait_for("images to be pinned", lambda: image_of(cluster, "probe") == PINNED)


def leftovers(cluster: ControlPlane, namespace: str) -> list[str]:
    """Return the remaining objects of a release, in the cluster and in its namespace."""
    names = "roles,rolebindings,secrets,configmaps,services,deployments,poddisruptionbudgets,serviceaccounts"
    label = f"app.kubernetes.io/instance={NAME}"
    return [
        f"{one['kind']}/{one['metadata']['name']}"
        for found in (
            cluster.get(CLUSTER_WIDE, "-l", label),
            cluster.get(names, "-n", namespace, "-l", label),
        )
        for one in found["items"]
    ]


class Release:
    """A release of the chart in a namespace; its remaining objects are deleted when the context ends."""

    def __init__(self, cluster: ControlPlane, namespace: str, port: int) -> None:
        """Set its namespace, and the loopback port to which its Service leads."""
        self.cluster = cluster
        self.namespace = namespace
        self.port = port

    def kubeconfig(self, folder: Path, account: str = NAME) -> Path:
        """Write a kubeconfig with exactly the rights of one of the chart's ServiceAccounts."""
        token = self.cluster.kubectl("create", "token", account, "-n", self.namespace).strip()
        config = json.loads(self.cluster.kubeconfig("admin").read_text(encoding="utf-8"))
        config["users"][0]["user"] = {"token": token}
        path = folder / "service-account.kubeconfig"
        path.write_text(json.dumps(config), encoding="utf-8")
        return path

    def helm(self, *arguments: str, stdin: str = "", check: bool = True) -> str:
        """Run Helm as the administrator; returns its output."""
        done = subprocess.run(
            [str(find_helm()), *arguments, f"--kubeconfig={self.cluster.kubeconfig('admin')}"],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        output = done.stdout + done.stderr
        if check and done.returncode:
            raise AssertionError(f"helm {' '.join(arguments)}: {output}")
        return output

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Remove the release and its cluster-wide objects, because a webhook would disturb other tests."""
        self.helm("uninstall", NAME, f"--namespace={self.namespace}", "--ignore-not-found", check=False)
        self.cluster.kubectl("delete", CLUSTER_WIDE, f"--selector=app.kubernetes.io/instance={NAME}")


class Installation(Release):
    """One release in a namespace of its own, in front of an emulator of SWR."""

    def __init__(
        self, cluster: ControlPlane, namespace: str, endpoint: str, changes: dict[str, Any] | None = None
    ) -> None:
        """Create the namespace and the Secret with the credentials; ``install`` does the rest."""
        super().__init__(cluster, namespace, free_port())
        registry = {"region": "cn-north-4", "endpoint": endpoint, "iamEndpoint": endpoint}
        self.values = merged(
            {
                "policy": {"registries": [registry], "cache": {"trusted": "1s", "refused": "1s"}},
                "credentials": {"kind": "token", "existingSecret": "swr-credentials"},
                "service": {"port": self.port},
            },
            changes or {},
        )
        cluster.make_namespace(namespace)
        self.make_secret("swr-credentials", {"token": "emulator-token"})

    def make_secret(self, name: str, data: dict[str, str], kind: str = "Opaque") -> None:
        """Create or replace a Secret of a type."""
        encoded = {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}
        secret = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": name, "namespace": self.namespace},
            "type": kind,
            "data": encoded,
        }
        self.cluster.kubectl("apply", "-f", "-", stdin=secret)

    def use_certificate(self) -> None:
        """Create a certificate for the Service and provide it as an existing Secret."""
        ca = trustme.CA()
        issued = ca.issue_cert(f"{NAME}.{self.namespace}.svc")
        chain = "".join(blob.bytes().decode() for blob in issued.cert_chain_pems)
        self.make_secret("tls", {"tls.crt": chain, "tls.key": issued.private_key_pem.bytes().decode()})
        bundle = ca.cert_pem.bytes().decode()
        self.values["certificates"] = {
            "mode": "existingSecret",
            "existingSecret": "tls",
            "caBundle": bundle,
        }

    def install(self) -> str:
        """Install, or upgrade, with the current values."""
        return self._with_values("upgrade", "--install", NAME, str(CHART))

    def render(self) -> str:
        """Return the manifests as GitOps tools render them: without the cluster."""
        return self._with_values("template", NAME, str(CHART), "--skip-tests")

    def dry_run(self, changes: dict[str, Any]) -> str:
        """Return Helm's output for an installation with changed values, rendered against the cluster."""
        self.values = merged(self.values, changes)
        return self._with_values("install", NAME, str(CHART), "--dry-run=server", check=False)

    def uninstall(self) -> str:
        """Remove the release."""
        return self.helm("uninstall", NAME, f"--namespace={self.namespace}", "--wait", "--ignore-not-found")

    def _with_values(self, *arguments: str, check: bool = True) -> str:
        values = json.dumps(self.values)
        namespace = f"--namespace={self.namespace}"
        return self.helm(*arguments, namespace, "--values=-", stdin=values, check=check)


class Replica:
    """A Pod of the webhook's Deployment or of another one, run beside the API server."""

    def __init__(
        self, release: Release, folder: Path, name: str = "replica-1", deployment: str = NAME
    ) -> None:
        """Keep all files of the Pod in ``folder``."""
        self._deployment = deployment
        self.port = release.port if deployment == NAME else free_port()
        self._release = release
        self._folder = folder
        self._name = name
        self._log = folder / f"{name}.log"
        self.process: subprocess.Popen[bytes] | None = None

    def mount(self, *names: str) -> None:
        """Write the volumes from the current objects of the cluster, as a kubelet does every minute.

        With ``names``, only these are written: a kubelet does not update all volumes at the same time.
        """
        pod = self._pod()
        for mount in pod["containers"][0]["volumeMounts"]:
            if names and mount["name"] not in names:
                continue
            (volume,) = [one for one in pod["volumes"] if one["name"] == mount["name"]]
            target = Path(self.inside(mount["mountPath"]))
            target.mkdir(parents=True, exist_ok=True)
            files = self._content(volume)
            for key, content in files.items():
                fresh = target / f".{key}"
                fresh.write_bytes(content)
                fresh.replace(target / key)
            for file in target.iterdir():
                if file.is_file() and file.name not in files:
                    file.unlink()

    def start(self) -> None:
        """Run the container with the arguments of the Deployment, on the Service's port."""
        self.mount()
        pod = self._pod()
        container = pod["containers"][0]
        port = container["ports"][0]["containerPort"]
        arguments = [self.inside(argument) for argument in container["args"] if argument != f"--port={port}"]
        command = [*COMMAND, *arguments]
        command += ["--host=127.0.0.1", f"--port={self.port}"]
        fields = {"metadata.name": self._name, "metadata.namespace": self._release.namespace}
        variables = {
            one["name"]: fields[one["valueFrom"]["fieldRef"]["fieldPath"]]
            for one in container["env"]
            if "valueFrom" in one
        }
        # Replaces the token that a kubelet mounts; without the right to one there is no cluster.
        if pod["automountServiceAccountToken"]:
            variables["KUBECONFIG"] = str(self._release.kubeconfig(self._folder, pod["serviceAccountName"]))
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                command, cwd=ROOT, stdout=log, stderr=log, env={**os.environ, **variables}
            )
        self._wait()

    def stop(self) -> int:
        """Stop the process as a kubelet does, and return its exit code."""
        assert self.process is not None
        self.process.terminate()
        code = self.process.wait(30)
        self.process = None
        return code

    def is_ready(self) -> bool:
        """Return whether the process runs."""
        return self.process is not None and self.process.poll() is None

    def logs(self) -> str:
        """Return all output."""
        return self._log.read_text(encoding="utf-8", errors="replace")

    def _wait(self) -> None:
        assert self.process is not None
        ends = time.monotonic() + 30
        sign = '"serving"' if self._deployment == NAME else '"auditing"'
        while sign not in self.logs():
            if self.process.poll() is not None or time.monotonic() > ends:
                raise AssertionError(f"the webhook does not serve:\n{self.logs()}")
            time.sleep(0.05)

    def _pod(self) -> dict[str, Any]:
        deployment = self._release.cluster.get("deployment", self._deployment, "-n", self._release.namespace)
        spec: dict[str, Any] = deployment["spec"]["template"]["spec"]
        return spec

    def inside(self, text: str) -> str:
        """Return a text with the paths of the container as those of its files here."""
        return text.replace(_FOLDER, str(self._folder / "root"))

    def _content(self, volume: dict[str, Any]) -> dict[str, bytes]:
        get, namespace = self._release.cluster.get, self._release.namespace
        if "configMap" in volume:
            found = get("configmap", volume["configMap"]["name"], "-n", namespace)
            return {key: self.inside(text).encode() for key, text in found["data"].items()}
        found = get("secret", volume["secret"]["secretName"], "-n", namespace)
        return {key: base64.b64decode(text) for key, text in found.get("data", {}).items()}

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
