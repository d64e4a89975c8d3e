"""Signatures in the emulated registry, made as cosign makes them: simple signing and Sigstore bundles."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from tests.emulator.registry_state import OCI_INDEX, OCI_MANIFEST, RegistryState, digest_of

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | Callable[[bytes], bytes]
"""A key, or a function from a message to a signature for other kinds, such as SM2."""

SIMPLE_SIGNING = "application/vnd.dev.cosign.simplesigning.v1+json"
SIGNATURE_ANNOTATION = "dev.cosignproject.cosign/signature"
BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
IN_TOTO = "application/vnd.in-toto+json"
SIGN_PREDICATE = "https://sigstore.dev/cosign/sign/v1"

_EMPTY = b"{}"
_HASHES: dict[int, hashes.HashAlgorithm] = {256: hashes.SHA256(), 384: hashes.SHA384(), 521: hashes.SHA512()}


def generate_key() -> ec.EllipticCurvePrivateKey:
    """Return a new ECDSA key on P-256, which is what cosign generates."""
    return ec.generate_private_key(ec.SECP256R1())


def public_pem(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> bytes:
    """Return the public key as the configuration names it."""
    return key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def sign(key: PrivateKey, message: bytes) -> bytes:
    """Return a signature as cosign makes it: ECDSA with the hash of the curve, or RSA PKCS#1 v1.5."""
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return key.sign(message, ec.ECDSA(_HASHES[key.curve.key_size]))
    if isinstance(key, rsa.RSAPrivateKey):
        return key.sign(message, padding.PKCS1v15(), hashes.SHA256())
    return key(message)


def sign_simple(
    state: RegistryState,
    repository: str,
    digest: str,
    key: PrivateKey,
    annotations: Mapping[str, str] | None = None,
    *,
    payload: bytes | None = None,
) -> str:
    """Add a signature to the tag ``sha256-<hex>.sig``, with ``payload`` if given; return its digest."""
    content = payload if payload is not None else make_payload(repository, digest, annotations)
    layer = {
        "mediaType": SIMPLE_SIGNING,
        "size": len(content),
        "digest": state.put_blob(repository, content),
        "annotations": {SIGNATURE_ANNOTATION: base64.b64encode(sign(key, content)).decode()},
    }
    tag = f"{digest.replace(':', '-')}.sig"
    with state.lock:
        before = state.find_manifest(repository, tag)
        layers = json.loads(before[2])["layers"] if before is not None else []
        manifest = {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": {
                "mediaType": "application/vnd.oci.image.config.v1+json",
                "size": len(_EMPTY),
                "digest": state.put_blob(repository, _EMPTY),
            },
            "layers": [*layers, layer],
        }
        return state.put_manifest(repository, tag, OCI_MANIFEST, json.dumps(manifest).encode())


def make_payload(repository: str, digest: str, annotations: Mapping[str, str] | None = None) -> bytes:
    """Return the payload of a simple signature."""
    critical = {
        "identity": {"docker-reference": f"swr.example.com/{repository}"},
        "image": {"docker-manifest-digest": digest},
        "type": "cosign container image signature",
    }
    optional = dict(annotations) if annotations else None
    return json.dumps({"critical": critical, "optional": optional}, separators=(",", ":")).encode()


def sign_bundle(
    state: RegistryState,
    repository: str,
    digest: str,
    key: PrivateKey,
    annotations: Mapping[str, str] | None = None,
    *,
    predicate_type: str = SIGN_PREDICATE,
) -> str:
    """Add a bundle that refers to the image; return the digest of its manifest.

    With another ``predicate_type`` it is an attestation.
    """
    bundle = make_bundle(digest, key, annotations, predicate_type=predicate_type)
    subject = state.find_manifest(repository, digest)
    manifest: dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "artifactType": BUNDLE,
        "config": {
            "mediaType": "application/vnd.oci.empty.v1+json",
            "size": len(_EMPTY),
            "digest": state.put_blob(repository, _EMPTY),
        },
        "layers": [{"mediaType": BUNDLE, "size": len(bundle), "digest": state.put_blob(repository, bundle)}],
        "subject": {
            "mediaType": subject[1] if subject is not None else OCI_MANIFEST,
            "size": len(subject[2]) if subject is not None else 2,
            "digest": digest,
        },
        "annotations": {
            "dev.sigstore.bundle.content": "dsse-envelope",
            "dev.sigstore.bundle.predicateType": predicate_type,
        },
    }
    content = json.dumps(manifest).encode()
    own = state.put_manifest(repository, digest_of(content), OCI_MANIFEST, content)
    if not state.has_referrers_api:
        _add_to_fallback_tag(state, repository, digest)
    return own


def make_bundle(
    digest: str,
    key: PrivateKey,
    annotations: Mapping[str, str] | None = None,
    *,
    predicate_type: str = SIGN_PREDICATE,
) -> bytes:
    """Return a Sigstore bundle with a DSSE envelope."""
    subject: dict[str, Any] = {"digest": {"sha256": digest.removeprefix("sha256:")}}
    if annotations:
        subject["annotations"] = dict(annotations)
    statement = {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [subject],
        "predicateType": predicate_type,
        "predicate": {},
    }
    payload = json.dumps(statement).encode()
    kind = IN_TOTO.encode()
    message = b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)
    envelope = {
        "payload": base64.b64encode(payload).decode(),
        "payloadType": IN_TOTO,
        "signatures": [{"sig": base64.b64encode(sign(key, message)).decode()}],
    }
    value = {
        "mediaType": BUNDLE,
        "verificationMaterial": {"publicKey": {"hint": _hint(key)}},
        "dsseEnvelope": envelope,
    }
    return json.dumps(value).encode()


def _hint(key: PrivateKey) -> str:
    if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        return ""
    der = key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return base64.b64encode(hashlib.sha256(der).digest()).decode()


def _add_to_fallback_tag(state: RegistryState, repository: str, digest: str) -> None:
    """Write the index of all referrers, as clients do where a registry has no referrers API."""
    entries = [
        {name: value for name, value in entry.items() if name != "annotations"}
        for entry in state.find_referrers(repository, digest)
    ]
    index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}
    state.put_manifest(repository, digest.replace(":", "-"), OCI_INDEX, json.dumps(index).encode())
