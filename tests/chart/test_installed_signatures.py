"""Signatures as evidence on a real API server: admission, a rotation of the keys, and ``helm test``."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from tests.chart.conftest import Prepare
from tests.chart.installation import HOST, TEAM, Installation, Replica, run
from tests.chart.kubelet import Kubelet
from tests.chart.rendering import NAME, merged
from tests.chart.signing import LOGIN_FILE, LOGIN_SECRET
from tests.controlplane import ControlPlane
from tests.emulator.server import Emulator
from tests.emulator.signing import generate_key, public_pem
from tests.support.serving import COMMAND, ROOT

AUDIT = f"{NAME}-audit"
REPOSITORY = "chart-signed/web"
IMAGE = f"{HOST}/{REPOSITORY}:1"


def require_signatures(installation: Installation, endpoint: str, keys: dict[str, bytes]) -> None:
    """Make signatures by these keys the evidence of the registry, with a login from a Secret."""
    (registry,) = installation.values["policy"]["registries"]
    registry = {
        **registry,
        "evidence": "signature",
        "signatures": {"keys": [{"name": name} for name in keys]},
        "registryEndpoint": endpoint,
        "registryLogin": {"dockerConfigFile": LOGIN_FILE},
    }
    changes: dict[str, Any] = {
        "policy": {"registries": [registry]},
        "registryLogin": {"existingSecret": LOGIN_SECRET},
    }
    installation.values = merged(installation.values, changes)
    installation.values["signatures"] = {"keys": {name: key.decode() for name, key in keys.items()}}
    login = {"username": "robot", "password": "emulator-password"}
    config = {"auths": {endpoint.partition("//")[2]: login}}
    data = {".dockerconfigjson": json.dumps(config)}
    installation.make_secret(LOGIN_SECRET, data, "kubernetes.io/dockerconfigjson")


def generation(installation: Installation) -> int:
    """Return how often the Deployment was changed; a change replaces its Pods."""
    found = installation.cluster.get("deployment", NAME, "-n", installation.namespace)
    number: int = found["metadata"]["generation"]
    return number


def test_rotated_key_counts_without_restart(
    prepare: Prepare, cluster: ControlPlane, swr: Emulator, tmp_path: Path
) -> None:
    """``helm upgrade`` changes no Pod. The removed key no longer counts, although the digest is cached as signed."""
    old, new = generate_key(), generate_key()
    digest = swr.state.put_image(f"{REPOSITORY}:1", is_trusted=False)
    swr.state.sign_simple(REPOSITORY, digest, old)
    installation = prepare("signed-rotation")
    require_signatures(installation, swr.url, {"release": public_pem(old)})
    installation.install()
    before = generation(installation)

    def answer() -> str:
        replica.mount()
        return run(cluster, "signed", IMAGE, "--dry-run=server")

    with Replica(installation, tmp_path) as replica:
        cluster.wait_for("the signed image", lambda: answer() == "pod/signed created (server dry run)")
        require_signatures(installation, swr.url, {"release-2": public_pem(new)})
        installation.install()
        assert generation(installation) == before
        refused = "none of its signatures counts in this cluster"
        cluster.wait_for("the removed key to count no longer", lambda: refused in answer())
        swr.state.sign_simple(REPOSITORY, digest, new)
        cluster.wait_for("the new key", lambda: answer() == "pod/signed created (server dry run)")


def test_policy_that_arrives_before_its_key_is_used_once_the_key_is_there(
    prepare: Prepare, cluster: ControlPlane, swr: Emulator, tmp_path: Path
) -> None:
    """Policy and keys are different volumes. Until both are there, the last good policy stays."""
    old, new = generate_key(), generate_key()
    first, second = (f"{REPOSITORY}-{index}" for index in (1, 2))
    for repository, key in ((first, old), (second, new)):
        digest = swr.state.put_image(f"{repository}:1", is_trusted=False)
        swr.state.sign_simple(repository, digest, key)
    installation = prepare("signed-late")
    keys = {"release": public_pem(old)}
    require_signatures(installation, swr.url, keys)
    installation.install()

    def is_admitted(repository: str) -> bool:
        return "created" in run(cluster, "late", f"{HOST}/{repository}:1", "--dry-run=server")

    with Replica(installation, tmp_path) as replica:
        cluster.wait_for("the old key", lambda: is_admitted(first))
        require_signatures(installation, swr.url, {**keys, "release-2": public_pem(new)})
        installation.install()
        replica.mount("policy")
        cluster.wait_for("the rejected policy", lambda: "the changed policy cannot be used" in replica.logs())
        assert is_admitted(first)
        assert not is_admitted(second)
        replica.mount("signing-keys")
        cluster.wait_for("the new key", lambda: is_admitted(second))
        assert is_admitted(first)


def test_replica_and_helm_test_find_keys(prepare: Prepare, swr: Emulator, tmp_path: Path) -> None:
    """A replica has keys and login, ``config check`` has the policy and the keys."""
    key = public_pem(generate_key())
    installation = prepare("signed-tested")
    require_signatures(installation, swr.url, {"release": key})
    installation.install()
    replica = Replica(installation, tmp_path)
    tests = tmp_path / "tests"
    with replica, Kubelet(installation.cluster, installation.namespace, tests) as kubelet:
        installation.helm("test", NAME, f"--namespace={installation.namespace}", "--timeout=50s")
        assert "policy.yaml: valid" in kubelet.output
        assert kubelet.output.rstrip().endswith("\nok")
    for folder in (tests, tmp_path / "root"):
        assert (folder / "keys" / "release.pub").read_bytes() == key
    assert (tmp_path / "root" / "login" / ".dockerconfigjson").exists()
    assert not (tests / "login").exists()


def test_survey_runs_with_rights_of_audit(
    prepare: Prepare, cluster: ControlPlane, swr: Emulator, tmp_path: Path
) -> None:
    """As the notes show it: in the Pod of the audit, with its files and its ServiceAccount."""
    key = generate_key()
    digest = swr.state.put_image(f"{REPOSITORY}:3", is_trusted=False)
    swr.state.sign_simple(REPOSITORY, digest, key)
    image = f"{HOST}/{REPOSITORY}:3"
    assert run(cluster, "surveyed", image).endswith("created")
    changes = {"audit": {"enabled": True}, "presets": {"stage": "audit"}}
    installation = prepare("signed-survey", changes)
    require_signatures(installation, swr.url, {"release": public_pem(key)})
    shown = (
        installation.install().partition(f" exec deployment/{AUDIT} -- swr-trust ")[2].partition("\n\n")[0]
    )
    replica = Replica(installation, tmp_path, "audit-1", AUDIT)
    replica.mount()
    done = subprocess.run(
        [*COMMAND, *map(replica.inside, shown.replace("\\\n", " ").split())],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "KUBECONFIG": str(installation.kubeconfig(tmp_path, AUDIT))},
    )
    assert f"{image}  yes     no      release    simple-signing  -\n" in done.stdout
    excluded = f"kube-node-lease, kube-public, kube-system, {installation.namespace}"
    assert f"\nLeft out, in excluded namespaces ({excluded}): " in done.stdout
    assert "PARTIAL" not in done.stdout
    assert "forbidden" not in done.stdout + done.stderr
    cluster.kubectl("delete", "pod", "surveyed", "-n", TEAM, "--wait=false")
