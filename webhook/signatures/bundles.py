"""Sigstore bundles: manifests that refer to the image, each with one layer, a DSSE envelope with a statement.

Only the statement is signed. Manifests and listings are read to find it, and to skip what they call something
else: that can lead to a refusal only. Sources: sigstore/protobuf-specs, sigstore_bundle.proto; DSSE 1.0.2;
in-toto attestation framework, Statement; OCI distribution specification 1.1, Listing Referrers; cosign 3.1.3
as measured.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from webhook.errors import MalformedSignature
from webhook.signatures.attempt import Attempt, Outcome, SignatureFormat, take_candidates
from webhook.signatures.claims import NO_KEY, Claim, check_claim, decode_signature
from webhook.signatures.limits import MAX_BUNDLE, MAX_MANIFEST, MAX_SIGNED_VALUES
from webhook.signatures.manifests import read_descriptor, read_index, read_manifest
from webhook.signatures.requirement import Requirement
from webhook.signatures.shapes import (
    MAP,
    TEXT,
    Fields,
    JsonObject,
    ListOf,
    check_document,
    decode_base64,
    read_document,
)
from webhook.signatures.strict_json import parse_object

BUNDLE_TYPE: Final = "application/vnd.dev.sigstore.bundle.v0.3+json"
PAYLOAD_TYPE: Final = "application/vnd.in-toto+json"
STATEMENT_TYPES: Final = frozenset({"https://in-toto.io/Statement/v1", "https://in-toto.io/Statement/v0.1"})
SIGNATURE_PREDICATE: Final = "https://sigstore.dev/cosign/sign/v1"
"""The predicate of an image signature. ``cosign verify`` does not compare it, so it takes an SBOM or a scan
report by the same key for a signature (compare CVE-2022-35929).
"""

PREDICATE_ANNOTATION: Final = "dev.sigstore.bundle.predicateType"

_BUNDLE_FAMILY: Final = "application/vnd.dev.sigstore.bundle"
_FORMAT: Final = SignatureFormat.BUNDLE

_MATERIAL: Final = Fields(
    {
        "publicKey": Fields({"hint": TEXT}, is_closed=True),
        "certificate": MAP,
        "x509CertificateChain": MAP,
        "tlogEntries": ListOf(MAP),
        "timestampVerificationData": MAP,
    },
    is_closed=True,
)
"""Of transparency logs, timestamps and certificates nothing is read."""

_ENVELOPE: Final = Fields(
    {
        "payload": TEXT,
        "payloadType": TEXT,
        "signatures": ListOf(Fields({"sig": TEXT, "keyid": TEXT}, is_closed=True)),
    },
    is_closed=True,
)
_BUNDLE: Final = Fields(
    {
        "mediaType": TEXT,
        "verificationMaterial": _MATERIAL,
        "messageSignature": MAP,
        "dsseEnvelope": _ENVELOPE,
    },
    is_closed=True,
)
_SUBJECT: Final = Fields(
    {
        "name": TEXT,
        "uri": TEXT,
        "digest": Fields({"sha256": TEXT}, is_closed=True),
        "content": TEXT,
        "downloadLocation": TEXT,
        "mediaType": TEXT,
        "annotations": MAP,
    },
    is_closed=True,
)
_STATEMENT: Final = Fields(
    {"_type": TEXT, "subject": ListOf(_SUBJECT), "predicateType": TEXT, "predicate": MAP}, is_closed=True
)

_ATTESTATION: Final = Attempt(_FORMAT, Outcome.NOT_A_SIGNATURE, problem="it is an attestation")


@dataclass(frozen=True, slots=True)
class Referrer:
    """A manifest that refers to the image, and may be that of a bundle."""

    digest: str

    size: int
    """Bytes, at most ``MAX_MANIFEST``."""


@dataclass(frozen=True, slots=True)
class BundleLayer:
    """The blob with a bundle."""

    digest: str

    size: int
    """Bytes, at most ``MAX_BUNDLE``."""


@dataclass(frozen=True, slots=True)
class _Envelope:
    payload: bytes
    signature: bytes
    names_key: bool


def read_referrers(index: bytes) -> list[Referrer | Attempt]:
    """Return each entry of a listing: a manifest that must be fetched, or why it does not count.

    The last ``MAX_SIGNATURES`` manifests are read, beginning with the last one, because clients append to the
    listing of a fallback tag. Entries that the listing itself calls attestations need no request. Their
    artifact type says nothing: cosign 2.6.5 and go-containerregistry write that of the config there.
    """
    try:
        entries = read_index(index)
    except MalformedSignature as error:
        return [_malformed(error)]
    return take_candidates(_FORMAT, map(_read_referrer, reversed(entries)))


def _read_referrer(entry: JsonObject | MalformedSignature) -> Referrer | Attempt:
    try:
        if isinstance(entry, MalformedSignature):
            raise entry
        if _is_attestation(entry):
            return _ATTESTATION
        return Referrer(*read_descriptor(entry, MAX_MANIFEST))
    except MalformedSignature as error:
        return _malformed(error)


def _is_attestation(annotated: JsonObject) -> bool:
    """Return whether the annotations, which are not signed, name another predicate than a signature's."""
    predicate: object = annotated.mapping("annotations").get(PREDICATE_ANNOTATION, SIGNATURE_PREDICATE)
    return predicate != SIGNATURE_PREDICATE


