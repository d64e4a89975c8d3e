"""Signatures as cosign makes them, with keys that are made for the run, and the manifests around them."""

from __future__ import annotations

import base64
import functools
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.signing import sm2
from webhook.oci.manifests import OCI_INDEX
from webhook.signatures import bundles, simple_signing
from webhook.signatures.keys import PublicKey, load_public_key
from webhook.signatures.sm2 import N

IMAGE = "sha256:" + hashlib.sha256(b"the image").hexdigest()
OTHER_IMAGE = "sha256:" + hashlib.sha256(b"another image").hexdigest()

ORDERS = {
    "p256": 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551,
    "p384": (1 << 384) - 0x389CB27E0BC8D220A7E5F24DB74F58851313E695333AD68D,
    "p521": (1 << 521) - 0x5AE79787C40D069948033FEB708F65A2FC44A36477663B851449048E16EC79BF7,
    "sm2": N,
}
"""The orders of the curves (FIPS 186-4, D.1.2; GB/T 32918.5)."""

MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"


@dataclass(frozen=True)
class Signer:
    """A private key, which signs as cosign does."""

    kind: str
    sign: Callable[[bytes], bytes]
    key: PublicKey

    private: Any = field(repr=False, default=None)

    @property
    def pem(self) -> bytes:
        """The file of the public key."""
        return to_pem(self.key.der)


def to_pem(der: bytes, label: str = "PUBLIC KEY") -> bytes:
    """Return a PEM block."""
    text = base64.encodebytes(der).decode().replace("\n", "")
    lines = [text[start : start + 64] for start in range(0, len(text), 64)]
    return "\n".join((f"-----BEGIN {label}-----", *lines, f"-----END {label}-----", "")).encode()


def ecdsa_signer(curve: ec.EllipticCurve, algorithm: hashes.HashAlgorithm) -> Signer:
    """Return a new key of a curve."""
    private = ec.generate_private_key(curve)
    return Signer(
        f"{curve.name} {algorithm.name}",
        lambda message: private.sign(message, ec.ECDSA(algorithm)),
        load_public_key(encode(private.public_key())),
        private,
    )


def rsa_signer(bits: int) -> Signer:
    """Return a new RSA key."""
    private = rsa.generate_private_key(65537, bits)
    return Signer(
        f"rsa {bits}",
        lambda message: private.sign(message, padding.PKCS1v15(), hashes.SHA256()),
        load_public_key(encode(private.public_key())),
        private,
    )


def sm2_signer() -> Signer:
    """Return a new SM2 key."""
    private = sm2.generate()
    return Signer("sm2", private.sign, load_public_key(private.der), private)


def encode(key: Any) -> bytes:
    """Return a SubjectPublicKeyInfo."""
    encoded: bytes = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return encoded


SIGNERS: dict[str, Callable[[], Signer]] = {
    "p256": lambda: ecdsa_signer(ec.SECP256R1(), hashes.SHA256()),
    "other": lambda: ecdsa_signer(ec.SECP256R1(), hashes.SHA256()),
    "p384": lambda: ecdsa_signer(ec.SECP384R1(), hashes.SHA384()),
    "p384-sha256": lambda: ecdsa_signer(ec.SECP384R1(), hashes.SHA256()),
    "p521": lambda: ecdsa_signer(ec.SECP521R1(), hashes.SHA512()),
    "p521-sha256": lambda: ecdsa_signer(ec.SECP521R1(), hashes.SHA256()),
    "rsa2048": lambda: rsa_signer(2048),
    "sm2": sm2_signer,
}


@functools.cache
def signer(name: str) -> Signer:
    """Return a key, the same one during the run."""
    return SIGNERS[name]()


def compact(value: Any) -> bytes:
    """Return JSON without white space, as Go writes it."""
    return json.dumps(value, separators=(",", ":")).encode()


def to_base64(data: bytes) -> str:
    """Return standard base64."""
    return base64.b64encode(data).decode()


