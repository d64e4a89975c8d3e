"""Repositories with signatures that are changed at random, most of them in one place."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from tests.signing import documents, making
from tests.signing.der import integer, sequence
from tests.signing.making import IMAGE, OTHER_IMAGE, Signer, signer, to_base64
from tests.signing.storing import Repository
from webhook.oci.manifests import OCI_INDEX
from webhook.signatures import bundles

KEYS = ["p256"] * 12 + ["rsa2048"] * 3 + ["p384-sha256", "p521-sha256", "p384", "p521"]


MATERIAL: list[tuple[str, Any]] = [
    ("tlogEntries", []),
    ("tlogEntries", [{}]),
    ("tlogEntries", [{"logIndex": "x"}]),
    ("tlogEntries", [{"logIndex": "5", "logId": {"keyId": "AA=="}, "integratedTime": "5"}]),
    ("timestampVerificationData", {}),
    ("timestampVerificationData", {"rfc3161Timestamps": [{"signedTimestamp": "AA=="}]}),
    ("certificate", {}),
    ("certificate", {"rawBytes": "AA=="}),
    ("x509CertificateChain", {"certificates": []}),
    ("certificate", None),
    ("publicKey", None),
    ("publicKey", {}),
]
"""More members of the verification material of a bundle."""


@dataclass
class Case:
    """A repository, and what is asked of it."""

    number: int
    key: str
    repository: Repository = field(default_factory=Repository)
    annotations: dict[str, str] = field(default_factory=dict)
    changes: list[str] = field(default_factory=list)
    has_raw_signature: bool = False
    """Whether a signature is the two numbers of ECDSA one after the other."""

    has_other_hash: bool = False
    """Whether a signature is by another hash than that of the key's name."""

    has_damaged_data: bool = False
    """Whether there is an entry of a transparency log, a timestamp or a certificate that cannot be read."""

    @property
    def name(self) -> str:
        """The repository's name in the registry."""
        return f"case-{self.number}"

    @property
    def has_listing(self) -> bool:
        """Whether there are referrers."""
        return any(kind == OCI_INDEX for _, kind in self.repository.served.values())


def make_case(number: int) -> Case:
    """Return the case with this number, the same one whenever the keys are."""
    random = Random(number)
    case = Case(number, random.choice(KEYS))
    Maker(case, random).make()
    return case


