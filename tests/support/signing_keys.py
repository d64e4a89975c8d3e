"""Files of signing keys: public keys of several kinds, and ConfigMap volumes that contain them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_public_key,
)

from tests.emulator import signing

EXAMPLE_FOLDER: Final = "/etc/swr-trust/keys"
"""The folder of the files that examples name."""

ANOTHER_KIND: Final = (
    "is an Ed25519 or Ed448 key: cosign signs Ed25519ph, which cannot be verified by a key alone; "
    "use ECDSA P-256, P-384 or P-521, RSA with 2048 to 4096 bits, or SM2"
)
"""The problem of ``ed25519_pem``."""


@cache
def public_pem(name: str) -> bytes:
    """Return the PEM of a P-256 key; each name has its own key."""
    return signing.public_pem(_private_key(name))


@cache
def private_pem(name: str) -> bytes:
    """Return the PEM of the private key of ``public_pem``."""
    return _private_key(name).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def ed25519_pem() -> bytes:
    """Return a public key of a kind that is not accepted."""
    key = ed25519.Ed25519PrivateKey.generate().public_key()
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def rsa_pem(bits: int) -> bytes:
    """Return a public RSA key."""
    return signing.public_pem(rsa.generate_private_key(65537, bits))


def to_der(pem: bytes) -> bytes:
    """Return the SubjectPublicKeyInfo of a public key."""
    return load_pem_public_key(pem).public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def write_keys(folder: Path, *names: str) -> None:
    """Write ``NAME.pub`` with a key of its own for each name."""
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / f"{name}.pub").write_bytes(public_pem(name))


class ConfigMapVolume:
    """A folder like that of a mounted ConfigMap: files are links through ``..data``, which is replaced."""

    def __init__(self, folder: Path, files: Mapping[str, bytes]) -> None:
        self.folder = folder
        self._generation = 0
        folder.mkdir()
        self.replace(files)

    def replace(self, files: Mapping[str, bytes]) -> None:
        """Replace all files at once, as the kubelet does (its AtomicWriter)."""
        self._generation += 1
        generation = self.folder / f"..{self._generation}"
        generation.mkdir()
        for name, content in files.items():
            (generation / name).write_bytes(content)
        new = self.folder / "..data_tmp"
        new.symlink_to(generation.name)
        new.rename(self.folder / "..data")
        for link in self.folder.iterdir():
            if not link.name.startswith("..") and link.name not in files:
                link.unlink()
        for name in files:
            link = self.folder / name
            if not link.is_symlink():
                link.symlink_to(f"..data/{name}")


@cache
def _private_key(name: str) -> ec.EllipticCurvePrivateKey:
    del name
    return signing.generate_key()