def sha256(data: bytes) -> str:
    """Return a digest."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def payload(digest: str = IMAGE, optional: Any = None, kind: str = simple_signing.PAYLOAD_TYPE) -> bytes:
    """Return a payload of simple signing."""
    identity = {"docker-reference": "registry.example.com/team/app"}
    critical = {"identity": identity, "image": {"docker-manifest-digest": digest}, "type": kind}
    return compact({"critical": critical, "optional": optional})


def layer(signed: bytes, signature: bytes | str | None, **changes: Any) -> dict[str, Any]:
    """Return the layer of a payload. A signature that is a string is written as it is."""
    text = to_base64(signature) if isinstance(signature, bytes) else signature
    notes = {} if text is None else {"annotations": {simple_signing.SIGNATURE_ANNOTATION: text}}
    described = {"mediaType": simple_signing.LAYER_TYPE, "size": len(signed), "digest": sha256(signed)}
    return {**described, **notes, **changes}


def image_manifest(layers: Sequence[Any], **more: Any) -> dict[str, Any]:
    """Return an image manifest."""
    config = {"mediaType": "application/vnd.oci.image.config.v1+json", "size": 2, "digest": sha256(b"{}")}
    return {"schemaVersion": 2, "mediaType": MANIFEST_TYPE, "config": config, "layers": list(layers), **more}


def statement(
    digest: str = IMAGE, annotations: Any = None, kind: str = bundles.SIGNATURE_PREDICATE, **changes: Any
) -> bytes:
    """Return a statement of in-toto about an image; ``kind`` is the type of its predicate."""
    subject = {"digest": {"sha256": digest.removeprefix("sha256:")}, "annotations": annotations or {}}
    value = {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [subject],
        "predicateType": kind,
        "predicate": {},
    }
    return compact({**value, **changes})


def envelope(signed: bytes, signature: bytes | str, **changes: Any) -> dict[str, Any]:
    """Return a DSSE envelope."""
    text = to_base64(signature) if isinstance(signature, bytes) else signature
    value = {"payload": to_base64(signed), "payloadType": bundles.PAYLOAD_TYPE, "signatures": [{"sig": text}]}
    return {**value, **changes}


def bundle(enclosed: Any, **changes: Any) -> dict[str, Any]:
    """Return a bundle around an envelope."""
    value = {
        "mediaType": bundles.BUNDLE_TYPE,
        "verificationMaterial": {"publicKey": {"hint": to_base64(bytes(32))}},
        "dsseEnvelope": enclosed,
    }
    return {**value, **changes}


def signed_bundle(by: Signer, signed: bytes, payload_type: str = bundles.PAYLOAD_TYPE) -> dict[str, Any]:
    """Return a bundle with a statement and its signature."""
    signature = by.sign(bundles.encode_signed(payload_type, signed))
    return bundle(envelope(signed, signature, payloadType=payload_type))


def bundle_manifest(content: bytes, digest: str = IMAGE, **changes: Any) -> dict[str, Any]:
    """Return the manifest of a bundle, which refers to an image."""
    described = {"mediaType": bundles.BUNDLE_TYPE, "size": len(content), "digest": sha256(content)}
    notes = {
        "dev.sigstore.bundle.content": "dsse-envelope",
        bundles.PREDICATE_ANNOTATION: bundles.SIGNATURE_PREDICATE,
        "org.opencontainers.image.created": "2026-11-28T00:00:00Z",
    }
    config = {"mediaType": "application/vnd.oci.empty.v1+json", "size": 2, "digest": sha256(b"{}")}
    return {
        **image_manifest([described]),
        "config": config,
        "annotations": notes,
        "subject": {"mediaType": MANIFEST_TYPE, "size": 401, "digest": digest},
        "artifactType": bundles.BUNDLE_TYPE,
        **changes,
    }


def referrer(manifest: bytes, **changes: Any) -> dict[str, Any]:
    """Return the entry of a manifest in a listing."""
    described = {"mediaType": MANIFEST_TYPE, "size": len(manifest), "digest": sha256(manifest)}
    return {**described, "artifactType": bundles.BUNDLE_TYPE, **changes}


def index(entries: Sequence[Any], **changes: Any) -> dict[str, Any]:
    """Return a listing."""
    return {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": list(entries), **changes}
