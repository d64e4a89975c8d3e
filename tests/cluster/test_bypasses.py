"""Bypasses that only a real API server can show to be closed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.controlplane import ControlPlane
from tests.emulator.server import Emulator
from tests.support.serving import ServerProcess, make_certificate

HOST = "swr.cn-north-4.myhuaweicloud.com"
TRUSTED, UNTRUSTED = f"{HOST}/shop/web:1.0", f"{HOST}/shop/web:2.0"
NAMESPACE = "bypasses"
LENIENT = "bypasses-lenient"
"""A namespace whose webhook has the failure policy ``Ignore``: every failed call admits."""

POLICY = """\
mode: audit
rules:
  - {name: here, namespaces: [bypasses*], images: ["**"], mode: enforce}
breakGlass: {groups: [platform-oncall]}
"""


@pytest.fixture(scope="module")
def emulator() -> Iterator[Emulator]:
    """Return one emulator for all tests of the module."""
    with Emulator() as running:
        yield running


@pytest.fixture(scope="module")
def cluster(
    control_plane: ControlPlane, emulator: Emulator, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ControlPlane]:
    """Return a control plane in which a rule enforces trust for the Pods of one namespace."""
    folder = tmp_path_factory.mktemp("bypasses")
    certificate = make_certificate(folder)
    with ServerProcess(folder, emulator.url, certificate, POLICY) as running:
        control_plane.make_namespace(NAMESPACE)
        control_plane.register_webhook(running.url, certificate.ca, [NAMESPACE])
        control_plane.wait_for(
            "the webhook to be called", lambda: "denied" in create(control_plane, UNTRUSTED)
        )
        control_plane.make_namespace(LENIENT)
        control_plane.register_webhook(
            running.url, certificate.ca, [LENIENT], "lenient", failurePolicy="Ignore"
        )
        control_plane.wait_for(
            "the lenient webhook to be called",
            lambda: "denied" in create(control_plane, UNTRUSTED, metadata={"namespace": LENIENT}),
        )
        yield control_plane
        control_plane.remove_webhook()
        control_plane.kubectl("delete", "validatingwebhookconfiguration", "lenient")


def create(cluster: ControlPlane, image: str, user: str = "admin", dry: bool = True, **changes: Any) -> str:
    """Create a Pod, by default as a dry run, and return kubectl's output."""
    metadata = {"name": "web", "namespace": NAMESPACE, **changes.pop("metadata", {})}
    spec = {"containers": [{"name": "main", "image": image}], **changes}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
    how = ["--dry-run=server"] if dry else []
    return cluster.kubectl("create", "-f", "-", *how, stdin=pod, user=user, check=False).strip()


OWNER = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "real", "uid": "1-2", "controller": True}
CLAIMS: list[tuple[str, dict[str, Any]]] = [
    ("an owner", {"ownerReferences": [OWNER]}),
    ("no owner", {"ownerReferences": []}),
    ("a result", {"annotations": {"swr-trust/verified": "true"}}),
    ("a label", {"labels": {"swr-trust/ignore": "true"}}),
    ("a mirror", {"annotations": {"kubernetes.io/config.mirror": "x"}}),
    ("a broken glass", {"annotations": {"swr-trust/break-glass": "please"}}),
    ("its end", {"deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": ["example.com/held"]}),
]


@pytest.mark.parametrize("metadata", [case[1] for case in CLAIMS], ids=[case[0] for case in CLAIMS])
def test_pod_metadata_does_not_bypass_policy(cluster: ControlPlane, metadata: dict[str, Any]) -> None:
    """This holds for every author, including an administrator (T09, T13, T14, T16, T17, T18)."""
    assert "denied by image trust policy" in create(cluster, UNTRUSTED, metadata=metadata, nodeName="n1")


IMAGES = [
    f"{HOST}.evil.io/shop/web:1.0",
    f"evil.io/{HOST}/shop/web:1.0",
    f"{HOST}:443/shop/web:1.0",
    f"{HOST}/shop/web:1.0@sha256:{'2' * 64}",
    f"{HOST}/shop/web@sha256:{'1' * 64}",
    f"{HOST}/shop/web@sha512:{'1' * 128}",
    f"sha256:{'1' * 64}",
    "1" * 64,
    f"https://{TRUSTED}",
    f"{HOST}/shop/../web:1.0",
    f"{HOST}/shop/web:1.0#",
    f"{HOST}/shop/WEB:1.0",
    f"{HOST}/shop/wеb:1.0",  # noqa: RUF001 - a Cyrillic letter is the point
    f"{HOST}/shop\u200b/web:1.0",
    f"{HOST}/shop/web:1.0\u00a0",
    "auto",
    "Docker.io/nginx",
]