class Maker:
    """Stores signatures, with changes."""

    def __init__(self, case: Case, random: Random) -> None:
        self.case = case
        self.random = random
        self.by = signer(case.key)
        levels = [
            "signed text",
            "signed text",
            "signed text",
            "signature",
            "container",
            "manifest",
            "listing",
        ]
        self.levels = [random.choice(levels) for _ in range(random.choice([1, 1, 1, 1, 2]))]
        self.is_signed_after = random.random() < 0.85

    def make(self) -> None:
        """Store one or two signatures."""
        if self.random.random() < 0.25:
            self.case.annotations = {"team": "payments"}
        kind = self.random.choice(["simple", "simple", "simple", "bundle", "bundle", "bundle", "both"])
        if kind in ("simple", "both"):
            self.put_simple()
        if kind in ("bundle", "both"):
            self.put_bundle()

    def note(self, change: str) -> None:
        """Record a change, so that a disagreement can be understood."""
        self.case.changes.append(change)

    def optional(self) -> Any:
        """Return the annotations of a signature: most often what is asked for."""
        if not self.case.annotations:
            return self.random.choice([None, None, {}, {"x": "y"}])
        values: list[Any] = [{"team": "payments"}] * 6
        return self.random.choice([*values, None, {}, {"team": "other"}, {"team": 1}, {"Team": "payments"}])

    def choose_signer(self, level: str) -> Signer:
        """Return the key that signs: seldom another one."""
        if level in self.levels and self.random.random() < 0.15:
            self.note("by another key")
            return signer("other")
        return self.by

    def change(self, level: str, text: bytes) -> bytes:
        """Return a document, changed if it is its turn."""
        if level not in self.levels:
            return text
        if self.random.random() < 0.3:
            text, kind = documents.respace(text, self.random)
        else:
            document = documents.parse(text)
            kind = documents.change(document, self.random)
            text = documents.write(document).encode("utf-8", "surrogatepass")
        self.note(f"{level}: {kind}")
        return text

    def sign(self, level: str, before: bytes, after: bytes) -> str:
        """Return the text of the signature, changed if it is its turn."""
        message = after if self.is_signed_after else before
        signature = self.choose_signer("signature").sign(message)
        if "signature" not in self.levels:
            return to_base64(signature)
        return self.change_signature(signature, message)

    def change_signature(self, signature: bytes, message: bytes) -> str:
        """Return another text for a signature, or for another signature."""
        random = self.random
        kinds: dict[str, Callable[[], str]] = {
            "line breaks": lambda: base64.encodebytes(signature).decode(),
            "a line break after it": lambda: to_base64(signature) + "\n",
            "a space after it": lambda: to_base64(signature) + " ",
            "the alphabet of URLs": lambda: base64.urlsafe_b64encode(signature).decode(),
            "no padding": lambda: to_base64(signature).rstrip("="),
            "more padding": lambda: to_base64(signature) + "=",
            "another character": lambda: "!" + to_base64(signature)[1:],
            "spare bits": lambda: _spare_bits(to_base64(signature)),
            "hexadecimal": signature.hex,
            "empty": lambda: "",
            "base64 twice": lambda: to_base64(to_base64(signature).encode()),
            "a changed bit": lambda: to_base64(documents.flip(signature, random)),
            "a byte more": lambda: to_base64(signature + b"\0"),
            "a byte less": lambda: to_base64(signature[:-1]),
            "a byte before it": lambda: to_base64(b"\0" + signature),
            "a part": lambda: to_base64(signature[: random.randrange(1, len(signature))]),
            "another hash": lambda: to_base64(self.sign_otherwise(message)),
            "numbers": lambda: self.change_numbers(signature),
        }
        kind = random.choice([*kinds, "numbers", "numbers", "numbers"])
        text = kinds[kind]()
        self.note(f"signature: {kind}")
        return text

    def sign_otherwise(self, message: bytes) -> bytes:
        """Return a signature by the same key with another hash or padding."""
        self.case.has_other_hash = True
        algorithm = self.random.choice([hashes.SHA1(), hashes.SHA384(), hashes.SHA512(), hashes.SHA3_256()])
        private = self.by.private
        if isinstance(private, ec.EllipticCurvePrivateKey):
            return private.sign(message, ec.ECDSA(algorithm))
        pss = padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.DIGEST_LENGTH)
        if self.random.random() < 0.5:
            return bytes(private.sign(message, pss, hashes.SHA256()))
        return bytes(private.sign(message, padding.PKCS1v15(), algorithm))

    def change_numbers(self, signature: bytes) -> str:
        """Return another encoding of an ECDSA signature, or other numbers."""
        if not isinstance(self.by.private, ec.EllipticCurvePrivateKey):
            return to_base64(signature)
        r, s = decode_dss_signature(signature)
        size = (self.by.private.key_size + 7) // 8
        n = making.ORDERS[self.case.key.partition("-")[0]]
        kinds: dict[str, Callable[[], bytes]] = {
            "raw": lambda: r.to_bytes(size) + s.to_bytes(size),
            "the other s": lambda: encode_dss_signature(r, n - s),
            "exchanged": lambda: encode_dss_signature(s, r),
            "r is 0": lambda: encode_dss_signature(0, s),
            "s is 0": lambda: encode_dss_signature(r, 0),
            "r + n": lambda: encode_dss_signature(r + n, s),
            "s + n": lambda: encode_dss_signature(r, s + n),
            "r - n": lambda: sequence(integer(r - n), integer(s)),
            "s negative": lambda: sequence(integer(r), integer(-s)),
            "a zero before r": lambda: sequence(integer(r, before=b"\0"), integer(s)),
            "a zero before s": lambda: sequence(integer(r), integer(s, before=b"\0")),
            "a long length": lambda: signature[:1] + b"\x81" + signature[1:],
            "a long length of r": lambda: sequence(integer(r, long=True), integer(s)),
            "an indefinite length": lambda: b"\x30\x80" + signature[2:] + b"\0\0",
            "a third number": lambda: sequence(integer(r), integer(s), integer(1)),
            "a third value inside": lambda: sequence(integer(r), integer(s), b"\x05\0"),
            "a set": lambda: b"\x31" + signature[1:],
        }
        kind = self.random.choice([*kinds, "raw"])
        self.note(f"numbers: {kind}")
        self.case.has_raw_signature |= kind == "raw"
        return to_base64(kinds[kind]())

    def put_simple(self) -> None:
        """Store a signature in simple signing."""
        digest = OTHER_IMAGE if self.random.random() < 0.03 else IMAGE
        before = making.payload(digest, self.optional())
        after = self.change("signed text", before)
        layers = [making.layer(after, self.sign("simple", before, after))]
        if self.random.random() < 0.1:
            self.note("two layers")
            more = making.payload(IMAGE, {"z": "z"})
            self.case.repository.put_blob(more)
            layers.insert(self.random.randrange(2), making.layer(more, signer("other").sign(more)))
        if "container" in self.levels and self.random.random() < 0.3:
            text = self.random.choice([None, "application/vnd.dsse.envelope.v1+json", "x"])
            layers[0]["mediaType"] = text
            self.note(f"layer of type {text}")
        if "container" in self.levels and self.random.random() < 0.3:
            name = self.random.choice(["bundle", "certificate", "chain", "rfc3161timestamp", "x"])
            layers[0].setdefault("annotations", {})[f"dev.sigstore.cosign/{name}"] = "x"
            self.case.has_damaged_data |= name != "x"
            self.note(f"a damaged {name}")
        manifest = self.change("manifest", making.compact(making.image_manifest(layers)))
        self.case.repository.put_signatures(manifest, self.damage(after))

    def damage(self, content: bytes) -> bytes:
        """Return the content of a blob, which is seldom not what the manifest says."""
        if "container" in self.levels and self.random.random() < 0.3:
            self.note("a blob of another content")
            return self.random.choice([content + b" ", content[:-1], documents.flip(content, self.random)])
        return content

    def put_bundle(self) -> None:
        """Store a bundle."""
        digest = OTHER_IMAGE if self.random.random() < 0.03 else IMAGE
        predicate = bundles.SIGNATURE_PREDICATE
        if self.random.random() < 0.03:
            predicate = "https://spdx.dev/Document"
            self.note("an attestation")
        before = making.statement(digest, self.optional(), predicate)
        after = self.change("signed text", before)
        signature = self.sign("bundle", self.pae(before), self.pae(after))
        material: dict[str, Any] = {"publicKey": {"hint": to_base64(bytes(32))}}
        if "container" in self.levels and self.random.random() < 0.2:
            name, value = self.random.choice(MATERIAL)
            material[name] = value
            self.case.has_damaged_data |= name in ("tlogEntries", "timestampVerificationData")
            self.note(f"material with {name}: {value}")
        enclosed = making.envelope(after, signature)
        content = making.compact(making.bundle(enclosed, verificationMaterial=material))
        content = self.change("container", content)
        manifest = self.change("manifest", making.compact(making.bundle_manifest(content)))
        entries = [making.referrer(manifest)]
        if self.random.random() < 0.15:
            entries.insert(self.random.randrange(2), making.referrer(self.put_stray_bundle()))
        listing = self.change("listing", making.compact(making.index(entries)))
        self.case.repository.put_blob(self.damage(content))
        self.case.repository.put_manifest(manifest)
        self.case.repository.put_listing(listing)

    def put_stray_bundle(self) -> bytes:
        """Store another referrer, and return its manifest."""
        strays: dict[str, Callable[[], Any]] = {
            "by another key": lambda: making.signed_bundle(signer("other"), making.statement()),
            "an attestation": lambda: making.signed_bundle(
                self.by, making.statement(kind="https://spdx.dev/Document")
            ),
            "of another image": lambda: making.signed_bundle(self.by, making.statement(OTHER_IMAGE)),
            "not a bundle": lambda: {"x": "y"},
        }
        kind = self.random.choice(list(strays))
        self.note(f"a stray bundle: {kind}")
        content = making.compact(strays[kind]())
        self.case.repository.put_blob(content)
        manifest = making.compact(making.bundle_manifest(content))
        self.case.repository.put_manifest(manifest)
        return manifest

    def pae(self, signed: bytes) -> bytes:
        """Return the bytes that are signed."""
        return bundles.encode_signed(bundles.PAYLOAD_TYPE, signed)


def _spare_bits(text: str) -> str:
    """Return base64 whose last character has bits that are not used, if there are such bits."""
    body = text.rstrip("=")
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    if body == text:
        return text
    return body[:-1] + alphabet[alphabet.index(body[-1]) + 1] + text[len(body) :]
