"""Which bytes are a signature: tests in the manner of Wycheproof, for each kind of key."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from tests.signing.der import integer, sequence
from tests.signing.making import ORDERS, signer

MESSAGE = b"the message"

SIGNERS = ["p256", "p384", "p384-sha256", "p521", "p521-sha256", "rsa2048", "sm2"]


@pytest.mark.parametrize("name", SIGNERS)
def test_signature_is_verified_over_exact_bytes(name: str) -> None:
    """By its key only. P-384 and P-521 have two hashes: that of cosign and KMS, and that of older signers."""
    by = signer(name)
    signature = by.sign(MESSAGE)
    assert by.key.verifies(signature, MESSAGE)
    assert not by.key.verifies(signature, MESSAGE + b" ")
    assert not by.key.verifies(signature, b"")
    assert not signer("other").key.verifies(signature, MESSAGE)
    assert not by.key.verifies(signer("other").sign(MESSAGE), MESSAGE)


@pytest.mark.parametrize("name", SIGNERS)
@pytest.mark.parametrize("what", ["empty", "part", "more", "before", "zeros", "text"])
def test_other_bytes_are_not_a_signature(name: str, what: str) -> None:
    """Nothing is raised, whatever the length."""
    by = signer(name)
    signature = by.sign(MESSAGE)
    others = {
        "empty": [b""],
        "part": [signature[:size] for size in range(0, len(signature), 5)],
        "more": [signature + b"\0", signature + signature],
        "before": [b"\0" + signature],
        "zeros": [bytes(len(signature)), b"\xff" * len(signature)],
        "text": [b"MEUCIQ==", b"0", b"x" * 5000],
    }[what]
    assert [other for other in others if by.key.verifies(other, MESSAGE)] == []


def test_p256_signature_by_another_hash_is_refused() -> None:
    """The curve has one hash."""
    for algorithm in (hashes.SHA1(), hashes.SHA384(), hashes.SHA512(), hashes.SHA3_256()):
        signature = signer("p256").private.sign(MESSAGE, ec.ECDSA(algorithm))
        assert not signer("p256").key.verifies(signature, MESSAGE)


@pytest.mark.parametrize("name", ["p384", "p521"])
def test_larger_curve_has_two_hashes(name: str) -> None:
    """No third one."""
    own = {"p384": hashes.SHA512(), "p521": hashes.SHA384()}[name]
    for algorithm in (hashes.SHA1(), own, hashes.SHA3_256()):
        signature = signer(name).private.sign(MESSAGE, ec.ECDSA(algorithm))
        assert not signer(name).key.verifies(signature, MESSAGE)


Numbers = Callable[[int, int, int], bytes]

INVALID_NUMBERS: dict[str, Numbers] = {
    "r is 0": lambda r, s, n: sequence(integer(0), integer(s)),
    "s is 0": lambda r, s, n: sequence(integer(r), integer(0)),
    "both are 0": lambda r, s, n: sequence(integer(0), integer(0)),
    "both are 1": lambda r, s, n: sequence(integer(1), integer(1)),
    "r is n": lambda r, s, n: sequence(integer(n), integer(s)),
    "s is n": lambda r, s, n: sequence(integer(r), integer(n)),
    "r is n + 1": lambda r, s, n: sequence(integer(n + 1), integer(s)),
    "s is n - 1": lambda r, s, n: sequence(integer(r), integer(n - 1)),
    "r + n": lambda r, s, n: sequence(integer(r + n), integer(s)),
    "s + n": lambda r, s, n: sequence(integer(r), integer(s + n)),
    "r - n": lambda r, s, n: sequence(integer(r - n), integer(s)),
    "s - n": lambda r, s, n: sequence(integer(r), integer(s - n)),
    "-r": lambda r, s, n: sequence(integer(-r), integer(s)),
    "-s": lambda r, s, n: sequence(integer(r), integer(-s)),
    "n - r": lambda r, s, n: sequence(integer(n - r), integer(s)),
    "r + 2**512": lambda r, s, n: sequence(integer(r + 2**512), integer(s)),
    "exchanged": lambda r, s, n: sequence(integer(s), integer(r)),
    "a zero before r": lambda r, s, n: sequence(integer(r, before=b"\0"), integer(s)),
    "a zero before s": lambda r, s, n: sequence(integer(r), integer(s, before=b"\0")),
    "an empty r": lambda r, s, n: sequence(b"\x02\0", integer(s)),
    "no s": lambda r, s, n: sequence(integer(r)),
    "a third number": lambda r, s, n: sequence(integer(r), integer(s), integer(0)),
    "null inside": lambda r, s, n: sequence(integer(r), integer(s), b"\x05\0"),
    "bytes after it": lambda r, s, n: sequence(integer(r), integer(s)) + b"\x05\0",
    "a long length": lambda r, s, n: sequence(integer(r), integer(s), long=True),
    "a long length of r": lambda r, s, n: sequence(integer(r, long=True), integer(s)),
    "an indefinite length": lambda r, s, n: b"\x30\x80" + integer(r) + integer(s) + b"\0\0",
    "a set": lambda r, s, n: b"\x31" + sequence(integer(r), integer(s))[1:],
    "an application tag": lambda r, s, n: b"\x70" + sequence(integer(r), integer(s))[1:],
    "a bit string": lambda r, s, n: sequence(b"\x03" + integer(r)[1:], integer(s)),
    "raw": lambda r, s, n: r.to_bytes(66) + s.to_bytes(66),
    "a sequence around it": lambda r, s, n: sequence(sequence(integer(r), integer(s))),
}
"""Encodings of r and s that are not those of the signature, as in the test vectors of Wycheproof."""


@pytest.mark.parametrize("what", INVALID_NUMBERS)
@pytest.mark.parametrize("name", ["p256", "p384", "p521", "sm2"])
def test_other_encoding_of_elliptic_signature_is_refused(name: str, what: str) -> None:
    """DER has one encoding, and both numbers are from 1 to n - 1."""
    by = signer(name)
    r, s = decode_dss_signature(by.sign(MESSAGE))
    changed = INVALID_NUMBERS[what](r, s, ORDERS[name])
    assert not by.key.verifies(changed, MESSAGE)


def test_raw_signature_is_refused() -> None:
    """As long as the numbers of P-256. cosign accepts it."""
    r, s = decode_dss_signature(signer("p256").sign(MESSAGE))
    assert not signer("p256").key.verifies(r.to_bytes(32) + s.to_bytes(32), MESSAGE)


@pytest.mark.parametrize("name", ["p256", "p384", "p521"])
def test_ecdsa_signature_is_malleable(name: str) -> None:
    """So it must not be the key of a cache."""
    r, s = decode_dss_signature(signer(name).sign(MESSAGE))
    assert signer(name).key.verifies(encode_dss_signature(r, ORDERS[name] - s), MESSAGE)


def test_sm2_signature_is_not_malleable() -> None:
    """Unlike that of ECDSA."""
    r, s = decode_dss_signature(signer("sm2").sign(MESSAGE))
    assert not signer("sm2").key.verifies(encode_dss_signature(r, ORDERS["sm2"] - s), MESSAGE)


SHA256_INFO = bytes.fromhex("3031300d060960864801650304020105000420")


def block(info: bytes, size: int = 256, kind: bytes = b"\x00\x01", filler: bytes = b"\xff") -> bytes:
    """Return the padded block of PKCS#1 v1.5 (RFC 8017, 9.2)."""
    return kind + filler * (size - len(kind) - 1 - len(info)) + b"\0" + info


