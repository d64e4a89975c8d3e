"""A policy for a running webhook with registries whose evidence is signatures, on the emulator."""

from __future__ import annotations

from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec

from tests.emulator.server import Emulator
from tests.emulator.signing import generate_key, public_pem
from tests.support.registries import write_docker_config
from tests.support.serving import ServerProcess

HOST = "swr.cn-north-4.myhuaweicloud.com"
ENTERPRISE = "team-1a2b3c.swr-pro.cn-north-4.myhuaweicloud.com"

REGISTRIES = """\
apiVersion: swr-trust/v1
kind: TrustPolicy
registries:
  - region: cn-north-4
    organizations: [signed]
    endpoint: {endpoint}
    iamEndpoint: {endpoint}
    registryEndpoint: {endpoint}
    evidence: signature
    signatures: {{keys: [{keys}]}}
    registryLogin: {{dockerConfigFile: {login}}}
  - region: cn-north-4
    organizations: [double]
    endpoint: {endpoint}
    iamEndpoint: {endpoint}
    registryEndpoint: {endpoint}
    evidence: both
    signatures: {{keys: [{keys}]}}
    registryLogin: {{dockerConfigFile: {login}}}
  - region: cn-north-4
    aliases: ["10.125.0.198:20202"]
    endpoint: {endpoint}
    iamEndpoint: {endpoint}
  - edition: enterprise
    hosts: [{enterprise}]
    registryEndpoint: {endpoint}
    evidence: signature
    signatures: {{keys: [{keys}]}}
    registryLogin: {{dockerConfigFile: {login}}}
credentials: {{kind: token, tokenFile: {token}}}
"""
"""One registry for each evidence: by organization on SWR's host, and one of SWR Enterprise."""


class SigningKeys:
    """Key files of a policy, and the private keys that sign with them."""

    def __init__(self, folder: Path, *names: str) -> None:
        """Generate a P-256 key for each name."""
        self.folder = folder
        self.private: dict[str, ec.EllipticCurvePrivateKey] = {}
        for name in names:
            self.replace(name)

    def __getitem__(self, name: str) -> ec.EllipticCurvePrivateKey:
        return self.private[name]

    def file(self, name: str) -> Path:
        """Return the file of a public key."""
        return self.folder / f"{name}.pub"

    def replace(self, name: str) -> None:
        """Write a new public key under a name."""
        self.private[name] = generate_key()
        self.file(name).write_bytes(public_pem(self.private[name]))

    @property
    def entries(self) -> str:
        """The keys as the configuration lists them."""
        return ", ".join(f"{{name: {name}, file: {self.file(name)}}}" for name in self.private)


def write_signed_policy(server: ServerProcess, emulator: Emulator, keys: SigningKeys, more: str = "") -> None:
    """Replace the policy of a server by ``REGISTRIES``, and ``more`` after it."""
    folder = server.config.parent
    login = folder / "dockerconfig.json"
    write_docker_config(login, {emulator.url.partition("//")[2]: ("robot", "emulator-password")})
    server.base_policy = REGISTRIES.format(
        endpoint=emulator.url,
        keys=keys.entries,
        login=login,
        enterprise=ENTERPRISE,
        token=folder / "token",
    )
    server.config.write_text(server.base_policy + more, encoding="utf-8")
