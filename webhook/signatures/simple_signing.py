"""cosign's simple signing: an image manifest at the tag ``sha256-<hex>.sig`` with one layer per signature.

The payload is the layer, and the signature an annotation of the layer. Only the payload is signed.
Source: cosign, specs/SIGNATURE_SPEC.md; cosign 2.6.5 and 3.1.3 as measured.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from webhook.errors import MalformedSignature
from webhook.signatures.attempt import Attempt, Outcome, SignatureFormat, take_candidates
from webhook.signatures.claims import NO_KEY, Claim, check_claim, decode_signature
from webhook.signatures.limits import MAX_PAYLOAD, MAX_SIGNED_VALUES
from webhook.signatures.manifests import read_descriptor, read_layers
from webhook.signatures.requirement import Requirement
from webhook.signatures.shapes import MAP, TEXT, Fields, JsonObject, read_document

LAYER_TYPE: Final = "application/vnd.dev.cosign.simplesigning.v1+json"
SIGNATURE_ANNOTATION: Final = "dev.cosignproject.cosign/signature"
PAYLOAD_TYPE: Final = "cosign container image signature"

_FORMAT: Final = SignatureFormat.SIMPLE_SIGNING
_CRITICAL: Final = Fields(
    {
        "identity": Fields({"docker-reference": TEXT}),
        "image": Fields({"docker-manifest-digest": TEXT}),
        "type": TEXT,
    }
)
_PAYLOAD: Final = Fields({"critical": _CRITICAL, "optional": MAP})


@dataclass(frozen=True, slots=True)
class SignatureLayer:
    """A signature, and where its payload is."""

    digest: str
    """The digest of the payload's blob."""

    size: int
    """Bytes of the payload, at most ``MAX_PAYLOAD``."""

    signature: bytes


def signature_tag(digest: str) -> str:
    """Return the tag of the signatures of a digest."""
    return f"{digest.replace(':', '-')}.sig"


def read_signature_manifest(manifest: bytes) -> list[SignatureLayer | Attempt]:
    """Return each layer of a manifest: a signature whose payload must be fetched, or why it does not count.

    The last ``MAX_SIGNATURES`` are read, beginning with the last one, because cosign appends.
    """
    try:
        layers = read_layers(manifest)
    except MalformedSignature as error:
        return [Attempt(_FORMAT, Outcome.MALFORMED, problem=str(error))]
    return take_candidates(_FORMAT, map(_read_layer, reversed(layers)))


def _read_layer(layer: JsonObject | MalformedSignature) -> SignatureLayer | Attempt:
    try:
        if isinstance(layer, MalformedSignature):
            raise layer
        if layer.text("mediaType") != LAYER_TYPE:
            return Attempt(_FORMAT, Outcome.NOT_A_SIGNATURE, problem="it is a layer of another media type")
        signature = layer.mapping("annotations").get(SIGNATURE_ANNOTATION, "")
        return SignatureLayer(*read_descriptor(layer, MAX_PAYLOAD), decode_signature(signature))
    except MalformedSignature as error:
        return Attempt(_FORMAT, Outcome.MALFORMED, problem=str(error))


def check_simple_signature(
    payload: bytes, layer: SignatureLayer, digest: str, requirement: Requirement
) -> Attempt:
    """Return the outcome of a signature for the image with this digest; ``payload`` is the layer's blob."""
    signers = requirement.find_signers(layer.signature, payload)
    if not signers:
        return Attempt(_FORMAT, Outcome.BAD, problem=NO_KEY)
    try:
        document = read_document(payload, "the payload", _PAYLOAD, MAX_PAYLOAD, MAX_SIGNED_VALUES)
        critical = document.object("critical")
        if critical.text("type") != PAYLOAD_TYPE:
            return Attempt(_FORMAT, Outcome.NOT_A_SIGNATURE, problem="the payload is of another type")
        claim = Claim(critical.object("image").text("docker-manifest-digest"), document.mapping("optional"))
    except MalformedSignature as error:
        return Attempt(_FORMAT, Outcome.MALFORMED, problem=str(error))
    return check_claim(claim, digest, signers, requirement, _FORMAT)
