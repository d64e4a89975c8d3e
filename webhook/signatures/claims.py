"""The statement that a signature makes, compared with the requirement, in both formats."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from webhook.errors import MalformedSignature
from webhook.signatures.attempt import Attempt, Outcome, SignatureFormat
from webhook.signatures.limits import MAX_SIGNATURE
from webhook.signatures.requirement import Requirement
from webhook.signatures.shapes import decode_base64, is_digest

NO_KEY: Final = "no key that counts has signed it"


@dataclass(frozen=True, slots=True)
class Claim:
    """The signed statement: which digest was signed, with which annotations."""

    digest: str
    annotations: Mapping[str, Any]


def check_claim(
    claim: Claim, digest: str, signers: tuple[str, ...], requirement: Requirement, kind: SignatureFormat
) -> Attempt:
    """Return the outcome of a signature that ``signers`` made, for the image with this digest."""
    if claim.digest != digest or not is_digest(digest):
        return Attempt(kind, Outcome.OTHER_IMAGE, problem="it is of another image")
    if not requirement.accepts_annotations(claim.annotations):
        return Attempt(kind, Outcome.ANNOTATIONS, signers, "it lacks annotations that are required")
    return Attempt(kind, Outcome.VALID, signers)


def decode_signature(text: str) -> bytes:
    """Return the bytes of a signature.

    Raises:
        MalformedSignature: it is empty, not base64, or longer than ``MAX_SIGNATURE``.
    """
    signature = decode_base64(text, "its signature")
    if not 0 < len(signature) <= MAX_SIGNATURE:
        raise MalformedSignature(f"its signature does not have 1 to {MAX_SIGNATURE} bytes")
    return signature
