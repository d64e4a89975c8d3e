"""Simple signing: the manifest of the tag, and payloads."""

from __future__ import annotations

from typing import Any

import pytest

from tests.signing import making
from tests.signing.making import IMAGE, OTHER_IMAGE, Signer, compact, image_manifest, layer, payload, signer
from webhook.signatures.attempt import Attempt, Outcome, SignatureFormat
from webhook.signatures.limits import MAX_PAYLOAD, MAX_SIGNATURE, MAX_SIGNATURES
from webhook.signatures.requirement import Requirement
from webhook.signatures.simple_signing import (
    SIGNATURE_ANNOTATION,
    SignatureLayer,
    check_simple_signature,
    read_signature_manifest,
    signature_tag,
)

PAYLOAD = payload()
SIGNATURE = signer("p256").sign(PAYLOAD)
LAYER = SignatureLayer(making.sha256(PAYLOAD), len(PAYLOAD), SIGNATURE)
REQUIREMENT = Requirement((("release", signer("p256").key), ("rsa", signer("rsa2048").key)))


def attempt(outcome: Outcome, problem: str = "", *signers: str) -> Attempt:
    """Return an outcome of this format."""
    return Attempt(SignatureFormat.SIMPLE_SIGNING, outcome, signers, problem)


def read(*layers: Any, **more: Any) -> list[SignatureLayer | Attempt]:
    """Read a manifest with these layers."""
    return read_signature_manifest(compact(image_manifest(layers, **more)))


def test_tag_names_the_digest() -> None:
    """As cosign names it."""
    assert signature_tag(IMAGE) == f"sha256-{IMAGE.removeprefix('sha256:')}.sig"


def test_layer_is_a_signature() -> None:
    """Other annotations are not read: certificates, chains, entries of a transparency log."""
    notes = {SIGNATURE_ANNOTATION: making.to_base64(SIGNATURE), "dev.sigstore.cosign/certificate": "x"}
    assert read(layer(PAYLOAD, None, annotations=notes)) == [LAYER]
    docker = "application/vnd.docker.distribution.manifest.v2+json"
    assert read(layer(PAYLOAD, SIGNATURE), mediaType=docker) == [LAYER]


ANOTHER_TYPE = attempt(Outcome.NOT_A_SIGNATURE, "it is a layer of another media type")

LAYERS: list[tuple[str, dict[str, Any], Attempt]] = [
    ("an attestation", {"mediaType": "application/vnd.dsse.envelope.v1+json"}, ANOTHER_TYPE),
    ("an SBOM", {"mediaType": "text/spdx+json"}, ANOTHER_TYPE),
    ("a layer of an image", {"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip"}, ANOTHER_TYPE),
    (
        "a type with parameters",
        {"mediaType": "application/vnd.dev.cosign.simplesigning.v1+json;x=y"},
        ANOTHER_TYPE,
    ),
    ("no type", {"mediaType": None}, attempt(Outcome.MALFORMED, "the manifest has no layers[0].mediaType")),
    (
        "no annotations",
        {"annotations": None},
        attempt(Outcome.MALFORMED, f"its signature does not have 1 to {MAX_SIGNATURE} bytes"),
    ),
    (
        "an empty signature",
        {"annotations": {SIGNATURE_ANNOTATION: ""}},
        attempt(Outcome.MALFORMED, f"its signature does not have 1 to {MAX_SIGNATURE} bytes"),
    ),
    (
        "a long signature",
        {"annotations": {SIGNATURE_ANNOTATION: making.to_base64(bytes(MAX_SIGNATURE + 1))}},
        attempt(Outcome.MALFORMED, f"its signature does not have 1 to {MAX_SIGNATURE} bytes"),
    ),
    (
        "a signature that is not base64",
        {"annotations": {SIGNATURE_ANNOTATION: "MEU*"}},
        attempt(Outcome.MALFORMED, "its signature is not base64"),
    ),
    (
        "an annotation of another case",
        {"annotations": {SIGNATURE_ANNOTATION.upper(): making.to_base64(SIGNATURE)}},
        attempt(Outcome.MALFORMED, f"its signature does not have 1 to {MAX_SIGNATURE} bytes"),
    ),
    (
        "a large payload",
        {"size": MAX_PAYLOAD + 1},
        attempt(Outcome.MALFORMED, "its size is not from 0 to 65536 bytes"),
    ),
    (
        "a digest by SHA-512",
        {"digest": "sha512:" + "b" * 128},
        attempt(Outcome.MALFORMED, "layers[0].digest of the manifest is not a digest by SHA-256"),
    ),
    (
        "null as an annotation",
        {"annotations": {"x": None, SIGNATURE_ANNOTATION: making.to_base64(SIGNATURE)}},
        attempt(Outcome.MALFORMED, "layers[0].annotations of the manifest is not an object of strings"),
    ),
    ("a negative size", {"size": -1}, attempt(Outcome.MALFORMED, "its size is not from 0 to 65536 bytes")),
]


