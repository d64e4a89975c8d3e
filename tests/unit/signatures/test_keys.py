"""Which keys are allowed."""

from __future__ import annotations

import base64
from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa, x25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.signing.der import integer, sequence
from tests.signing.making import encode, signer, to_pem
from tests.signing.samples import read_keys
from webhook.errors import SigningKeyError
from webhook.signatures.keys import load_public_key, read_public_key

KINDS = "ECDSA P-256, P-384 or P-521, RSA with 2048 to 4096 bits, or SM2"

ALLOWED = {
    "p256": ("ECDSA P-256", False),
    "p384": ("ECDSA P-384", True),
    "p521": ("ECDSA P-521", True),
    "rsa2048": ("RSA 2048", False),
    "rsa3072": ("RSA 3072", False),
    "rsa4096": ("RSA 4096", False),
    "sm2": ("SM2", True),
}


@pytest.mark.parametrize("name", ALLOWED)
def test_allowed_key_is_read(name: str) -> None:
    """Its kind, and whether it must leave the event loop."""
    key = read_public_key(read_keys()[name])
    assert (key.kind, key.is_slow) == ALLOWED[name]
    assert to_pem(key.der) == read_keys()[name]
    assert load_public_key(key.der) == key


@pytest.mark.parametrize("bits", [2056, 2432])
def test_rsa_key_of_unusual_size_is_read(bits: int) -> None:
    """Any size from 2048 to 4096 bits."""
    key = load_public_key(encode(rsa.generate_private_key(65537, bits).public_key()))
    assert key.kind == f"RSA {bits}"


def other_rsa(n: int, e: int) -> bytes:
    """Return an RSA key that no library would make."""
    algorithm = bytes.fromhex("300d06092a864886f70d0101010500")
    content = sequence(integer(n), integer(e))
    bits = b"\x03" + _length(len(content) + 1) + b"\0" + content
    return b"\x30" + _length(len(algorithm) + len(bits)) + algorithm + bits


def _length(size: int) -> bytes:
    return b"\x82" + size.to_bytes(2)


def compressed() -> bytes:
    """Return a P-256 key with a compressed point."""
    point = signer("p256").private.public_key().public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
    return bytes.fromhex("3039301306072a8648ce3d020106082a8648ce3d030107032200") + bytes(point)


CONVERT = "convert it with openssl ec -pubin -in FILE -pubout -param_enc named_curve -conv_form uncompressed"
MODULUS = (1 << 2047) + (1 << 1024) + 1

