"""A real Kubernetes control plane on the loopback address: etcd, API server, controllers.

The folder is that of controller-runtime's envtest: ``KUBEBUILDER_ASSETS``. There is no kubelet, so Pods stay
pending, which is sufficient for admission.
"""

from __future__ import annotations

import base64
import json
import os
import signal
import ssl
import subprocess
import time
import urllib.request
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.support.private_cas import ACCEPTED
from tests.support.serving import ROOT, free_port

USERS = {
    "admin": ("system:masters",),
    "dev": ("devs", "system:masters"),
    "oncall": ("platform-oncall", "system:masters"),
    "gate": ("gates",),
}
"""Users by name, with their groups; the token of each is ``<name>-token``. ``gate`` has no rights except
those that a test has granted.
"""

WEBHOOK = "swr-trust.test.example.com"

PINNING = f"pinning.{WEBHOOK}"
"""The mutating webhook."""

PINNING_COMPONENT = ROOT / "deploy" / "components" / "pinning" / "mutatingwebhookconfiguration.yaml"
"""The mutating webhook configuration that the chart renders."""

CRDS = ROOT / "tests" / "data" / "crds"
"""The custom resources of policy reports, installed in every control plane."""

_AUDIT_POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [
        {"level": "None", "userGroups": ["system:serviceaccounts:kube-system"]},
        {"level": "Metadata", "userGroups": ["system:serviceaccounts", "gates"]},
        {"level": "None"},
    ],
}
"""Records the requests of users that have only the rights that a test grants, to show which of them they use.
"""


