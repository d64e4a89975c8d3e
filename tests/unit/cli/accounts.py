"""An account on the emulator with signed images, the Pods that run them, and a policy for commands."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

from tests.emulator.server import Emulator
from tests.emulator.signing import generate_key
from tests.support.signed import ENTERPRISE, HOST, SigningKeys
from tests.unit.cluster.lists import FakeLists, pod

PODS = "/api/v1/pods"


class Account:
    """An account on the emulator, its running Pods, and the policy of the command."""

    def __init__(self, emulator: Emulator, folder: Path, cluster: FakeLists) -> None:
        self.emulator = emulator
        self.folder = folder
        self.cluster = cluster
        self.keys = SigningKeys(folder, "release-2026", "release-2025")
        self.password = "emulator-password"
        (folder / "token").write_text("emulator-token\n", encoding="utf-8")

    def push(self, image: str, *signers: str, bundle: bool = False, host: str = HOST, **values: Any) -> str:
        """Push an image, signed by keys of these names, and run it; return its digest."""
        digest = self.emulator.state.put_image(image, **values)
        for signer in signers:
            key = self.keys[signer] if signer in self.keys.private else generate_key()
            sign = self.emulator.state.sign_bundle if bundle else self.emulator.state.sign_simple
            sign(image.partition(":")[0], digest, key)
        self.run(f"{host}/{image}")
        return digest

    def run(self, image: str, namespace: str = "shop", **changes: Any) -> None:
        """Add a Pod with an image."""
        pods = self.cluster.collections[PODS]
        pods.append(pod(f"pod-{len(pods)}", namespace, image, **changes))

    def registry(self, *, keys: bool = True, **values: Any) -> dict[str, Any]:
        """Return an entry of the configuration; other keys are in ``values``."""
        login = self.folder / "dockerconfig.json"
        auth = base64.b64encode(f"robot:{self.password}".encode()).decode()
        login.write_text(json.dumps({"auths": {self.emulator.url.partition("//")[2]: {"auth": auth}}}))
        files = [{"name": name, "file": str(self.keys.file(name))} for name in self.keys.private]
        return {
            "registryEndpoint": self.emulator.url,
            "registryLogin": {"dockerConfigFile": str(login)},
            **({"signatures": {"keys": files}} if keys else {}),
            **values,
        }

    def basic(self, **values: Any) -> dict[str, Any]:
        """Return an entry of SWR Basic."""
        endpoints = {"endpoint": self.emulator.url, "iamEndpoint": self.emulator.url}
        return self.registry(**{"region": "cn-north-4", **endpoints, **values})

    def enterprise(self, **values: Any) -> dict[str, Any]:
        """Return an entry of SWR Enterprise."""
        return self.registry(edition="enterprise", hosts=[ENTERPRISE], evidence="signature", **values)

    def write(self, *registries: dict[str, Any], **more: Any) -> Path:
        """Write a policy with these registries; JSON is YAML."""
        path = self.folder / "policy.yaml"
        policy = {
            "apiVersion": "swr-trust/v1",
            "kind": "TrustPolicy",
            "registries": registries or [self.basic()],
            "credentials": {"kind": "token", "tokenFile": str(self.folder / "token")},
            **more,
        }
        path.write_text(json.dumps(policy), encoding="utf-8")
        return path