def read_bundle_manifest(manifest: bytes) -> BundleLayer | Attempt:
    """Return where the bundle of a manifest is, or why it does not count."""
    try:
        document = read_manifest(manifest)
        layers = document.objects("layers")
        types = [layer.text("mediaType") for layer in layers]
        if not any(kind.startswith(_BUNDLE_FAMILY) for kind in types):
            return _other("it is another artifact")
        if _is_attestation(document):
            return _ATTESTATION
        if types != [BUNDLE_TYPE]:
            return _malformed("it is not one bundle of version 0.3")
        return BundleLayer(*read_descriptor(layers[0], MAX_BUNDLE))
    except MalformedSignature as error:
        return _malformed(error)


def check_bundle(bundle: bytes, digest: str, requirement: Requirement) -> Attempt:
    """Return the outcome of a bundle for the image with this digest; ``bundle`` is the blob of the layer.

    A key, a certificate or the hint of a key in the bundle is never used.
    """
    try:
        envelope = _read_bundle(bundle)
    except MalformedSignature as error:
        return _malformed(error)
    if isinstance(envelope, Attempt):
        return envelope
    signers = requirement.find_signers(envelope.signature, encode_signed(PAYLOAD_TYPE, envelope.payload))
    try:
        claim = _read_statement(envelope.payload)
    except MalformedSignature as error:
        # Anyone who may push can have written it.
        return _malformed(error) if signers else _bad(NO_KEY)
    if isinstance(claim, Attempt):
        return claim
    if not envelope.names_key:
        return _bad("it is by a certificate and not by a key")
    if not signers:
        return _bad(NO_KEY)
    return check_claim(claim, digest, signers, requirement, _FORMAT)


def _read_bundle(bundle: bytes) -> _Envelope | Attempt:
    document = read_document(bundle, "the bundle", _BUNDLE, MAX_BUNDLE, MAX_SIGNED_VALUES)
    if document.text("mediaType") != BUNDLE_TYPE:
        raise MalformedSignature("it is not a bundle of version 0.3")
    if document.has("messageSignature"):
        return _other("it is the signature of a blob")
    envelope = document.object("dsseEnvelope")
    if envelope.text("payloadType") != PAYLOAD_TYPE:
        return _other("the envelope is of another type")
    signatures = envelope.objects("signatures")
    if len(signatures) != 1:
        raise MalformedSignature("the envelope does not have exactly one signature")
    return _Envelope(
        decode_base64(envelope.text("payload"), "the payload"),
        decode_signature(signatures[0].text("sig")),
        _names_key(document.object("verificationMaterial")),
    )


def _names_key(material: JsonObject) -> bool:
    """Return whether the bundle is verified by a key: one of the alternatives, and none of the others."""
    is_keyless = material.has("certificate") or material.has("x509CertificateChain")
    return material.has("publicKey") and not is_keyless


def encode_signed(payload_type: str, payload: bytes) -> bytes:
    """Return the bytes that a DSSE signature is of: its pre-authentication encoding (PAE)."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def _read_statement(payload: bytes) -> Claim | Attempt:
    members = parse_object(payload, "the statement", MAX_BUNDLE, MAX_SIGNED_VALUES)
    if members.get("predicateType") != SIGNATURE_PREDICATE:
        return _ATTESTATION
    document = check_document(members, "the statement", _STATEMENT)
    if document.text("_type") not in STATEMENT_TYPES:
        raise MalformedSignature("the statement is not one of in-toto")
    subjects = document.objects("subject")
    if len(subjects) != 1:
        raise MalformedSignature("the statement does not have exactly one subject")
    digest = subjects[0].object("digest").text("sha256")
    return Claim(f"sha256:{digest}", subjects[0].mapping("annotations"))


def _malformed(problem: MalformedSignature | str) -> Attempt:
    return Attempt(_FORMAT, Outcome.MALFORMED, problem=str(problem))


def _bad(problem: str) -> Attempt:
    return Attempt(_FORMAT, Outcome.BAD, problem=problem)


def _other(problem: str) -> Attempt:
    return Attempt(_FORMAT, Outcome.NOT_A_SIGNATURE, problem=problem)