class ControlPlane:
    """Runs while its context is entered; ends only its own processes."""

    def __init__(self, assets: Path, folder: Path) -> None:
        """Take the binaries from ``assets``; keep everything in ``folder``."""
        self._assets = assets
        self._folder = folder
        self._ca = folder / "ca.crt"
        self._processes: list[tuple[str, subprocess.Popen[bytes]]] = []
        self.port = free_port()
        self.url = f"https://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start all processes and wait until the API server answers."""
        etcd, peer = f"http://127.0.0.1:{free_port()}", f"http://127.0.0.1:{free_port()}"
        key, tokens = self._write_key(), self._write_tokens()
        (self._folder / "audit.yaml").write_text(json.dumps(_AUDIT_POLICY), encoding="utf-8")
        # Fault A5: kubectl accepts this CA, and so must every part that is tested here.
        site = ACCEPTED["CA with nothing but CA:TRUE"]()
        self._ca.write_bytes(site.trusted)
        (self._folder / "apiserver.crt").write_bytes(site.chain)
        (self._folder / "apiserver.key").write_bytes(site.key)
        self._run(
            "etcd",
            f"--data-dir={self._folder}/etcd --listen-client-urls={etcd} --advertise-client-urls={etcd} "
            f"--listen-peer-urls={peer} --initial-advertise-peer-urls={peer} "
            f"--initial-cluster=default={peer} --unsafe-no-fsync",
        )
        self._run(
            "kube-apiserver",
            f"--etcd-servers={etcd} --secure-port={self.port} --bind-address=127.0.0.1 "
            f"--tls-cert-file={self._folder}/apiserver.crt --tls-private-key-file={self._folder}/apiserver.key "
            f"--cert-dir={self._folder}/certs --service-cluster-ip-range=10.96.0.0/16 "
            f"--service-account-key-file={key} --service-account-signing-key-file={key} "
            "--service-account-issuer=https://kubernetes.default.svc "
            f"--token-auth-file={tokens} --authorization-mode=Node,RBAC "
            f"--audit-policy-file={self._folder}/audit.yaml --audit-log-path={self._folder}/audit.log "
            "--disable-admission-plugins=ServiceAccount --allow-privileged=true",
        )
        self.wait_for("the API server", lambda: self.read("/readyz") == b"ok")
        # Before the controllers: garbage collection would discover them up to 30 seconds later.
        self.kubectl("apply", *(f"--filename={path}" for path in sorted(CRDS.glob("*.yaml"))))
        self.kubectl("wait", "crd", "--all", "--for=condition=Established")
        self._run(
            "kube-controller-manager",
            f"--kubeconfig={self.kubeconfig('admin')} --leader-elect=false "
            f"--service-account-private-key-file={key} --use-service-account-credentials=true "
            f"--controllers=*,-node-ipam-controller --secure-port={free_port()} --bind-address=127.0.0.1",
        )
        self.wait_for("the default ServiceAccount", lambda: bool(self.read("/api/v1/namespaces/default")))
        for path in CRDS.glob("*.yaml"):
            definition = yaml.safe_load(path.read_text(encoding="utf-8"))
            self.wait_for("the custom resources", partial(self.serves, definition))

    def stop(self) -> None:
        """End all processes, the API server before its store."""
        for _, process in reversed(self._processes):
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def kubectl(self, *arguments: str, user: str = "admin", stdin: Any = None, check: bool = True) -> str:
        """Run kubectl as ``user``; ``stdin`` may be an object. Returns its output, including errors."""
        text = stdin if isinstance(stdin, str) or stdin is None else json.dumps(stdin)
        done = subprocess.run(
            [str(self._assets / "kubectl"), f"--kubeconfig={self.kubeconfig(user)}", *arguments],
            input=text,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env={**os.environ, "HOME": str(self._folder)},
        )
        output = done.stdout + done.stderr
        if check and done.returncode:
            raise AssertionError(f"kubectl {' '.join(arguments)}: {output}")
        return output

    def get(self, *arguments: str) -> Any:
        """Return the result of ``kubectl get ... -o json``."""
        return json.loads(self.kubectl("get", *arguments, "-o", "json"))

    def read(self, path: str) -> bytes:
        """Return the answer of the API server to a GET by the administrator."""
        return self._api(path)

    def serves(self, definition: dict[str, Any]) -> bool:
        """Return whether a custom resource is discovered and listed. A new one is answered with 429 for a
        moment.
        """
        spec = definition["spec"]
        path, plural = f"/apis/{spec['group']}/{spec['versions'][0]['name']}", spec["names"]["plural"]
        try:
            discovered = json.loads(self.read(path))["resources"]
            self.read(f"{path}/{plural}")
        except OSError:
            return False
        return any(resource["name"] == plural for resource in discovered)

    def requests(self, user: str) -> list[dict[str, Any]]:
        """Return the API server's record of the requests of ``user``, a ServiceAccount or ``gate``."""
        lines = (self._folder / "audit.log").read_text(encoding="utf-8").splitlines()
        return [event for event in map(json.loads, lines) if event["user"]["username"] == user]

    def may(
        self, user: str, verb: str, resource: str, group: str = "", name: str = "", namespace: str = ""
    ) -> bool:
        """Return whether a user or ServiceAccount has a right; without ``namespace`` in all of them."""
        asked = {"verb": verb, "resource": resource, "group": group, "name": name, "namespace": namespace}
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SubjectAccessReview",
            "spec": {"user": user, "groups": list(USERS.get(user, ())), "resourceAttributes": asked},
        }
        answer = json.loads(self._api("/apis/authorization.k8s.io/v1/subjectaccessreviews", review))
        return bool(answer["status"]["allowed"])

    def kubeconfig(self, user: str) -> Path:
        """Return the path of a user's kubeconfig."""
        path = self._folder / f"{user}.kubeconfig"
        if not path.exists():
            cluster = {"server": self.url, "certificate-authority": str(self._ca)}
            config = {
                "apiVersion": "v1",
                "kind": "Config",
                "clusters": [{"name": "c", "cluster": cluster}],
                "users": [{"name": user, "user": {"token": f"{user}-token"}}],
                "contexts": [{"name": "c", "context": {"cluster": "c", "user": user}}],
                "current-context": "c",
            }
            path.write_text(json.dumps(config), encoding="utf-8")
        return path

    def grant(self, user: str, namespace: str, rules: list[dict[str, Any]], *, cluster: bool = False) -> None:
        """Grant exactly these rules to a user, in a namespace or in the whole cluster."""
        kind = "ClusterRole" if cluster else "Role"
        meta = {"name": f"grant-{user}"} | ({} if cluster else {"namespace": namespace})
        api = "rbac.authorization.k8s.io/v1"
        role = {"apiVersion": api, "kind": kind, "metadata": meta, "rules": rules}
        binding = {
            "apiVersion": api,
            "kind": f"{kind}Binding",
            "metadata": meta,
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": f"grant-{user}"},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}],
        }
        self.kubectl("apply", "-f", "-", stdin={"apiVersion": "v1", "kind": "List", "items": [role, binding]})

    def make_namespace(self, name: str) -> None:
        """Create a namespace and wait until Pods can be created in it."""
        self.kubectl("create", "namespace", name)

    def register_webhook(
        self,
        url: str,
        ca: Path,
        namespaces: list[str],
        configuration: str = "swr-trust",
        **changes: Any,
    ) -> None:
        """Register a validating webhook for Pods in ``namespaces``."""
        webhook = {
            "name": WEBHOOK,
            "clientConfig": _client_config(f"{url}/validate", ca),
            "rules": [_rule(["CREATE", "UPDATE"], "pods", "pods/ephemeralcontainers")],
            "failurePolicy": "Fail",
            **_common_settings(namespaces),
            **changes,
        }
        self._register("Validating", configuration, webhook)

    def register_mutating_webhook(
        self,
        url: str,
        ca: Path,
        namespaces: list[str],
        configuration: str = "swr-trust",
        **changes: Any,
    ) -> None:
        """Register a mutating webhook that pins the images of Pods in ``namespaces``."""
        webhook = {
            "name": PINNING,
            "clientConfig": _client_config(f"{url}/mutate", ca),
            "rules": [_rule(["CREATE", "UPDATE"], "pods"), _rule(["UPDATE"], "pods/ephemeralcontainers")],
            "failurePolicy": "Ignore",
            "reinvocationPolicy": "IfNeeded",
            "matchConditions": [brings_in_images()],
            **_common_settings(namespaces),
            **changes,
        }
        self._register("Mutating", configuration, webhook)

    def _register(self, kind: str, configuration: str, webhook: dict[str, Any]) -> None:
        obj = {
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": f"{kind}WebhookConfiguration",
            "metadata": {"name": configuration},
            "webhooks": [webhook],
        }
        self.kubectl("apply", "-f", "-", stdin=obj)

    def remove_webhook(self) -> None:
        """Remove the webhook again."""
        self.kubectl("delete", "validatingwebhookconfiguration", "swr-trust", "--ignore-not-found")

    def wait_for(self, what: str, check: Callable[[], object], seconds: float = 150.0) -> None:
        """Wait until ``check`` returns something true.

        A slow machine needs a minute for what takes seconds, since many checks start kubectl.
        """
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            for name, process in self._processes:
                if process.poll() is not None:
                    raise AssertionError(f"{name} ended:\n{self._log(name)[-3000:]}")
            began = time.monotonic()
            try:
                if check():
                    return
            except OSError:
                pass
            # A check may start kubectl, whose start costs other tests the processor.
            time.sleep(max(0.1, 2 * (time.monotonic() - began)))
        logs = "\n".join(f"{name}:\n{self._log(name)[-2000:]}" for name, _ in self._processes)
        raise AssertionError(f"waited {seconds:.0f} s for {what} in vain\n{logs}")

    def _api(self, path: str, body: object = None) -> bytes:
        headers = {"Authorization": "Bearer admin-token", "Content-Type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, headers)
        context = ssl._create_unverified_context()
        with urllib.request.urlopen(request, timeout=5, context=context) as response:
            content: bytes = response.read()
            return content

    def _run(self, name: str, arguments: str) -> None:
        with (self._folder / f"{name}.log").open("wb") as log:
            command = [str(self._assets / name), *arguments.split()]
            process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self._folder)
        self._processes.append((name, process))

    def _log(self, name: str) -> str:
        return (self._folder / f"{name}.log").read_text(encoding="utf-8", errors="replace")

    def _write_key(self) -> Path:
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        path = self._folder / "service-account.key"
        path.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.TraditionalOpenSSL,
                serialization.NoEncryption(),
            )
        )
        return path

    def _write_tokens(self) -> Path:
        path = self._folder / "tokens.csv"
        lines = [f'{name}-token,{name},{name},"{",".join(groups)}"' for name, groups in USERS.items()]
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return path

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def brings_in_images() -> dict[str, str]:
    """Return the condition of the chart that skips updates without a new image."""
    (webhook,) = yaml.safe_load(PINNING_COMPONENT.read_text(encoding="utf-8"))["webhooks"]
    (condition,) = (one for one in webhook["matchConditions"] if one["name"] == "brings-in-images")
    return {key: str(value) for key, value in condition.items()}


def _client_config(url: str, ca: Path) -> dict[str, str]:
    return {"url": url, "caBundle": base64.b64encode(ca.read_bytes()).decode()}


def _rule(operations: list[str], *resources: str) -> dict[str, list[str]]:
    return {"apiGroups": [""], "apiVersions": ["v1"], "operations": operations, "resources": [*resources]}


def _common_settings(namespaces: list[str]) -> dict[str, Any]:
    selector = {"key": "kubernetes.io/metadata.name", "operator": "In", "values": namespaces}
    return {
        "admissionReviewVersions": ["v1"],
        "sideEffects": "None",
        "timeoutSeconds": 10,
        "namespaceSelector": {"matchExpressions": [selector]},
    }
