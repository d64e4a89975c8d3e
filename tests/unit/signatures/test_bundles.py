"""Bundles: listings, manifests, envelopes and statements."""

from __future__ import annotations

from typing import Any

import pytest

from tests.signing import making
from tests.signing.making import (
    IMAGE,
    OTHER_IMAGE,
    bundle,
    bundle_manifest,
    compact,
    envelope,
    image_manifest,
    index,
    referrer,
    signed_bundle,
    signer,
    statement,
)
from webhook.signatures.attempt import Attempt, Outcome, SignatureFormat
from webhook.signatures.bundles import (
    BUNDLE_TYPE,
    PAYLOAD_TYPE,
    PREDICATE_ANNOTATION,
    SIGNATURE_PREDICATE,
    BundleLayer,
    Referrer,
    check_bundle,
    encode_signed,
    read_bundle_manifest,
    read_referrers,
)
from webhook.signatures.limits import MAX_BUNDLE, MAX_MANIFEST, MAX_SIGNATURES
from webhook.signatures.requirement import Requirement

REQUIREMENT = Requirement((("release", signer("p256").key), ("rsa", signer("rsa2048").key)))
STATEMENT = statement()
BUNDLE = compact(signed_bundle(signer("p256"), STATEMENT))
MANIFEST = compact(bundle_manifest(BUNDLE))
SPDX = "https://spdx.dev/Document"


def attempt(outcome: Outcome, problem: str = "", *signers: str) -> Attempt:
    """Return an outcome of this format."""
    return Attempt(SignatureFormat.BUNDLE, outcome, signers, problem)


ATTESTATION = attempt(Outcome.NOT_A_SIGNATURE, "it is an attestation")
ANOTHER_KEY = attempt(Outcome.BAD, "no key that counts has signed it")


def read(*entries: Any, **more: Any) -> list[Referrer | Attempt]:
    """Read a listing."""
    return read_referrers(compact(index(entries, **more)))


REFERRER = Referrer(making.sha256(MANIFEST), len(MANIFEST))

ENTRIES: list[tuple[str, dict[str, Any], Referrer | Attempt]] = [
    ("as in a fallback tag", {}, REFERRER),
    ("the type of the config", {"artifactType": "application/vnd.oci.empty.v1+json"}, REFERRER),
    ("no artifact type", {"artifactType": None}, REFERRER),
    ("a type that is not known", {"artifactType": "application/vnd.cncf.notary.signature"}, REFERRER),
    ("annotations", {"annotations": {PREDICATE_ANNOTATION: SIGNATURE_PREDICATE, "x": "y"}}, REFERRER),
    ("an attestation", {"annotations": {PREDICATE_ANNOTATION: SPDX}}, ATTESTATION),
    ("no predicate", {"annotations": {PREDICATE_ANNOTATION: ""}}, ATTESTATION),
    (
        "a large manifest",
        {"size": MAX_MANIFEST + 1},
        attempt(Outcome.MALFORMED, "its size is not from 0 to 1048576 bytes"),
    ),
    ("no size", {"size": None}, attempt(Outcome.MALFORMED, "the listing has no manifests[0].size")),
]


@pytest.mark.parametrize(("name", "changes", "outcome"), ENTRIES, ids=[case[0] for case in ENTRIES])
def test_entry_is_a_candidate_or_does_not_count(
    name: str, changes: dict[str, Any], outcome: Referrer | Attempt
) -> None:
    """The artifact type says nothing; another predicate needs no request."""
    assert read(referrer(MANIFEST, **changes)) == [outcome]


@pytest.mark.parametrize("listing", [b"{}", b'{"manifests":[]}', b'{"manifests":null}'])
def test_empty_listing_has_no_candidates(listing: bytes) -> None:
    """Go writes null for an empty list."""
    assert read_referrers(listing) == []


@pytest.mark.parametrize(
    ("listing", "problem"),
    [
        (b"", "the listing is not JSON"),
        (b"[]", "the listing is not a JSON object"),
        (compact({"Manifests": []}), "the listing has another spelling of a member"),
        (b'{"manifests":[],"manifests":[]}', "the listing has a key twice"),
    ],
)
def test_other_listing_is_malformed(listing: bytes, problem: str) -> None:
    """One problem for the whole listing."""
    assert read_referrers(listing) == [attempt(Outcome.MALFORMED, problem)]