@pytest.mark.parametrize(("name", "changes", "outcome"), LAYERS, ids=[case[0] for case in LAYERS])
def test_other_layer_does_not_count(name: str, changes: dict[str, Any], outcome: Attempt) -> None:
    """And does not hide a signature beside it."""
    other = layer(PAYLOAD, SIGNATURE) | changes
    assert read(other) == [outcome]
    assert LAYER in read(other, layer(PAYLOAD, SIGNATURE))
    assert LAYER in read(layer(PAYLOAD, SIGNATURE), other)


@pytest.mark.parametrize(
    ("manifest", "problem"),
    [
        (b"", "the manifest is not JSON"),
        (b"[]", "the manifest is not a JSON object"),
        (
            compact(image_manifest([layer(PAYLOAD, SIGNATURE)], config={"digest": None})),
            "config.digest of the manifest is not a digest by SHA-256",
        ),
        (compact(image_manifest([]) | {"layers": {}}), "layers of the manifest is not a list"),
        (compact(image_manifest([layer(PAYLOAD, SIGNATURE)]))[:-1], "the manifest is not JSON"),
        (compact({"Layers": [layer(PAYLOAD, SIGNATURE)]}), "the manifest has another spelling of a member"),
    ],
)
def test_other_manifest_is_malformed(manifest: bytes, problem: str) -> None:
    """One problem for the whole manifest."""
    assert read_signature_manifest(manifest) == [attempt(Outcome.MALFORMED, problem)]


@pytest.mark.parametrize("manifest", [b"{}", b'{"layers":null}', b'{"layers":[]}'])
def test_manifest_without_layers_has_no_signatures(manifest: bytes) -> None:
    """It is an image without layers."""
    assert read_signature_manifest(manifest) == []


def test_last_layers_are_read_first() -> None:
    """Because cosign appends, so that the newest signature is found even after many others."""
    layers = [layer(b"%d" % number, b"x") for number in range(MAX_SIGNATURES + 5)]
    found = read(*layers)
    expected = [entry["digest"] for entry in reversed(layers[5:])]
    assert [entry.digest for entry in found if isinstance(entry, SignatureLayer)] == expected
    assert found[MAX_SIGNATURES:] == [
        attempt(Outcome.NOT_EXAMINED, f"only {MAX_SIGNATURES} signatures are examined")
    ]
    assert read(*layers[5:]) == found[:MAX_SIGNATURES]


def test_layers_of_other_types_are_not_counted() -> None:
    """They cost no request, so that they need not hide an older signature."""
    other = layer(PAYLOAD, SIGNATURE) | {"mediaType": "x"}
    assert read(layer(PAYLOAD, SIGNATURE), *[other] * 100) == [*[ANOTHER_TYPE] * 100, LAYER]


