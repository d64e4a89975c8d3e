"""No bytes in a registry are read as a signature that a configured key has not made for this image."""

from __future__ import annotations

import json
from dataclasses import replace
from random import Random
from typing import Any

from hypothesis import event, given
from hypothesis import strategies as st

from tests.fuzz.effort import seeds, thorough
from tests.fuzz.inputs import junk
from tests.signing import documents, making
from tests.signing.finding import find_signatures
from tests.signing.making import IMAGE, sha256, signer
from tests.signing.samples import Sample, read_keys, read_samples
from tests.signing.storing import Repository
from webhook.errors import SigningKeyError
from webhook.signatures import bundles, simple_signing
from webhook.signatures.attempt import Attempt, Outcome
from webhook.signatures.bundles import check_bundle, read_bundle_manifest, read_referrers
from webhook.signatures.check import SignatureResult
from webhook.signatures.keys import Message, PublicKey, load_public_key, read_public_key
from webhook.signatures.requirement import Requirement
from webhook.signatures.simple_signing import SignatureLayer, check_simple_signature, read_signature_manifest

KEYS = Requirement(tuple((name, signer(name).key) for name in ("p256", "p384", "rsa2048")))
ALL_KEYS = Requirement((*KEYS.keys, ("sm2", signer("sm2").key)))

texts = st.sampled_from(
    [
        making.payload(),
        making.compact(making.image_manifest([making.layer(making.payload(), b"x")])),
        making.statement(),
        making.compact(making.signed_bundle(signer("p256"), making.statement())),
        making.compact(making.bundle_manifest(b"x")),
        making.compact(making.index([making.referrer(b"x")])),
    ]
)


@st.composite
def changed(draw: st.DrawFn) -> bytes:
    """Return a document of the formats with some changes."""
    random = Random(draw(st.binary(min_size=8, max_size=8)))
    return spoil(draw(texts), random)


def spoil(text: bytes, random: Random) -> bytes:
    """Return a document with one to three changes."""
    for _ in range(random.choice([1, 1, 1, 2, 3])):
        if not text:
            return text
        change = random.choice([change_value, change_value, change_text, cut])
        text = change(text, random)
    return text


def change_value(text: bytes, random: Random) -> bytes:
    """Return a document with another value, key or element. What is not a document stays."""
    try:
        document = documents.parse(text)
        documents.change(document, random)
    except (ValueError, IndexError, TypeError, RecursionError):
        return text
    return documents.write(document).encode("utf-8", "surrogatepass")


def change_text(text: bytes, random: Random) -> bytes:
    """Return a document with another text of its values."""
    return documents.respace(text, random)[0]


def cut(data: bytes, random: Random) -> bytes:
    """Return bytes with a part removed, repeated, or replaced by other bytes."""
    start, size = random.randrange(len(data)), random.choice([1, 1, 2, 8, 60])
    part = data[start : start + size]
    return data[:start] + random.choice([b"", part * 2, random.randbytes(size)]) + data[start + size :]


values = junk.map(lambda value: json.dumps(value).encode())


@thorough
@given(st.binary(max_size=300) | values | changed())
def test_any_bytes_are_read_without_an_exception(data: bytes) -> None:
    """Each reader and check returns attempts, none of them valid."""
    layer = SignatureLayer(sha256(data), len(data), data)
    found: list[Any] = [
        *read_signature_manifest(data),
        *read_referrers(data),
        read_bundle_manifest(data),
        check_simple_signature(data, layer, IMAGE, ALL_KEYS),
    ]
    attempts = [entry for entry in found if isinstance(entry, Attempt)]
    assert {attempt.outcome for attempt in attempts} <= {
        Outcome.BAD,
        Outcome.MALFORMED,
        Outcome.NOT_A_SIGNATURE,
    }
    for attempt in (*attempts, check_bundle(data, IMAGE, KEYS)):
        event(attempt.outcome.name)
        assert len(attempt.problem) < 100
        assert attempt.problem.isascii()