ODD_ENTRIES: list[tuple[Any, str]] = [
    (None, "manifests[1] of the listing is not an object"),
    ([], "manifests[1] of the listing is not an object"),
    ({"size": 5}, "the listing has no manifests[1].digest"),
    (
        referrer(MANIFEST, digest="sha512:" + "b" * 128),
        "manifests[1].digest of the listing is not a digest by SHA-256",
    ),
    (
        referrer(MANIFEST, annotations={"x": None}),
        "manifests[1].annotations of the listing is not an object of strings",
    ),
    (referrer(MANIFEST, Digest="x"), "the listing has another spelling of a member"),
]


@pytest.mark.parametrize(("entry", "problem"), ODD_ENTRIES)
def test_odd_entry_is_one_malformed_candidate(entry: Any, problem: str) -> None:
    """Anyone who may push has it in the listing, and must not hide a good bundle."""
    listing = compact(index([referrer(MANIFEST), entry, referrer(MANIFEST)]))
    assert read_referrers(listing) == [REFERRER, attempt(Outcome.MALFORMED, problem), REFERRER]


def test_odd_entries_are_counted() -> None:
    """They cost no request, and fill the places as signatures by strangers do."""
    odd = referrer(MANIFEST, digest="sha512:" + "b" * 128)
    found = read(*[referrer(MANIFEST)], *[odd] * MAX_SIGNATURES)
    assert [one.outcome for one in found if isinstance(one, Attempt)] == [
        *[Outcome.MALFORMED] * MAX_SIGNATURES,
        Outcome.NOT_EXAMINED,
    ]
    assert REFERRER not in found
    assert REFERRER in read(*[referrer(MANIFEST)], *[odd] * (MAX_SIGNATURES - 1))


def test_last_entries_are_read_first_and_attestations_are_not_counted() -> None:
    """Clients append to a fallback tag; SBOMs and scan reports must not fill the limit."""
    entries = []
    for number in range(MAX_SIGNATURES + 5):
        entries.append(referrer(b"%d" % number))
        entries.append(referrer(b"x%d" % number, annotations={PREDICATE_ANNOTATION: SPDX}))
    found = read(*entries)
    digests = [entry.digest for entry in found if isinstance(entry, Referrer)]
    assert digests == [making.sha256(b"%d" % number) for number in range(MAX_SIGNATURES + 4, 4, -1)]
    assert {entry for entry in found if isinstance(entry, Attempt)} == {
        ATTESTATION,
        attempt(Outcome.NOT_EXAMINED, f"only {MAX_SIGNATURES} signatures are examined"),
    }
    assert found[-1] != ATTESTATION


LAYER = BundleLayer(making.sha256(BUNDLE), len(BUNDLE))
VERSION = attempt(Outcome.MALFORMED, "it is not one bundle of version 0.3")
OTHER_ARTIFACT = attempt(Outcome.NOT_A_SIGNATURE, "it is another artifact")


def layers(*changes: dict[str, Any]) -> dict[str, Any]:
    """Return a change of a manifest: its layers."""
    [described] = bundle_manifest(BUNDLE)["layers"]
    return {"layers": [described | change for change in changes]}


MANIFESTS: list[tuple[str, dict[str, Any], BundleLayer | Attempt]] = [
    ("as cosign writes it", {}, LAYER),
    ("without annotations", {"annotations": None}, LAYER),
    ("the subject is another image", {"subject": referrer(b"x")}, LAYER),
    ("another artifact type", {"artifactType": "x"}, LAYER),
    ("an attestation", {"annotations": {PREDICATE_ANNOTATION: SPDX}}, ATTESTATION),
    ("version 0.1", layers({"mediaType": "application/vnd.dev.sigstore.bundle+json;version=0.1"}), VERSION),
    ("version 0.2", layers({"mediaType": "application/vnd.dev.sigstore.bundle.v0.2+json"}), VERSION),
    ("two bundles", layers({}, {}), VERSION),
    ("a bundle and something else", layers({}, {"mediaType": "x"}), VERSION),
    ("an SBOM", layers({"mediaType": "text/spdx+json"}), OTHER_ARTIFACT),
    ("no layers", {"layers": None}, OTHER_ARTIFACT),
    (
        "no media type",
        layers({"mediaType": None}),
        attempt(Outcome.MALFORMED, "the manifest has no layers[0].mediaType"),
    ),
    (
        "a large bundle",
        layers({"size": MAX_BUNDLE + 1}),
        attempt(Outcome.MALFORMED, "its size is not from 0 to 262144 bytes"),
    ),
    (
        "no digest",
        {"layers": [{}]},
        attempt(Outcome.MALFORMED, "the manifest has no layers[0].digest"),
    ),
]


