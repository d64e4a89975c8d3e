"""The rule: both accept the same repositories, except for the kinds that are listed here."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from tests.differential.cosign.cases import Case
from tests.differential.cosign.verifying import CosignResult, OwnResult
from tests.signing.making import IMAGE
from webhook.signatures.attempt import Attempt, Outcome, SignatureFormat

_PAYLOAD: Final = re.compile(rb'"payload":"([A-Za-z0-9+/=]+)"')


@dataclass(frozen=True)
class Kind:
    """A kind of repositories about which the two disagree."""

    reason: str
    matches: Callable[[Case, Attempt, CosignResult], bool]


def _problem(pattern: str) -> Callable[[Case, Attempt, CosignResult], bool]:
    """Return whether a candidate has this problem."""
    expression = re.compile(pattern)
    return lambda _, attempt, __: expression.fullmatch(attempt.problem) is not None


def _has_capital_digest(case: Case) -> bool:
    """Return whether a statement has the digest of the image in other letters."""
    digest = IMAGE.removeprefix("sha256:").encode()
    found = [_PAYLOAD.search(content) for content, _ in case.repository.served.values()]
    statements = [base64.b64decode(match[1]) for match in found if match is not None]
    return any(digest in statement.lower() and digest not in statement for statement in statements)


STRICTER: Final[dict[str, Kind]] = {
    "an attestation": Kind(
        "cosign does not compare the predicate, so that a key that signs SBOMs or scan reports would approve "
        "every image (compare CVE-2022-35929); and the predicate that a manifest names, which is not signed, "
        "can make us skip a bundle",
        _problem("it is an attestation"),
    ),
    "another type of payload": Kind(
        "cosign does not compare critical.type, by which simple signing names what is signed",
        _problem(r"the payload is of another type|the payload has no critical\.type"),
    ),
    "another media type of a layer": Kind(
        "cosign takes each layer of the tag for a signature, and a layer without a type, too",
        _problem(r"it is a layer of another media type|the manifest has no layers\[\d+\]\.mediaType"),
    ),
    "another type of statement": Kind(
        "cosign does not compare _type, or accepts none",
        _problem(r"the statement is not one of in-toto|the statement has no _type"),
    ),
    "another name of a bundle's type": Kind(
        "cosign takes each layer whose type begins like a bundle's, and accepts two more names of version 0.3 "
        "inside; cosign sign writes one",
        _problem("it is not (one|a) bundle of version 0.3"),
    ),
    "several subjects": Kind(
        "cosign looks for the digest among all subjects; cosign sign writes exactly one",
        _problem("the statement does not have exactly one subject"),
    ),
    "other base64": Kind(
        "Go ignores line breaks and spare bits; protobuf also accepts the alphabet of URLs and no padding",
        _problem("(its signature|the payload) is not base64"),
    ),
    "a raw signature": Kind(
        "cosign also accepts the two numbers of ECDSA one after the other; cosign sign and KMS write DER",
        lambda case, attempt, _: case.has_raw_signature and attempt.outcome is Outcome.BAD,
    ),
    "a key twice": Kind(
        "Go takes the last one, and other readers the first",
        _problem("the (manifest|listing|payload) has a key twice"),
    ),
    "another spelling of a key": Kind(
        "Go ignores the case of names; other readers do not",
        _problem("the (manifest|listing|payload) has another spelling of a member"),
    ),
    "a name of protobuf": Kind(
        "protobuf also accepts the names of its definition, such as media_type and type",
        _problem("the (bundle|statement) has a member that is not known"),
    ),
    "odd JSON": Kind(
        "Go ignores bytes after a manifest, and numbers that it does not need; it replaces bytes that are not "
        "UTF-8, and halves of surrogate pairs",
        _problem("the (manifest|listing|payload) is not JSON"),
    ),
    "deep JSON": Kind(
        "Go's limit is 10000, and that of protobuf as well",
        _problem("the (manifest|listing|payload|bundle|statement) is nested more than 32 deep"),
    ),
    "null in a list or a map": Kind(
        "Go reads it as an empty value",
        _problem(r"(layers|manifests)\[\d+\] of the \w+ is not an object|.*annotations of the \w+ is not .*"),
    ),
    "no size of a manifest": Kind(
        "cosign does not need it; we read no more than it says",
        _problem(r"the listing has no manifests\[\d+\]\.size"),
    ),
    "capital letters in cosign 2": Kind(
        "cosign 2 compares the digest of a statement as a number; cosign sign writes it as registries do",
        lambda case, attempt, theirs: (
            theirs.version == "cosign2"
            and attempt.outcome is Outcome.OTHER_IMAGE
            and _has_capital_digest(case)
        ),
    ),
    "an artifact type in cosign 2": Kind(
        "its version of go-containerregistry does not know this member of a manifest",
        lambda _, attempt, theirs: (
            theirs.version == "cosign2" and attempt.problem.startswith("artifactType of the ")
        ),
    ),
    "annotations of a bundle in cosign 2": Kind(
        "cosign 2 does not compare the annotations of bundles",
        lambda _, attempt, theirs: (
            theirs.version == "cosign2"
            and (attempt.format, attempt.outcome) == (SignatureFormat.BUNDLE, Outcome.ANNOTATIONS)
        ),
    ),
}
"""What cosign accepts and this project refuses: one candidate of the repository is of this kind."""

LENIENT: Final[dict[str, Kind]] = {
    "P-384 and P-521": Kind(
        "cosign signs with the hash of the curve and verifies with SHA-256 (cosign issues 5091 and 5092), so that "
        "it refuses its own signatures",
        lambda case, attempt, _: (
            (case.key in ("p384", "p521") or (case.key[:4] in ("p384", "p521") and case.has_other_hash))
            and attempt.outcome is Outcome.VALID
        ),
    ),
    "a good .sig beside a bundle": Kind(
        "as soon as there is a listing with an entry, cosign looks at bundles only, whoever wrote them",
        lambda case, attempt, theirs: (
            case.has_listing
            and (attempt.format, attempt.outcome) == (SignatureFormat.SIMPLE_SIGNING, Outcome.VALID)
            and ("attestation" in theirs.error or "no signatures found" in theirs.error)
        ),
    ),
    "a malformed layer or entry beside a good one": Kind(
        "cosign refuses the whole manifest or listing, so that anyone who may push can hide a good signature; we "
        "read each layer and each entry by itself, and the malformed one does not count",
        _problem(
            r"(layers|manifests)\[\d+\]\S* of the (manifest|listing) is not .*"
            r"|the (manifest|listing) has no (layers|manifests)\[\d+\]\.digest"
        ),
    ),
    "damaged data beside the signature": Kind(
        "cosign reads entries of transparency logs, timestamps and certificates before it ignores them; with a key "
        "alone they prove nothing, so we do not read them",
        lambda case, attempt, _: case.has_damaged_data and attempt.outcome is Outcome.VALID,
    ),
}
"""What this project accepts and cosign refuses: one candidate is of this kind."""


def find_kind(case: Case, ours: OwnResult, theirs: CosignResult) -> str:
    """Return the name of the kind that explains a disagreement, an empty text if none does."""
    kinds = LENIENT if ours.is_valid else STRICTER
    for name, kind in kinds.items():
        if any(kind.matches(case, attempt, theirs) for attempt in ours.attempts):
            return name
    return ""


def describe(case: Case, ours: OwnResult, theirs: CosignResult) -> str:
    """Return a disagreement as text."""
    found = "; ".join(f"{attempt.outcome.name} {attempt.problem}" for attempt in ours.attempts)
    said = "valid" if theirs.is_valid else theirs.error
    return f"case {case.number}, {case.key}, {case.changes}, {case.annotations}: {found} | {theirs.version}: {said}"
