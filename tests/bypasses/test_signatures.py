"""Signatures that are forged, borrowed or ambiguous, and the whole answer to the API server.

Each sample was made with real tools (``tests/data/signatures``). A registry holds it beside the image.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bypasses.full_stack import asked_at, wire_stack
from tests.bypasses.test_hostile_swr import finding
from tests.emulator.registry_state import OCI_INDEX
from tests.emulator.server import Emulator
from tests.signing.making import IMAGE, OTHER_IMAGE, compact, image_manifest, layer, payload, signer
from tests.signing.samples import Sample, read_keys, read_samples
from tests.signing.storing import Repository
from tests.support.builders import HOST
from webhook.registries import Evidence, RegistryTable, SignatureSettings, SigningKey
from webhook.signatures.keys import read_public_key

SAMPLES = {sample.name: sample for sample in read_samples()}

FORGED = [
    "other-key",
    "bundle-other-key",
    "tampered-payload",
    "truncated-signature",
    "trailing-signature-bytes",
    "empty-signature",
    "bundle-no-pae",
    "rsa-pss-signature",
]
"""Not made by the configured key over these bytes."""

BORROWED = ["other-digest", "bundle-other-digest", "legacy-index-child"]
"""Good signatures of other images."""

ATTESTATIONS = [
    "attestation-custom",
    "attestation-spdxjson",
    "attestation-vuln",
    "attestation-slsaprovenance1",
    "attestation-legacy",
    "attestation-as-sig",
    "bundle-predicate-other",
    "bundle-sign-blob",
    "payload-type",
    "sbom-tag",
]
"""Made by the configured key about the image, and not signatures. ``cosign verify`` accepts half of them."""

WITH_OWN_KEY = [
    "other-key-certificate",
    "bundle-other-key-certificate",
    "bundle-other-key-inside",
    "bundle-other-key-our-hint",
]
"""The data contains a key that it is signed with, or names the configured one."""

AMBIGUOUS = [
    "duplicate-key-first-ours",
    "duplicate-key-last-ours",
    "bundle-duplicate-key",
    "case-variant-key",
    "case-variant-both",
    "byte-order-mark",
    "trailing-data",
]
"""JSON that parsers read differently, signed by the configured key."""

GOOD = ["legacy-p256", "bundle-p256", "legacy-p384", "legacy-rsa3072", "sm2-default-id", "bundle-and-legacy"]


@pytest.fixture(scope="module")
def registry() -> Iterator[Emulator]:
    """Return an emulator of SWR in which the repositories of all samples are public."""
    with Emulator() as running:
        yield running


def evaluate(registry: Emulator, folder: Path, sample: Sample, pem: bytes = b"") -> tuple[bool, str]:
    """Return whether a Pod with the image of a sample is admitted, and the finding. ``pem`` is the key."""
    path = f"shop/{sample.name}"
    state = registry.state.registry
    state.public.add(path)
    state.has_referrers_api = False
    for place, (content, media_type) in sample.repository.served.items():
        kind, _, reference = place.partition("/")
        if kind == "blobs":
            state.put_blob(path, content, reference)
        else:  # a listing of referrers is found by its fallback tag as well
            tag = reference.replace(":", "-") if kind == "referrers" else reference
            state.put_manifest(path, tag, OCI_INDEX if kind == "referrers" else media_type, content)
    registry.state.set_tag(f"{path}:1", is_trusted=False, digest=sample.image)
    public_key = read_public_key(pem or read_keys()[sample.key])
    key = SigningKey("release", "/keys/release.pub", content=public_key.der)
    entry = asked_at(
        registry.url,
        folder,
        evidence=Evidence.SIGNATURE,
        signatures=SignatureSettings((key,), annotations=sample.annotations),
        registry_endpoint=registry.url,
    )
    stack = wire_stack(registry.url, folder, registries=RegistryTable.of([entry]), on_lookup_failure="allow")
    response = stack.decide(f"{HOST}/{path}:1")
    return response["allowed"], finding(response)


@pytest.mark.parametrize("name", GOOD)
def test_good_signature_admits_image(registry: Emulator, tmp_path: Path, name: str) -> None:
    """The other tests of this module would prove nothing otherwise."""
    assert evaluate(registry, tmp_path, SAMPLES[name]) == (True, "trusted")


@pytest.mark.parametrize("name", FORGED)
def test_forged_signature_does_not_admit_image(registry: Emulator, tmp_path: Path, name: str) -> None:
    """T59."""
    assert evaluate(registry, tmp_path, SAMPLES[name]) == (False, "untrusted/bad-signature")


@pytest.mark.parametrize("name", BORROWED)
def test_signature_of_other_image_does_not_admit_image(registry: Emulator, tmp_path: Path, name: str) -> None:
    """T60. A child of a signed index has no signature of its own."""
    expected = "untrusted/unsigned" if name == "legacy-index-child" else "untrusted/bad-signature"
    assert evaluate(registry, tmp_path, SAMPLES[name]) == (False, expected)


@pytest.mark.parametrize("name", ATTESTATIONS)
def test_attestation_does_not_admit_image(registry: Emulator, tmp_path: Path, name: str) -> None:
    """T61."""
    assert evaluate(registry, tmp_path, SAMPLES[name]) == (False, "untrusted/unsigned")


@pytest.mark.parametrize("name", WITH_OWN_KEY)
def test_key_in_data_does_not_admit_image(registry: Emulator, tmp_path: Path, name: str) -> None:
    """T62."""
    assert evaluate(registry, tmp_path, SAMPLES[name]) == (False, "untrusted/bad-signature")


@pytest.mark.parametrize("name", AMBIGUOUS)
def test_ambiguous_json_does_not_admit_image(registry: Emulator, tmp_path: Path, name: str) -> None:
    """T69."""
    assert evaluate(registry, tmp_path, SAMPLES[name]) == (False, "untrusted/bad-signature")


ONE_SPELLING = payload()
TWO_SPELLINGS = ONE_SPELLING.replace(
    b'"docker-manifest-digest":',
    f'"Docker-Manifest-Digest":"{OTHER_IMAGE}","docker-manifest-digest":'.encode(),
)


@pytest.mark.parametrize(("signed", "admitted"), [(ONE_SPELLING, True), (TWO_SPELLINGS, False)])
def test_second_spelling_of_key_does_not_admit_image(
    registry: Emulator, tmp_path: Path, signed: bytes, admitted: bool
) -> None:
    """T69. Go, and so the tool that signed it, may read the digest of the other image."""
    by = signer("p256")
    repository = Repository()
    repository.put_signatures(compact(image_manifest([layer(signed, by.sign(signed))])), signed)
    sample = Sample("spellings", "", IMAGE, "", (), admitted, False, repository)
    assert evaluate(registry, tmp_path, sample, by.pem)[0] is admitted


@pytest.mark.parametrize("name", ["sm2-empty-id", "sm2-raw-rs"])
def test_other_form_of_sm2_signature_does_not_admit_image(
    registry: Emulator, tmp_path: Path, name: str
) -> None:
    """T71. ``openssl`` uses an empty identity unless it is given one."""
    assert evaluate(registry, tmp_path, SAMPLES[name]) == (False, "untrusted/bad-signature")