@pytest.mark.parametrize(("name", "changes", "outcome"), MANIFESTS, ids=[case[0] for case in MANIFESTS])
def test_manifest_names_one_bundle_or_does_not_count(
    name: str, changes: dict[str, Any], outcome: BundleLayer | Attempt
) -> None:
    """Its annotations and subject are not signed. They can save a request."""
    assert read_bundle_manifest(compact(bundle_manifest(BUNDLE) | changes)) == outcome


def test_listing_instead_of_manifest_is_another_artifact() -> None:
    """An index has no layers."""
    assert read_bundle_manifest(compact(index([]))) == OTHER_ARTIFACT
    assert read_bundle_manifest(compact(image_manifest([]))) == OTHER_ARTIFACT
    assert read_bundle_manifest(b"x") == attempt(Outcome.MALFORMED, "the manifest is not JSON")


def test_signed_bytes_are_those_of_dsse() -> None:
    """The example of the DSSE specification (protocol.md)."""
    encoded = encode_signed("http://example.com/HelloWorld", b"hello world")
    assert encoded == b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    assert encode_signed("é", b"") == "DSSEv1 2 é 0 ".encode()


def check(content: Any, requirement: Requirement = REQUIREMENT, digest: str = IMAGE) -> Attempt:
    """Check a bundle, given as bytes or as a value."""
    return check_bundle(content if isinstance(content, bytes) else compact(content), digest, requirement)


def by(name: str, signed: bytes, **changes: Any) -> dict[str, Any]:
    """Return a bundle with a statement, signed by a key."""
    return signed_bundle(signer(name), signed) | changes


VALID: dict[str, Any] = {
    "as cosign 3 writes it": BUNDLE,
    "as cosign 2 writes it": by(
        "p256",
        compact(
            {
                "_type": "https://in-toto.io/Statement/v1",
                "subject": [{"digest": {"sha256": IMAGE[7:]}}],
                "predicateType": SIGNATURE_PREDICATE,
            }
        ),
    ),
    "statement of version 0.1": by("p256", statement(_type="https://in-toto.io/Statement/v0.1")),
    "white space": BUNDLE.replace(b":{", b" : {\n"),
    "white space in the statement": by("p256", STATEMENT.replace(b":{", b" : {\n")),
    "the hint of another key": by("p256", STATEMENT, verificationMaterial={"publicKey": {"hint": "x"}}),
    "no hint": by("p256", STATEMENT, verificationMaterial={"publicKey": {}}),
    "an entry of a transparency log": by(
        "p256", STATEMENT, verificationMaterial={"publicKey": {}, "tlogEntries": [{"logIndex": "5"}]}
    ),
    "null for what is absent": by(
        "p256", STATEMENT, messageSignature=None, verificationMaterial={"publicKey": {}, "certificate": None}
    ),
    "a key ID": bundle(
        envelope(
            STATEMENT,
            "",
            signatures=[
                {
                    "sig": making.to_base64(signer("p256").sign(encode_signed(PAYLOAD_TYPE, STATEMENT))),
                    "keyid": "x",
                }
            ],
        )
    ),
    "a name of the subject": by(
        "p256", statement(subject=[{"name": "x", "digest": {"sha256": IMAGE[7:]}, "annotations": {}}])
    ),
}


@pytest.mark.parametrize("name", VALID)
def test_statement_about_the_image_is_valid(name: str) -> None:
    """The exact bytes of the payload are signed. A hint proves nothing, so it is not compared."""
    assert check(VALID[name]) == attempt(Outcome.VALID, "", "release")


def test_key_may_be_of_any_allowed_kind() -> None:
    """Each by its hash."""
    for name in ("rsa2048", "p384", "p384-sha256", "p521", "p521-sha256", "sm2"):
        found = check(by(name, STATEMENT), Requirement(((name, signer(name).key),)))
        assert found == attempt(Outcome.VALID, "", name)


def of(**changes: Any) -> dict[str, Any]:
    """Return a bundle by our key with a changed statement."""
    return by("p256", statement(**changes))


def enclosing(**changes: Any) -> dict[str, Any]:
    """Return a bundle by our key with a changed envelope."""
    signature = signer("p256").sign(encode_signed(PAYLOAD_TYPE, STATEMENT))
    return bundle(envelope(STATEMENT, signature, **changes))


