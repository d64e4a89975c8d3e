"""Signatures that real tools made: each gets the expected result, through the whole lookup."""

from __future__ import annotations

import pytest

from tests.signing.finding import find_signatures
from tests.signing.samples import STORED, Sample, convert, read_keys, read_samples
from tests.support.signing_kit import signing_samples
from webhook.errors import SigningKeyError
from webhook.signatures.check import SignatureResult
from webhook.signatures.keys import read_public_key
from webhook.signatures.requirement import Requirement

SAMPLES = {sample.name: sample for sample in read_samples()}
OTHER_CHOICES = {"legacy-ed25519-pure"}
"""Samples for which this project chose the other result, which admits nothing that is not signed: it accepts no
Ed25519 keys, because cosign's own signatures by them could not be verified.
"""

RESULTS = {
    "no-signature": "unsigned",
    "legacy-index-child": "unsigned",
    "attestation-legacy": "unsigned",
    "attestation-as-sig": "unsigned",
    "attestation-custom": "unsigned",
    "attestation-spdxjson": "unsigned",
    "attestation-vuln": "unsigned",
    "attestation-slsaprovenance1": "unsigned",
    "sbom-tag": "unsigned",
    "bundle-message-signature": "unsigned",
    "bundle-sign-blob": "unsigned",
    "bundle-payload-type": "unsigned",
    "bundle-predicate-other": "unsigned",
    "layer-media-type": "unsigned",
    "payload-type": "unsigned",
    "legacy-annotations-other": "annotations",
}
"""Results other than ``signed`` and ``bad-signature``."""


def find(sample: Sample) -> SignatureResult:
    """Return the result of a sample."""
    try:
        keys: tuple[tuple[str, object], ...] = (("key", read_public_key(read_keys()[sample.key])),)
    except SigningKeyError:
        keys = ()
    requirement = Requirement(keys, 1, sample.annotations)  # type: ignore[arg-type]
    return find_signatures(sample.repository, sample.image, requirement).result


@pytest.mark.parametrize("name", SAMPLES)
def test_sample_has_expected_result(name: str) -> None:
    """Signed or not, and if not, why."""
    sample = SAMPLES[name]
    is_valid = sample.is_valid != (name in OTHER_CHOICES)
    expected = "signed" if is_valid else RESULTS.get(name, "bad-signature")
    assert find(sample).value == expected


def test_all_samples_are_here() -> None:
    """And those that differ are marked as free."""
    assert len(SAMPLES) == 97
    assert {name for name in OTHER_CHOICES if SAMPLES[name].other_result_is_safe} == OTHER_CHOICES
    assert set(RESULTS) <= set(SAMPLES)


def test_samples_are_those_of_the_kit() -> None:
    """``python -m tests.signing.samples FOLDER`` writes them again."""
    folder = signing_samples()
    if folder is None:
        pytest.skip("SIGNING_SAMPLES names no folder")
    assert STORED.read_text(encoding="utf-8") == convert(folder)