def digest() -> bytes:
    """Return the hash of the message."""
    state = hashes.Hash(hashes.SHA256())
    state.update(MESSAGE)
    return state.finalize()


def without_null() -> bytes:
    """Return the DigestInfo without the parameters of the hash."""
    return bytes.fromhex("302f300b06096086480165030402010420") + digest()


BLOCKS: dict[str, Callable[[], bytes]] = {
    "no parameters of the hash": lambda: block(without_null()),
    "no DigestInfo": lambda: block(digest()),
    "another hash's name": lambda: block(bytes.fromhex("3031300d060960864801650304020305000420") + digest()),
    "a long length": lambda: block(bytes.fromhex("308131300d060960864801650304020105000420") + digest()),
    "bytes after the hash": lambda: block(SHA256_INFO + digest() + b"\0"),
    "short padding": lambda: (
        b"\x00\x01" + b"\xff" * 8 + b"\0" + SHA256_INFO + digest() + bytes(256 - 11 - 19 - 32)
    ),
    "padding of another type": lambda: block(SHA256_INFO + digest(), kind=b"\x00\x02"),
    "padding of type 0": lambda: block(SHA256_INFO + digest(), kind=b"\x00\x00"),
    "padding of other bytes": lambda: block(SHA256_INFO + digest(), filler=b"\xfe"),
    "padding of zeros": lambda: block(SHA256_INFO + digest(), filler=b"\x00"),
    "the first byte": lambda: b"\x01" + block(SHA256_INFO + digest())[1:],
    "no padding": lambda: (SHA256_INFO + digest()).rjust(256, b"\0"),
}


def rsa_power(data: bytes) -> bytes:
    """Return the raw operation of the private key."""
    numbers = signer("rsa2048").private.private_numbers()
    n = numbers.public_numbers.n
    return int(pow(int.from_bytes(data) % n, numbers.d, n)).to_bytes(256)


def test_block_of_pkcs1_is_made_as_by_the_library() -> None:
    """Otherwise the following tests would prove nothing."""
    assert rsa_power(block(SHA256_INFO + digest())) == signer("rsa2048").sign(MESSAGE)


@pytest.mark.parametrize("what", BLOCKS)
def test_other_padding_of_rsa_is_refused(what: str) -> None:
    """As in the test vectors of Wycheproof, and by Bleichenbacher's forgery."""
    assert not signer("rsa2048").key.verifies(rsa_power(BLOCKS[what]()), MESSAGE)


def test_rsa_number_out_of_range_is_refused() -> None:
    """0, 1, n - 1, n, and the signature plus n."""
    n = signer("rsa2048").private.private_numbers().public_numbers.n
    signature = int.from_bytes(signer("rsa2048").sign(MESSAGE))
    for number in (0, 1, n - 1, n, n - signature, signature + n):
        size = max(256, (number.bit_length() + 7) // 8)
        assert not signer("rsa2048").key.verifies(number.to_bytes(size), MESSAGE)


def test_other_scheme_of_rsa_is_refused() -> None:
    """The only one by which cosign signs is PKCS#1 v1.5 with SHA-256 only."""
    private: Any = signer("rsa2048").private
    pss = padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.DIGEST_LENGTH)
    for signature in (
        private.sign(MESSAGE, pss, hashes.SHA256()),
        private.sign(MESSAGE, padding.PKCS1v15(), hashes.SHA384()),
        private.sign(MESSAGE, padding.PKCS1v15(), hashes.SHA1()),
    ):
        assert not signer("rsa2048").key.verifies(signature, MESSAGE)