@pytest.mark.parametrize("value", [None, [], "x", {}, {"digest": None}])
def test_value_that_is_no_layer_hides_no_signature(value: Any) -> None:
    good, odd = read(value, layer(PAYLOAD, SIGNATURE))
    assert good == LAYER
    assert isinstance(odd, Attempt)
    assert odd.outcome is Outcome.MALFORMED


def check(signed: bytes, by: Signer | None = None, requirement: Requirement = REQUIREMENT) -> Attempt:
    """Check a payload that a key signed."""
    signature = (by or signer("p256")).sign(signed)
    found = SignatureLayer(making.sha256(signed), len(signed), signature)
    return check_simple_signature(signed, found, IMAGE, requirement)


VALID = {
    "as cosign writes it": PAYLOAD,
    "white space": PAYLOAD.replace(b":", b": ").replace(b"sha256: ", b"sha256:") + b"\n",
    "another reference": PAYLOAD.replace(b"registry.example.com/team/app", b"127.0.0.1/x"),
    "no identity": PAYLOAD.replace(b'"identity":', b'"x":'),
    "no optional": PAYLOAD.replace(b',"optional":null', b""),
    "other members": payload(optional={"creator": "x", "timestamp": 1700000000, "nested": {"a": [1]}}),
    "optional members with names of the format": payload(optional={"Type": "x", "CRITICAL": {}}),
    "escapes": PAYLOAD.replace(b"critical", rb"\u0063ritical", 1),
}


@pytest.mark.parametrize("name", VALID)
def test_payload_about_the_image_is_valid(name: str) -> None:
    """The exact bytes are signed. Mirrors change the host, so the reference is not compared."""
    assert check(VALID[name]) == attempt(Outcome.VALID, "", "release")


OF_ANOTHER_IMAGE = attempt(Outcome.OTHER_IMAGE, "it is of another image")

SIGNED: list[tuple[str, bytes, Attempt]] = [
    ("another digest", payload(OTHER_IMAGE), OF_ANOTHER_IMAGE),
    ("capital letters", payload(IMAGE.upper()), OF_ANOTHER_IMAGE),
    ("no algorithm", payload(IMAGE.removeprefix("sha256:")), OF_ANOTHER_IMAGE),
    ("a space", payload(f"{IMAGE} "), OF_ANOTHER_IMAGE),
    ("an empty digest", payload(""), OF_ANOTHER_IMAGE),
    (
        "another type",
        payload(kind="atomic container signature"),
        attempt(Outcome.NOT_A_SIGNATURE, "the payload is of another type"),
    ),
    (
        "no type",
        PAYLOAD.replace(b'"type"', b'"x"'),
        attempt(Outcome.MALFORMED, "the payload has no critical.type"),
    ),
    ("no critical", b'{"optional":null}', attempt(Outcome.MALFORMED, "the payload has no critical")),
    (
        "no image",
        PAYLOAD.replace(b'"image"', b'"x"'),
        attempt(Outcome.MALFORMED, "the payload has no critical.image"),
    ),
    (
        "no digest",
        PAYLOAD.replace(b'"docker-manifest-digest"', b'"x"'),
        attempt(Outcome.MALFORMED, "the payload has no critical.image.docker-manifest-digest"),
    ),
    (
        "two digests",
        PAYLOAD.replace(
            b'"docker-manifest-digest"', b'"docker-manifest-digest":"x","docker-manifest-digest"'
        ),
        attempt(Outcome.MALFORMED, "the payload has a key twice"),
    ),
    (
        "another spelling",
        PAYLOAD.replace(b'"critical"', b'"Critical"'),
        attempt(Outcome.MALFORMED, "the payload has another spelling of a member"),
    ),
    (
        "another spelling beside it",
        PAYLOAD.replace(b'"image"', b'"Image":{},"image"'),
        attempt(Outcome.MALFORMED, "the payload has another spelling of a member"),
    ),
    (
        "a reference that is not text",
        PAYLOAD.replace(b'"registry.example.com/team/app"', b"5"),
        attempt(Outcome.MALFORMED, "critical.identity.docker-reference of the payload is not a string"),
    ),
    (
        "annotations in a list",
        payload(optional=[]),
        attempt(Outcome.MALFORMED, "optional of the payload is not an object"),
    ),
    ("two values", PAYLOAD + b"{}", attempt(Outcome.MALFORMED, "the payload is not JSON")),
    ("a byte order mark", b"\xef\xbb\xbf" + PAYLOAD, attempt(Outcome.MALFORMED, "the payload is not JSON")),
    ("a list", b"[" + PAYLOAD + b"]", attempt(Outcome.MALFORMED, "the payload is not a JSON object")),
    ("text", b"x", attempt(Outcome.MALFORMED, "the payload is not JSON")),
    ("nothing", b"", attempt(Outcome.MALFORMED, "the payload is not JSON")),
    ("a deep value", b"[" * 1000, attempt(Outcome.MALFORMED, "the payload is nested more than 32 deep")),
    (
        "many values",
        payload(optional={"x": [0] * 1000}),
        attempt(Outcome.MALFORMED, "the payload has more than 1000 values"),
    ),
    (
        "many bytes",
        payload(optional={"x": "y" * MAX_PAYLOAD}),
        attempt(Outcome.MALFORMED, "the payload has more than 65536 bytes"),
    ),
]