OF_ANOTHER_IMAGE = attempt(Outcome.OTHER_IMAGE, "it is of another image")
TWICE = b'"subject":[],"subject":'
OURS = {"digest": {"sha256": IMAGE[7:]}}

BUNDLES: list[tuple[str, Any, Attempt]] = [
    # the statement
    ("another image", of(digest=OTHER_IMAGE), OF_ANOTHER_IMAGE),
    (
        "a digest in capital letters",
        of(subject=[{"digest": {"sha256": IMAGE[7:].upper()}}]),
        OF_ANOTHER_IMAGE,
    ),
    ("a digest with its algorithm", of(subject=[{"digest": {"sha256": IMAGE}}]), OF_ANOTHER_IMAGE),
    ("an SBOM", of(kind=SPDX), ATTESTATION),
    ("no predicate", of(kind=""), ATTESTATION),
    ("a predicate that is not text", of(predicateType=5), ATTESTATION),
    (
        "another statement",
        of(_type="https://example.com/x"),
        attempt(Outcome.MALFORMED, "the statement is not one of in-toto"),
    ),
    (
        "two subjects",
        of(subject=[OURS, {"digest": {"sha256": OTHER_IMAGE[7:]}}]),
        attempt(Outcome.MALFORMED, "the statement does not have exactly one subject"),
    ),
    (
        "the same subject twice",
        of(subject=[OURS, OURS]),
        attempt(Outcome.MALFORMED, "the statement does not have exactly one subject"),
    ),
    (
        "no subject",
        of(subject=[]),
        attempt(Outcome.MALFORMED, "the statement does not have exactly one subject"),
    ),
    (
        "no digest of the subject",
        of(subject=[{}]),
        attempt(Outcome.MALFORMED, "the statement has no subject[0].digest"),
    ),
    (
        "another algorithm",
        of(subject=[{"digest": {"sha512": "0" * 128}}]),
        attempt(Outcome.MALFORMED, "the statement has a member that is not known"),
    ),
    (
        "a key twice",
        by("p256", STATEMENT.replace(b'"subject":', TWICE)),
        attempt(Outcome.MALFORMED, "the statement has a key twice"),
    ),
    (
        "a member that is not known",
        of(more=1),
        attempt(Outcome.MALFORMED, "the statement has a member that is not known"),
    ),
    ("text", by("p256", b"x"), attempt(Outcome.MALFORMED, "the statement is not JSON")),
    # the envelope
    (
        "another type, signed as such",
        signed_bundle(signer("p256"), STATEMENT, "application/json"),
        attempt(Outcome.NOT_A_SIGNATURE, "the envelope is of another type"),
    ),
    (
        "another type, presented as in-toto",
        bundle(envelope(STATEMENT, signer("p256").sign(encode_signed("application/json", STATEMENT)))),
        ANOTHER_KEY,
    ),
    (
        "the payload without its encoding",
        bundle(envelope(STATEMENT, signer("p256").sign(STATEMENT))),
        ANOTHER_KEY,
    ),
    (
        "no signatures",
        enclosing(signatures=[]),
        attempt(Outcome.MALFORMED, "the envelope does not have exactly one signature"),
    ),
    (
        "two signatures",
        enclosing(signatures=[{"sig": "AA=="}, enclosing()["dsseEnvelope"]["signatures"][0]]),
        attempt(Outcome.MALFORMED, "the envelope does not have exactly one signature"),
    ),
    (
        "a signature that is not base64",
        enclosing(signatures=[{"sig": "AA"}]),
        attempt(Outcome.MALFORMED, "its signature is not base64"),
    ),
    (
        "an empty signature",
        enclosing(signatures=[{"sig": ""}]),
        attempt(Outcome.MALFORMED, "its signature does not have 1 to 1024 bytes"),
    ),
    (
        "a payload that is not base64",
        enclosing(payload="AA"),
        attempt(Outcome.MALFORMED, "the payload is not base64"),
    ),
    (
        "no payload",
        enclosing(payload=None),
        attempt(Outcome.MALFORMED, "the bundle has no dsseEnvelope.payload"),
    ),
    # the bundle
    (
        "version 0.1",
        by("p256", STATEMENT, mediaType="application/vnd.dev.sigstore.bundle+json;version=0.1"),
        attempt(Outcome.MALFORMED, "it is not a bundle of version 0.3"),
    ),
    (
        "no type",
        by("p256", STATEMENT, mediaType=None),
        attempt(Outcome.MALFORMED, "the bundle has no mediaType"),
    ),
    (
        "the signature of a blob",
        {key: value for key, value in by("p256", STATEMENT).items() if key != "dsseEnvelope"}
        | {"messageSignature": {"signature": "AA=="}},
        attempt(Outcome.NOT_A_SIGNATURE, "it is the signature of a blob"),
    ),
    (
        "the signature of a blob beside an envelope",
        by("p256", STATEMENT, messageSignature={}),
        attempt(Outcome.NOT_A_SIGNATURE, "it is the signature of a blob"),
    ),
    ("no envelope", bundle(None), attempt(Outcome.MALFORMED, "the bundle has no dsseEnvelope")),
    (
        "no material",
        by("p256", STATEMENT, verificationMaterial=None),
        attempt(Outcome.MALFORMED, "the bundle has no verificationMaterial"),
    ),
    (
        "neither key nor certificate",
        by("p256", STATEMENT, verificationMaterial={}),
        attempt(Outcome.BAD, "it is by a certificate and not by a key"),
    ),
    (
        "a certificate",
        by("p256", STATEMENT, verificationMaterial={"certificate": {"rawBytes": "AA=="}}),
        attempt(Outcome.BAD, "it is by a certificate and not by a key"),
    ),
    (
        "a key and a certificate",
        by("p256", STATEMENT, verificationMaterial={"publicKey": {}, "x509CertificateChain": {}}),
        attempt(Outcome.BAD, "it is by a certificate and not by a key"),
    ),
    (
        "a key inside",
        by("other", STATEMENT, verificationMaterial={"publicKey": {"hint": "", "rawBytes": "AA=="}}),
        attempt(Outcome.MALFORMED, "the bundle has a member that is not known"),
    ),
    (
        "a name of protobuf",
        BUNDLE.replace(b'"mediaType"', b'"media_type"'),
        attempt(Outcome.MALFORMED, "the bundle has a member that is not known"),
    ),
    (
        "many bytes",
        by("p256", statement(predicate={"x": "y" * MAX_BUNDLE})),
        attempt(Outcome.MALFORMED, "the bundle has more than 262144 bytes"),
    ),
    ("nothing", b"", attempt(Outcome.MALFORMED, "the bundle is not JSON")),
    # by another key
    ("another key", by("other", STATEMENT), ANOTHER_KEY),
    ("another key, another image", by("other", statement(OTHER_IMAGE)), ANOTHER_KEY),
    ("another key, text", by("other", b"x"), ANOTHER_KEY),
    ("an SBOM by another key", by("other", statement(kind=SPDX)), ATTESTATION),
    (
        "an SBOM by a certificate",
        by("other", statement(kind=SPDX), verificationMaterial={"certificate": {}}),
        ATTESTATION,
    ),
]


