"""What a signature says, and whether it is what is required. The same for both formats."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from webhook.errors import MalformedSignature
from webhook.signatures.attempt import Attempt, Outcome, SignatureFormat
from webhook.signatures.limits import MAX_SIGNATURE
from webhook.signatures.requirement import Requirement

NO_KEY: Final = "it is not by a configured key"

_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")


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


def is_digest(text: str) -> bool:
    """Return whether it is a digest: SHA-256, in lower case."""
    return _DIGEST.fullmatch(text) is not None


def decode_base64(text: object, name: str) -> bytes:
    """Return the bytes of padded standard base64 (RFC 4648, section 4), in its only spelling.

    Raises:
        MalformedSignature: it is missing, empty or not that. ``name`` names it in the text.
    """
    if not text or not isinstance(text, str):
        raise MalformedSignature(f"{name} is missing")
    try:
        data = base64.b64decode(text, validate=True)
    except ValueError:
        data = b""
    if base64.b64encode(data).decode() != text:
        raise MalformedSignature(f"{name} is not base64")
    return data


def decode_signature(text: object) -> bytes:
    """Return the bytes of a signature.

    Raises:
        MalformedSignature: it is not base64, or longer than ``MAX_SIGNATURE``.
    """
    signature = decode_base64(text, "its signature")
    if len(signature) > MAX_SIGNATURE:
        raise MalformedSignature(f"its signature has more than {MAX_SIGNATURE} bytes")
    return signature