@pytest.mark.parametrize(("name", "signed", "outcome"), SIGNED, ids=[case[0] for case in SIGNED])
def test_other_payload_by_our_key_does_not_count(name: str, signed: bytes, outcome: Attempt) -> None:
    """A key may sign anything."""
    assert check(signed) == outcome


@pytest.mark.parametrize("signed", [PAYLOAD, payload(OTHER_IMAGE), b"", b"x"])
def test_payload_by_another_key_is_bad(signed: bytes) -> None:
    """Whatever it says: it is not read."""
    assert check(signed, signer("other")) == attempt(Outcome.BAD, "no key that counts has signed it")


def test_changed_payload_is_bad() -> None:
    """The signature is of exactly these bytes."""
    for changed in (PAYLOAD + b"\n", payload(OTHER_IMAGE), PAYLOAD[:-1]):
        found = check_simple_signature(changed, LAYER, IMAGE, REQUIREMENT)
        assert found == attempt(Outcome.BAD, "no key that counts has signed it")


def test_another_digest_was_asked_for() -> None:
    """Also one that is no digest, which a payload could spell in the same way."""
    assert check_simple_signature(PAYLOAD, LAYER, OTHER_IMAGE, REQUIREMENT) == OF_ANOTHER_IMAGE
    signed = payload("sha512:x")
    found = SignatureLayer("", 0, signer("p256").sign(signed))
    assert check_simple_signature(signed, found, "sha512:x", REQUIREMENT) == OF_ANOTHER_IMAGE


@pytest.mark.parametrize(
    ("optional", "outcome"),
    [
        ({"stage": "prod"}, Outcome.VALID),
        ({"stage": "prod", "x": 1}, Outcome.VALID),
        ({"stage": "test"}, Outcome.ANNOTATIONS),
        ({"Stage": "prod"}, Outcome.ANNOTATIONS),
        ({"stage": ["prod"]}, Outcome.ANNOTATIONS),
        ({}, Outcome.ANNOTATIONS),
        (None, Outcome.ANNOTATIONS),
    ],
)
def test_required_annotations_must_be_signed(optional: Any, outcome: Outcome) -> None:
    """With exactly these values."""
    requirement = Requirement(REQUIREMENT.keys, 1, (("stage", "prod"),))
    found = check(payload(optional=optional), requirement=requirement)
    assert (found.outcome, found.signers) == (outcome, ("release",))