@thorough
@given(st.sampled_from([*KEYS.keys, *ALL_KEYS.keys]), st.binary(max_size=150), st.binary(max_size=5))
def test_any_bytes_are_not_a_signature(key: tuple[str, PublicKey], signature: bytes, message: bytes) -> None:
    """Nor do they raise."""
    assert not key[1].verifies(signature, message)


@thorough
@given(st.binary(max_size=120) | st.sampled_from([key.der for _, key in ALL_KEYS.keys]), st.data())
def test_any_bytes_are_a_key_or_an_error(der: bytes, data: st.DataObject) -> None:
    """A key that is read has one content."""
    if der and data.draw(st.booleans()):
        der = cut(der, Random(data.draw(st.binary(min_size=4, max_size=4))))
    for read, content in (
        (load_public_key, der),
        (read_public_key, making.to_pem(der)),
        (read_public_key, der),
    ):
        try:
            key = read(content)
        except SigningKeyError:
            continue
        event(key.kind)
        assert key.der == der


class Observer:
    """A key that also keeps the messages whose signatures it has accepted."""

    def __init__(self, key: PublicKey) -> None:
        self.accepted: set[bytes] = set()
        self._inner = key
        self.key = replace(key, _verify=self._verify)

    def _verify(self, signature: bytes, message: Message) -> bool:
        is_valid = self._inner.verifies(signature, message)
        if is_valid:
            self.accepted.add(message.content)
        return is_valid


def states(message: bytes, image: str) -> bool:
    """Return whether a signed message is about the image, by a plain reader of JSON."""
    if message.startswith(b"DSSEv1 "):
        kind, _, body = message.split(b" ", 4)[2:]
        value = json.loads(body)
        return (kind.decode(), value["predicateType"]) == (
            bundles.PAYLOAD_TYPE,
            bundles.SIGNATURE_PREDICATE,
        ) and [subject["digest"]["sha256"] for subject in value["subject"]] == [image.removeprefix("sha256:")]
    critical = json.loads(message)["critical"]
    return (critical["type"], critical["image"]["docker-manifest-digest"]) == (
        simple_signing.PAYLOAD_TYPE,
        image,
    )


def relink(repository: Repository, path: str, content: bytes) -> None:
    """Replace a content, and everything that names it by digest and size, up to the tags."""
    old, media_type = repository.served.pop(path)
    folder, _, reference = path.partition("/")
    repository.served[f"{folder}/{sha256(content) if ':' in reference else reference}"] = content, media_type
    for other in list(repository.served):
        text, _ = repository.served.get(other, (b"", ""))
        if sha256(old).encode() in text and old != content:
            renamed = text.replace(sha256(old).encode(), sha256(content).encode())
            relink(repository, other, renamed.replace(b'"size":%d' % len(old), b'"size":%d' % len(content)))


def without_ed25519(sample: Sample) -> bool:
    """Return whether the key of a sample is allowed."""
    return sample.key != "ed25519"


def test_changed_samples_are_signed_only_if_their_message_is() -> None:
    """A change can repair a sample, but not what was signed."""
    samples = list(filter(without_ed25519, read_samples()))
    observers = {
        name: Observer(read_public_key(pem)) for name, pem in read_keys().items() if name != "ed25519"
    }
    signed = 0
    for seed in seeds(1):
        random = Random(seed)
        sample = random.choice(samples)
        observer = observers[sample.key]
        requirement = Requirement((("key", observer.key),), 1, sample.annotations)
        repository = Repository()
        repository.served = dict(sample.repository.served)
        paths = [path for path in repository.served if path != f"manifests/{sample.image}"]
        path = random.choice(paths or [""])
        if path:
            relink(repository, path, spoil(repository.served[path][0], random))
        observer.accepted.clear()
        found = find_signatures(repository, sample.image, requirement)
        if found.result is SignatureResult.SIGNED:
            signed += 1
            assert any(states(message, sample.image) for message in observer.accepted), (seed, sample.name)
    assert signed > 0
