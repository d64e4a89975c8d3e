"""One repository for each kind of disagreement, and some on which both agree."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from tests.differential.cosign.cases import Case
from tests.signing import making
from tests.signing.making import IMAGE, OTHER_IMAGE, compact, signer, to_base64
from webhook.signatures.bundles import PAYLOAD_TYPE, encode_signed
from webhook.signatures.simple_signing import SIGNATURE_ANNOTATION

Make = Callable[[Case], None]


def put_payload(case: Case, payload: bytes, signature: bytes | str | None = None, **layer: Any) -> None:
    """Store a payload with a signature, in simple signing."""
    made = signature or signer(case.key).sign(payload)
    manifest = compact(making.image_manifest([making.layer(payload, made, **layer)]))
    case.repository.put_signatures(manifest, payload)


def put_manifest(case: Case, change: Callable[[bytes], bytes]) -> None:
    """Store a good payload in a changed manifest."""
    payload = making.payload()
    manifest = compact(making.image_manifest([making.layer(payload, signer(case.key).sign(payload))]))
    case.repository.put_signatures(change(manifest), payload)


def put_statement(case: Case, statement: bytes, key: str | None = None) -> None:
    """Store a statement with a signature, in a bundle."""
    case.repository.put_bundles(compact(making.signed_bundle(signer(key or case.key), statement)))


def put_raw(case: Case) -> None:
    """Store a signature as two numbers."""
    payload = making.payload()
    r, s = decode_dss_signature(signer(case.key).sign(payload))
    case.has_raw_signature = True
    put_payload(case, payload, r.to_bytes(32) + s.to_bytes(32))


def put_base64_of_urls(case: Case) -> None:
    """Store a bundle whose signature is in the alphabet of URLs, without padding."""
    statement = making.statement()
    text = ""
    while not set(text) & {"-", "_"}:
        signature = signer(case.key).sign(encode_signed(PAYLOAD_TYPE, statement))
        text = to_base64(signature).translate(str.maketrans("+/", "-_")).rstrip("=")
    case.repository.put_bundles(compact(making.bundle(making.envelope(statement, text))))


def put_listing(case: Case, change: Callable[[dict[str, Any]], Any], *more: dict[str, Any]) -> None:
    """Store a good bundle in a changed listing, beside more entries."""
    content = compact(making.signed_bundle(signer(case.key), making.statement()))
    case.repository.put_blob(content)
    manifest = compact(making.bundle_manifest(content))
    case.repository.put_manifest(manifest)
    entry = making.referrer(manifest)
    case.repository.put_listing(compact(making.index([change(entry), *more])))


def put_both(case: Case) -> None:
    """Store a good signature in simple signing, and a bundle by another key."""
    put_payload(case, making.payload())
    put_statement(case, making.statement(), "other")


def put_damaged_entry(case: Case) -> None:
    """Store a good signature with an entry of a transparency log that cannot be read."""
    payload = making.payload()
    text = to_base64(signer(case.key).sign(payload))
    case.has_damaged_data = True
    put_payload(
        case, payload, annotations={SIGNATURE_ANNOTATION: text, "dev.sigstore.cosign/bundle": "not an entry"}
    )


def with_key(key: str, make: Make) -> Make:
    """Return the same with another key."""

    def changed(case: Case) -> None:
        case.key = key
        make(case)

    return changed


def ask(annotations: dict[str, str], make: Make) -> Make:
    """Return the same with annotations that are required."""

    def changed(case: Case) -> None:
        case.annotations = annotations
        make(case)

    return changed


def _replaced(payload: bytes, old: str, new: str) -> bytes:
    changed = payload.replace(old.encode(), new.encode())
    assert changed != payload
    return changed


SHA512 = f'{{"mediaType":"x","size":2,"digest":"sha512:{"a" * 128}"}}'
DIGEST_KEY = '"docker-manifest-digest":'
SPDX = "https://spdx.dev/Document"
NESTED = "[" * 40 + "]" * 40

EXAMPLES: dict[str, tuple[str, str, Make]] = {
    "an SBOM by the same key": (
        "an attestation",
        "both",
        lambda case: put_statement(case, making.statement(kind=SPDX)),
    ),
    "a manifest that names another predicate": (
        "an attestation",
        "both",
        lambda case: case.repository.put_bundles(
            compact(making.signed_bundle(signer(case.key), making.statement())),
            annotations={"dev.sigstore.bundle.predicateType": SPDX},
        ),
    ),
    "another critical.type": (
        "another type of payload",
        "both",
        lambda case: put_payload(case, making.payload(kind="atomic container signature")),
    ),
    "a layer of an image": (
        "another media type of a layer",
        "both",
        lambda case: put_payload(case, making.payload(), mediaType="application/vnd.oci.image.layer.v1.tar"),
    ),
    "a layer without a type": (
        "another media type of a layer",
        "both",
        lambda case: put_payload(case, making.payload(), mediaType=None),
    ),
    "another _type": (
        "another type of statement",
        "both",
        lambda case: put_statement(case, making.statement(_type="https://example.com/x")),
    ),
    "the first name of version 0.3": (
        "another name of a bundle's type",
        "both",
        lambda case: case.repository.put_bundles(
            compact(
                making.signed_bundle(signer(case.key), making.statement())
                | {"mediaType": "application/vnd.dev.sigstore.bundle+json;version=0.3"}
            )
        ),
    ),
    "two subjects": (
        "several subjects",
        "both",
        lambda case: put_statement(
            case,
            making.statement(subject=[{"digest": {"sha256": digest[7:]}} for digest in (OTHER_IMAGE, IMAGE)]),
        ),
    ),
    "line breaks in base64": (
        "other base64",
        "both",
        lambda case: put_payload(
            case, making.payload(), f"{to_base64(signer(case.key).sign(making.payload()))}\n"
        ),
    ),
    "base64 of URLs": ("other base64", "both", put_base64_of_urls),
    "r and s": ("a raw signature", "both", put_raw),
    "two digests": (
        "a key twice",
        "both",
        lambda case: put_payload(
            case, _replaced(making.payload(), DIGEST_KEY, f'{DIGEST_KEY}"{OTHER_IMAGE}",{DIGEST_KEY}')
        ),
    ),
    "two lists of layers": (
        "a key twice",
        "both",
        lambda case: put_manifest(case, lambda text: _replaced(text, '"layers":', '"layers":[],"layers":')),
    ),
    "another case": (
        "another spelling of a key",
        "both",
        lambda case: put_payload(case, _replaced(making.payload(), DIGEST_KEY, '"Docker-Manifest-Digest":')),
    ),
    "the sign of the unit Kelvin": (
        "another spelling of a key",
        "both",
        lambda case: put_payload(
            case, _replaced(making.payload(), DIGEST_KEY, '"doc\u212aer-manifest-digest":')
        ),
    ),
    "media_type": (
        "a name of protobuf",
        "both",
        lambda case: case.repository.put_bundles(
            _replaced(
                compact(making.signed_bundle(signer(case.key), making.statement())),
                '"mediaType"',
                '"media_type"',
            )
        ),
    ),
    "text after a manifest": (
        "odd JSON",
        "both",
        lambda case: put_manifest(case, lambda text: text + b" x"),
    ),
    "half a surrogate pair": (
        "odd JSON",
        "both",
        lambda case: put_payload(case, _replaced(making.payload(IMAGE, {"x": "y"}), '"y"', r'"\ud800"')),
    ),
    "a deep value": (
        "deep JSON",
        "both",
        lambda case: put_payload(case, _replaced(making.payload(), "null", f'{{"x":{NESTED}}}')),
    ),
    "null among the annotations": (
        "null in a list or a map",
        "both",
        lambda case: put_manifest(
            case, lambda text: _replaced(text, '"annotations":{', '"annotations":{"x":null,')
        ),
    ),
    "no size": (
        "no size of a manifest",
        "both",
        lambda case: put_listing(case, lambda entry: {key: entry[key] for key in entry if key != "size"}),
    ),
    "capital letters": (
        "capital letters in cosign 2",
        "cosign2",
        lambda case: put_statement(
            case, making.statement(subject=[{"digest": {"sha256": IMAGE[7:].upper()}}])
        ),
    ),
    "an artifact type that is a list": (
        "an artifact type in cosign 2",
        "cosign2",
        lambda case: case.repository.put_bundles(
            compact(making.signed_bundle(signer(case.key), making.statement())), artifactType=[]
        ),
    ),
    "no annotations in a bundle": (
        "annotations of a bundle in cosign 2",
        "cosign2",
        ask({"team": "payments"}, lambda case: put_statement(case, making.statement())),
    ),
    "P-384 with SHA-384": (
        "P-384 and P-521",
        "both",
        with_key("p384", lambda case: put_payload(case, making.payload())),
    ),
    "P-521 with SHA-512": (
        "P-384 and P-521",
        "both",
        with_key("p521", lambda case: put_statement(case, making.statement())),
    ),
    "a layer by SHA-512": (
        "a malformed layer or entry beside a good one",
        "both",
        lambda case: put_manifest(case, lambda text: _replaced(text, "}}]}", "}}," + SHA512 + "]}")),
    ),
    "a layer that is a text": (
        "a malformed layer or entry beside a good one",
        "both",
        lambda case: put_manifest(case, lambda text: _replaced(text, "}}]}", '}},"x"]}')),
    ),
    "an entry by SHA-512": (
        "a malformed layer or entry beside a good one",
        "both",
        lambda case: put_listing(case, lambda entry: entry, json.loads(SHA512)),
    ),
    "a bundle by another key": ("a good .sig beside a bundle", "both", put_both),
    "a damaged entry of a log": ("damaged data beside the signature", "both", put_damaged_entry),
}
"""By name: the kind, the version of cosign it is about, and a function that stores it."""

AGREED: dict[str, Make] = {
    "an empty layer": lambda case: put_manifest(case, lambda text: _replaced(text, "}}]}", "}},{}]}")),
    "simple signing": lambda case: put_payload(case, making.payload()),
    "simple signing with annotations": ask(
        {"team": "payments"},
        lambda case: put_payload(case, making.payload(optional={"team": "payments", "x": "y"})),
    ),
    "a payload with white space": lambda case: put_payload(
        case, making.payload().replace(b":", b" :\n ").replace(b"sha256 :\n ", b"sha256:")
    ),
    "P-384 with SHA-256": with_key("p384-sha256", lambda case: put_payload(case, making.payload())),
    "P-521 with SHA-256": with_key("p521-sha256", lambda case: put_statement(case, making.statement())),
    "RSA": with_key("rsa2048", lambda case: put_payload(case, making.payload())),
    "RSA in a bundle": with_key("rsa2048", lambda case: put_statement(case, making.statement())),
    "a bundle": lambda case: put_statement(case, making.statement()),
    "a bundle as by cosign 2": lambda case: put_statement(
        case, making.statement(subject=[{"digest": {"sha256": IMAGE[7:]}}], predicate=None)
    ),
    "an artifact type of the config": lambda case: put_listing(
        case, lambda entry: {**entry, "artifactType": "application/vnd.oci.empty.v1+json"}
    ),
    "a listing with annotations": lambda case: put_listing(
        case,
        lambda entry: {**entry, "annotations": {"org.opencontainers.image.created": "2026-11-28T00:00:00Z"}},
    ),
}
"""Signatures that both accept."""