@pytest.mark.parametrize("image", IMAGES, ids=ascii)
def test_image_spelling_does_not_bypass_policy(cluster: ControlPlane, image: str) -> None:
    """Every spelling that the API server accepts is denied, also if only a rule enforces (T19 to T26)."""
    output = create(cluster, image)
    assert "denied by image trust policy" in output or "is invalid" in output


def test_namespace_labels_do_not_bypass_policy(cluster: ControlPlane) -> None:
    """Its labels change nothing (T45)."""
    cluster.kubectl("label", "namespace", NAMESPACE, "swr-trust/ignore=true", "--overwrite")
    assert "denied by image trust policy" in create(cluster, UNTRUSTED)


def test_terminating_pod_is_denied_new_image_and_can_be_removed(
    cluster: ControlPlane, emulator: Emulator
) -> None:
    """Its tag is no longer trusted: the finalizer can be removed, the image cannot be changed (T07, T09)."""
    emulator.state.set_tag("shop/held:1", is_trusted=True)
    created = create(
        cluster,
        f"{HOST}/shop/held:1",
        dry=False,
        metadata={"name": "held", "finalizers": ["example.com/held"]},
    )
    assert created == "pod/held created"
    emulator.state.set_tag("shop/held:1", is_trusted=False)
    cluster.kubectl("delete", "pod", "held", "-n", NAMESPACE, "--wait=false")
    image = [{"op": "replace", "path": "/spec/containers/0/image", "value": UNTRUSTED}]
    refused = patch(cluster, "held", image)
    assert f'spec.containers[0].image "{UNTRUSTED}": SWR does not mark' in refused
    assert "patched" in patch(cluster, "held", [{"op": "remove", "path": "/metadata/finalizers"}])
    cluster.wait_for(
        "the end", lambda: "NotFound" in cluster.kubectl("get", "pod", "held", "-n", NAMESPACE, check=False)
    )


def patch(cluster: ControlPlane, name: str, changes: list[dict[str, Any]]) -> str:
    """Patch a Pod and return kubectl's output."""
    return cluster.kubectl(
        "patch", "pod", name, "-n", NAMESPACE, "--type=json", f"--patch={json.dumps(changes)}", check=False
    )


def test_untrusted_deployment_scaled_from_zero_gets_no_pods(cluster: ControlPlane) -> None:
    """It is created and scaled, and its Pods are denied (T10, T15)."""
    cluster.kubectl("create", "deployment", "empty", f"--image={UNTRUSTED}", "--replicas=0", "-n", NAMESPACE)
    cluster.kubectl("scale", "deployment", "empty", "--replicas=5", "-n", NAMESPACE)
    expected = f'denied by image trust policy: spec.containers[0].image "{UNTRUSTED}": SWR does not mark'

    def refused() -> bool:
        events = cluster.get("events", "-n", NAMESPACE, "--field-selector", "reason=FailedCreate")
        return any(expected in event["message"] for event in events["items"])

    cluster.wait_for("the refusal", refused)
    assert cluster.get("pods", "-n", NAMESPACE, "-l", "app=empty")["items"] == []


BROKEN = [
    ("deep", "", '{"f:a":' * 300 + "{}" + "}" * 300),
    ("deeper", "", '{"f:a":' * 1500 + "{}" + "}" * 1500),
    ("deepest", "", '{"f:a":' * 9000 + "{}" + "}" * 9000),
    ("half a character", "\ud800", "{}"),
    ("half a key", "", r'{"f:\ud800":{}}'),
    ("half a value", "", r'{"v:\"\ud800\"":{}}'),
    ("half a member", "", r'{"k:{\"a\":\"\ud800\"}":{".":{}}}'),
    ("nothing", "a\0b", r'{"f:\u0000":{}}'),
    ("a number", "", r'{"v:1e400":{},"i:99999999999999":{}}'),
    ("large", "<" * 1_000_000, "{}"),
    ("larger", "<" * 1_300_000, "{}"),
    ("largest", "<" * 2_900_000, "{}"),
]


@pytest.mark.parametrize(
    ("argument", "fields"), [case[1:] for case in BROKEN], ids=[case[0] for case in BROKEN]
)
def test_unusual_object_does_not_break_call(cluster: ControlPlane, argument: str, fields: str) -> None:
    """With the failure policy ``Ignore``, a failed call would admit it (T12, T43, T44)."""
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": "broken",
            "namespace": LENIENT,
            "managedFields": [
                {"manager": "x", "operation": "Update", "apiVersion": "v1", "fieldsType": "FieldsV1"}
            ],
        },
        "spec": {"containers": [{"name": "main", "image": UNTRUSTED, "args": [argument]}]},
    }
    text = json.dumps(pod).replace('"FieldsV1"', f'"FieldsV1", "fieldsV1": {fields}')
    path = f"/api/v1/namespaces/{LENIENT}/pods"
    output = cluster.kubectl("create", "--raw", path, "-f", "-", stdin=text, check=False)
    assert "denied by image trust policy" in output, output[-500:]