@pytest.mark.parametrize(("name", "content", "outcome"), BUNDLES, ids=[case[0] for case in BUNDLES])
def test_other_bundle_does_not_count(name: str, content: Any, outcome: Attempt) -> None:
    """By our key unless its name says otherwise. An attestation is one, whoever signed it."""
    assert check(content) == outcome


def test_another_digest_was_asked_for() -> None:
    """Also one that is no digest."""
    assert check(BUNDLE, digest=OTHER_IMAGE) == OF_ANOTHER_IMAGE
    assert check(of(subject=[{"digest": {"sha256": "x"}}]), digest="sha256:x") == OF_ANOTHER_IMAGE


@pytest.mark.parametrize(
    ("annotations", "outcome"),
    [
        ({"stage": "prod", "x": 1}, Outcome.VALID),
        ({"stage": "test"}, Outcome.ANNOTATIONS),
        ({"stage": None}, Outcome.ANNOTATIONS),
        ({}, Outcome.ANNOTATIONS),
    ],
)
def test_required_annotations_must_be_signed(annotations: Any, outcome: Outcome) -> None:
    """They are those of the subject."""
    requirement = Requirement(REQUIREMENT.keys, 1, (("stage", "prod"),))
    found = check(by("p256", statement(annotations=annotations)), requirement)
    assert (found.outcome, found.signers) == (outcome, ("release",))


def test_bundle_type_is_that_of_cosign() -> None:
    """Whole media types are compared."""
    assert BUNDLE_TYPE == "application/vnd.dev.sigstore.bundle.v0.3+json"