REFUSED: dict[str, tuple[Callable[[], bytes], str]] = {
    "Ed25519": (
        lambda: encode(ed25519.Ed25519PrivateKey.generate().public_key()),
        "is an Ed25519 or Ed448 key: cosign signs Ed25519ph, which cannot be verified by a key alone; "
        f"use {KINDS}",
    ),
    "Ed448": (
        lambda: encode(ed448.Ed448PrivateKey.generate().public_key()),
        "is an Ed25519 or Ed448 key: cosign signs Ed25519ph, which cannot be verified by a key alone; "
        f"use {KINDS}",
    ),
    "P-224": (
        lambda: encode(ec.generate_private_key(ec.SECP224R1()).public_key()),
        f"is an elliptic curve key of another curve (secp224r1): use {KINDS}",
    ),
    "secp256k1": (
        lambda: encode(ec.generate_private_key(ec.SECP256K1()).public_key()),
        f"is an elliptic curve key of another curve (secp256k1): use {KINDS}",
    ),
    "Brainpool": (
        lambda: encode(ec.generate_private_key(ec.BrainpoolP256R1()).public_key()),
        f"is an elliptic curve key of another curve (brainpoolP256r1): use {KINDS}",
    ),
    "a curve that cryptography does not know": (
        lambda: base64.b64decode(
            "MD4wEAYHKoZIzj0CAQYFK4EEAAgDKgAEDRbsGEDyJCAEsVfB58BqBq4zyaHGRxbTsksMyxVreMNviIaTkumz2A=="
        ),
        f"is a key of a kind that is not supported: use {KINDS}",
    ),
    "RSA 1024": (
        lambda: encode(rsa.generate_private_key(65537, 1024).public_key()),
        f"is an RSA key with 1024 bits: use {KINDS}",
    ),
    "RSA 2047": (lambda: other_rsa(MODULUS >> 1 | 1, 65537), f"is an RSA key with 2047 bits: use {KINDS}"),
    "RSA 4097": (lambda: other_rsa((1 << 4096) + 1, 65537), f"is an RSA key with 4097 bits: use {KINDS}"),
    "RSA with exponent 3": (
        lambda: encode(rsa.generate_private_key(3, 2048).public_key()),
        "is an RSA key with an unusual public exponent: use 65537",
    ),
    "RSA with a large exponent": (
        lambda: other_rsa(MODULUS, (1 << 31) + 1),
        "is an RSA key with an unusual public exponent: use 65537",
    ),
    "RSA-PSS": (
        lambda: encode(signer("rsa2048").private.public_key()).replace(
            bytes.fromhex("06092a864886f70d010101"), bytes.fromhex("06092a864886f70d01010a")
        ),
        f"is an RSA-PSS key, with which cosign does not sign: use {KINDS}",
    ),
    "DSA": (
        lambda: encode(dsa.generate_private_key(1024).public_key()),
        f"is a key of a kind that is not supported: use {KINDS}",
    ),
    "X25519": (
        lambda: encode(x25519.X25519PrivateKey.generate().public_key()),
        f"is a key of a kind that is not supported: use {KINDS}",
    ),
    "a compressed point": (compressed, f"is not in the usual encoding: {CONVERT}"),
    "a point that is not on the curve": (
        lambda: signer("p256").key.der[:-1] + bytes([signer("p256").key.der[-1] ^ 1]),
        "is not a public key: copy the whole file again",
    ),
    "a byte after the key": (
        lambda: signer("p256").key.der + b"\0",
        "is not a public key: copy the whole file again",
    ),
    "a part of a key": (
        lambda: signer("p256").key.der[:-1],
        "is not a public key: copy the whole file again",
    ),
    "nothing": (lambda: b"", "is not a public key: copy the whole file again"),
    "an SM2 key with a point that is not on the curve": (
        lambda: signer("sm2").key.der[:-1] + bytes([signer("sm2").key.der[-1] ^ 1]),
        f"is not an SM2 key in the usual encoding: {CONVERT}",
    ),
    "an SM2 key with a byte after it": (
        lambda: signer("sm2").key.der + b"\0",
        f"is not an SM2 key in the usual encoding: {CONVERT}",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_other_key_is_named_with_remedy(name: str) -> None:
    """Also as the content of a file."""
    make, message = REFUSED[name]
    der = make()
    with pytest.raises(SigningKeyError) as caught:
        load_public_key(der)
    assert str(caught.value) == message
    with pytest.raises(SigningKeyError) as caught:
        read_public_key(to_pem(der))
    assert str(caught.value) == message


class _Unsupported(hashes.HashAlgorithm):
    name = "sm3"
    digest_size = 32
    block_size = 64


def test_sm2_without_sm3_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise the first verification would raise."""
    monkeypatch.setattr(hashes, "SM3", type("Other", (_Unsupported,), {"name": "none"}))
    with pytest.raises(SigningKeyError) as caught:
        load_public_key(signer("sm2").key.der)
    assert str(caught.value) == (
        "is an SM2 key, and this OpenSSL has no SM3: use the image of this product or another kind of key"
    )


def test_content_of_key_is_not_in_its_repr() -> None:
    """Public, but long."""
    assert repr(signer("p256").key) == "PublicKey(kind='ECDSA P-256')"
