"""A cluster whose API server calls ``/mutate`` and ``/validate``, for the tests of pinning."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.controlplane import WEBHOOK, ControlPlane
from tests.emulator.server import Emulator
from tests.support.serving import ServerProcess, make_certificate

HOST = "swr.cn-north-4.myhuaweicloud.com"
WEB, API = f"{HOST}/shop/web:1.0", f"{HOST}/shop/api:1.4"
PINNED_WEB, PINNED_API = f"{WEB}@sha256:{'1' * 64}", f"{API}@sha256:{'3' * 64}"
UNTRUSTED = f"{HOST}/shop/web:2.0"

POLICY = "pinDigests: true\n"
SHORT_CACHE = "cache: {trusted: 1s, refused: 1s, pinned: 1s}\n"
EXPIRY = 1.2
"""Seconds after which no answer is cached under ``SHORT_CACHE``."""

DENIED = (
    f'Error from server (Forbidden): admission webhook "{WEBHOOK}" denied the request: '
    "denied by image trust policy: "
)


def digest(character: str) -> str:
    """Return the digest of 64 times this character."""
    return f"sha256:{character * 64}"


def untrusted(image: str, field: str = "spec.containers[0].image") -> str:
    """Return the whole denial of an untrusted image."""
    return (
        f'{DENIED}{field} "{image}": SWR does not mark this tag as trusted. '
        "Mark this tag as trusted in SWR, or use a tag that already is."
    )


@dataclass
class PinningCluster:
    """One server process behind both webhooks of a namespace, and the emulator behind it."""

    cluster: ControlPlane
    server: ServerProcess
    emulator: Emulator
    namespace: str

    def kubectl(self, *arguments: str, stdin: Any = None, namespace: str = "", user: str = "dev") -> str:
        """Run kubectl in the namespace, and return its output even if it fails."""
        where = f"--namespace={namespace or self.namespace}"
        return self.cluster.kubectl(*arguments, where, stdin=stdin, user=user, check=False).strip()

    def run(self, name: str, image: str, *arguments: str, namespace: str = "", user: str = "dev") -> str:
        """Create a Pod of one image with ``kubectl run`` and return the output."""
        return self.kubectl("run", name, f"--image={image}", *arguments, namespace=namespace, user=user)

    def create(self, name: str, **spec: Any) -> str:
        """Create a Pod of this spec; its container ``main`` is trusted unless the spec has containers."""
        return self.kubectl("create", "--filename=-", stdin=pod(name, **spec))

    def get(self, *arguments: str, namespace: str = "") -> Any:
        """Return objects of the namespace."""
        return self.cluster.get(*arguments, "-n", namespace or self.namespace)

    def image(self, name: str, namespace: str = "") -> str:
        """Return the image of a Pod's first container."""
        found: str = self.get("pod", name, namespace=namespace)["spec"]["containers"][0]["image"]
        return found

    def push(self, image: str, character: str, *, is_trusted: bool = True) -> str:
        """Push a tag of a digest to SWR; return the image, pinned."""
        self.emulator.state.set_tag(
            image.removeprefix(f"{HOST}/"), is_trusted=is_trusted, digest=digest(character)
        )
        return f"{image}@{digest(character)}"

    def wait_for(self, what: str, metric: str, value: float, **labels: str) -> None:
        """Wait until a metric has this value; it is counted after the response."""
        self.cluster.wait_for(what, lambda: self.server.metric(metric, **labels) >= value, seconds=20)
        assert self.server.metric(metric, **labels) == value


def pod(name: str, image: str = WEB, **spec: Any) -> dict[str, Any]:
    """Return the manifest of a Pod."""
    spec = {"containers": [{"name": "main", "image": image}], **spec}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}


@contextmanager
def pinning_cluster(
    control_plane: ControlPlane,
    folder: Path,
    namespace: str,
    policy: str = POLICY,
    arguments: tuple[str, ...] = (),
    environment: dict[str, str] | None = None,
) -> Iterator[PinningCluster]:
    """Create a namespace whose Pods are sent to a new server process, and wait until they are."""
    certificate = make_certificate(folder)
    control_plane.make_namespace(namespace)
    with (
        Emulator() as emulator,
        ServerProcess(folder, emulator.url, certificate, policy, arguments, environment) as server,
        registered(control_plane, server, server, namespace),
    ):
        yield PinningCluster(control_plane, server, emulator, namespace)
    # Audits of other tests read the Pods of all namespaces.
    control_plane.kubectl("delete", "namespace", namespace)


@contextmanager
def registered(
    control_plane: ControlPlane, mutating: ServerProcess, validating: ServerProcess, *namespaces: str
) -> Iterator[None]:
    """Register the webhooks of namespaces, under a name in the middle of the alphabet, until the end."""
    configuration = f"pinning-{namespaces[0]}"
    control_plane.register_mutating_webhook(
        mutating.url,
        mutating.certificate.ca,
        [*namespaces],
        configuration,
        sideEffects="NoneOnDryRun",
    )
    control_plane.register_webhook(
        validating.url,
        validating.certificate.ca,
        [*namespaces],
        configuration,
        sideEffects="NoneOnDryRun",
    )
    try:
        control_plane.wait_for(
            "/mutate to be called", lambda: "@sha256:" in _try(control_plane, namespaces[0], WEB)
        )
        control_plane.wait_for(
            "/validate to be called", lambda: "denied" in _try(control_plane, namespaces[0], UNTRUSTED)
        )
        yield
    finally:
        for kind in ("Mutating", "Validating"):
            control_plane.kubectl("delete", f"{kind}WebhookConfiguration", configuration)


def _try(control_plane: ControlPlane, namespace: str, image: str) -> str:
    how = ("create", "--dry-run=server", "--output=json", "--filename=-", "-n", namespace)
    return control_plane.kubectl(*how, stdin=json.dumps(pod("probe", image)), check=False)
