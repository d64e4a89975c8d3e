"""Signatures as evidence on a real API server: a rotation of the keys, and ``helm test``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.chart.conftest import Prepare
from tests.chart.installation import Installation, Replica
from tests.chart.kubelet import Kubelet
from tests.chart.rendering import NAME, merged
from tests.chart.signing import LOGIN_FILE, LOGIN_SECRET, PUBLIC_KEYS

KEYS = ("configmap", f"{NAME}-keys")


def sign(installation: Installation, *names: str) -> None:
    """Make signatures the evidence of the registry, by these keys, with a login from a Secret."""
    (registry,) = installation.values["policy"]["registries"]
    signatures = {"keys": [{"name": name} for name in names]}
    registry = {**registry, "evidence": "signature", "signatures": signatures}
    registry["registryLogin"] = {"dockerConfigFile": LOGIN_FILE}
    changes: dict[str, Any] = {
        "policy": {"registries": [registry]},
        "signatures": {"keys": dict(zip(names, PUBLIC_KEYS, strict=False))},
        "registryLogin": {"existingSecret": LOGIN_SECRET},
    }
    installation.values = merged(installation.values, changes)
    config = '{"auths": {"swr.cn-north-4.myhuaweicloud.com": {"auth": "dXNlcjp3b3Jk"}}}'
    installation.make_secret(LOGIN_SECRET, {".dockerconfigjson": config}, "kubernetes.io/dockerconfigjson")


def generation(installation: Installation) -> int:
    """Return how often the Deployment was changed; a change replaces its Pods."""
    found = installation.cluster.get("deployment", NAME, "-n", installation.namespace)
    number: int = found["metadata"]["generation"]
    return number


def test_rotation_of_keys_changes_no_pod(prepare: Prepare) -> None:
    """The ConfigMap changes under its name, and the volume follows."""
    installation = prepare("signed-rotation")
    sign(installation, "release-2025", "release-2026")
    installation.install()
    before = generation(installation)
    sign(installation, "release-2026", "release-2027")
    installation.values["signatures"]["keys"].pop("release-2025")
    installation.install()
    assert generation(installation) == before
    data = installation.cluster.get(*KEYS, "-n", installation.namespace)["data"]
    assert data == {"release-2026.pub": PUBLIC_KEYS[0], "release-2027.pub": PUBLIC_KEYS[1]}


def test_replica_and_helm_test_find_keys(prepare: Prepare, tmp_path: Path) -> None:
    """A replica has keys and login, ``config check`` has the policy and the keys."""
    installation = prepare("signed-tested")
    sign(installation, "release-2026")
    installation.install()
    replica = Replica(installation, tmp_path)
    tests = tmp_path / "tests"
    with replica, Kubelet(installation.cluster, installation.namespace, tests) as kubelet:
        installation.helm("test", NAME, f"--namespace={installation.namespace}", "--timeout=50s")
        assert "policy.yaml: valid" in kubelet.output
        assert kubelet.output.rstrip().endswith("\nok")
    for folder in (tests, tmp_path / "root"):
        assert (folder / "keys" / "release-2026.pub").read_text(encoding="utf-8") == PUBLIC_KEYS[0]
    assert (tmp_path / "root" / "login" / ".dockerconfigjson").exists()
    assert not (tests / "login").exists()
