"""All samples of signatures, judged as the webhook does it: from the registry, over HTTP, by the whole search."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.emulator.server import SEED, Emulator
from tests.emulator.state import State
from tests.signing.samples import Sample, read_keys, read_samples
from tests.support.builders import NOW, registry
from tests.support.fakes import FakeClock, free
from webhook.deadlines import Deadline
from webhook.errors import SigningKeyError, TrustLookupError
from webhook.evidence.signature_lookup import SignatureLookup, make_requirement
from webhook.http_client.transport import PooledTransport
from webhook.oci.client import OciClient
from webhook.recorder import Recorder
from webhook.registries import Evidence, SignatureSettings, SigningKey
from webhook.signatures.check import SignatureResult
from webhook.signatures.keys import read_public_key

SAMPLES = read_samples()
KEYS = read_keys()


@pytest.fixture(scope="module")
def emulator() -> Iterator[Emulator]:
    """An emulator with one repository for each sample, which hold fallback tags, as the kit's registry does."""
    with Emulator(State.load(SEED)) as running:
        running.state.registry.has_referrers_api = False
        for sample in SAMPLES:
            store(running, sample)
        yield running


def store(emulator: Emulator, sample: Sample) -> None:
    """Put a sample into the registry byte by byte, also where it lies about digests."""
    state = emulator.state.registry
    repository = f"samples/{sample.name}"
    state.public.add(repository)
    for path, (content, media_type) in sample.repository.served.items():
        kind, _, reference = path.partition("/")
        if kind == "blobs":
            state.put_blob(repository, content, reference)
        else:
            state.put_manifest(repository, reference, media_type, content)


def is_signed(emulator: Emulator, sample: Sample) -> bool:
    """Return the result of the search; what cannot be known is not signed."""
    key = SigningKey("key", "/keys/key.pub", content=read_public_key(KEYS[sample.key]).der)
    settings = SignatureSettings((key,), annotations=sample.annotations)
    judged = registry(evidence=Evidence.SIGNATURE, signatures=settings, registry_endpoint=emulator.url)
    client = OciClient(judged, PooledTransport(), None, Recorder())
    lookup = SignatureLookup(make_requirement(settings), client, clock=FakeClock(NOW))
    check = lookup.check(f"samples/{sample.name}", sample.image, Deadline.after(10), free)
    return check.result is SignatureResult.SIGNED


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.name)
def test_sample_gets_its_verdict(emulator: Emulator, sample: Sample) -> None:
    """A verdict that is only this project's choice is the stricter one."""
    try:
        seen = is_signed(emulator, sample)
    except (SigningKeyError, TrustLookupError):
        seen = False
    assert seen is sample.is_valid or (sample.other_result_is_safe and not seen)


def test_all_samples_are_there() -> None:
    assert len(SAMPLES) == 97
