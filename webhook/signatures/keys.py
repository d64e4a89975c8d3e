"""Public keys that verify image signatures, by an allow-list.

``cryptography`` would also load RSA with 1024 bits, P-224, secp256k1 and RSA-PSS keys; cosign imports none of
them. Ed25519 is not on the list: cosign signs Ed25519ph (RFC 8032), which cannot be verified by a key alone.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key

from webhook.errors import SigningKeyError
from webhook.signatures.pem import decode_pem
from webhook.signatures.sm2 import ALGORITHM as SM2_ALGORITHM
from webhook.signatures.sm2 import Sm2PublicKey

KINDS: Final = "ECDSA P-256, P-384 or P-521, RSA with 2048 to 4096 bits, or SM2"
"""The allow-list, for messages."""

_CONVERT: Final = (
    "convert it with openssl ec -pubin -in FILE -pubout -param_enc named_curve -conv_form uncompressed"
)

MIN_RSA_BITS: Final = 2048
MAX_RSA_BITS: Final = 4096
RSA_EXPONENTS: Final = range(65537, 2**31)
"""The smallest one by FIPS 186-5, A.1.1, and the largest one that Go, and so cosign, accepts."""

_CURVES: Final[dict[str, tuple[str, float, tuple[hashes.HashAlgorithm, ...]]]] = {
    "secp256r1": ("ECDSA P-256", 0.15, (hashes.SHA256(),)),
    "secp384r1": ("ECDSA P-384", 1.2, (hashes.SHA384(), hashes.SHA256())),
    "secp521r1": ("ECDSA P-521", 0.6, (hashes.SHA512(), hashes.SHA256())),
}
"""Kinds, milliseconds of one verification, and hashes by curve. OpenSSL has no code of its own for P-384 on
all processors. cosign signs with the hash of the curve, and verifies with SHA-256 (cosign
issues 5091 and 5092). Huawei's KMS signs with the hash of the curve, such as EC_P384 with ECDSA_SHA_384.
"""

_RSA_PSS: Final = bytes.fromhex("06092a864886f70d01010a")
"""The object identifier id-RSASSA-PSS (RFC 4055). Such a key must not be used with PKCS#1 v1.5."""

_RSA_COST: Final = 0.1
_SM2_COST: Final = 2.5
"""Milliseconds of one verification."""


class Message:
    """Signed bytes, with their hashes: many keys may be tried, and the bytes may be many."""

    def __init__(self, content: bytes) -> None:
        """Hash nothing yet."""
        self.content = content
        self._digests: dict[str, bytes] = {}

    def digest(self, algorithm: hashes.HashAlgorithm) -> bytes:
        """Return the hash of the bytes, computed once."""
        if algorithm.name not in self._digests:
            state = hashes.Hash(algorithm)
            state.update(self.content)
            self._digests[algorithm.name] = state.finalize()
        return self._digests[algorithm.name]


_Verify = Callable[[bytes, Message], bool]
_Check = tuple[hashes.HashAlgorithm, Callable[[bytes, bytes], None]]
"""A hash, and what verifies the signature of one."""


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A public key of the configuration."""

    kind: str
    """``ECDSA P-256``, ``RSA 3072``, ``SM2``."""

    der: bytes = field(repr=False)
    """The SubjectPublicKeyInfo, the same bytes for the same key."""

    cost: float = field(repr=False, compare=False)
    """Milliseconds of a verification that fails, on an ordinary processor."""

    _verify: _Verify = field(repr=False, compare=False)

    @property
    def is_slow(self) -> bool:
        """Whether a verification takes more than a millisecond."""
        return self.cost > 1.0

    def verifies(self, signature: bytes, message: bytes | Message) -> bool:
        """Return whether the signature is of exactly these bytes and by this key.

        Signatures of ECDSA and SM2 are in DER without variants. ECDSA's are malleable: a signature is not the
        identity of anything.
        """
        return self._verify(signature, message if isinstance(message, Message) else Message(message))


def read_public_key(data: bytes) -> PublicKey:
    """Return the public key of a PEM file.

    Raises:
        SigningKeyError: it is not a public key, or not of a kind that is allowed.
    """
    return load_public_key(decode_pem(data))


def load_public_key(der: bytes) -> PublicKey:
    """Return the public key of a SubjectPublicKeyInfo.

    Raises:
        SigningKeyError: it is not one, or not of a kind that is allowed.
    """
    if SM2_ALGORITHM in der[:32]:
        return _load_sm2(der)
    if _RSA_PSS in der[:32]:
        raise SigningKeyError(f"is an RSA-PSS key, with which cosign does not sign: use {KINDS}")
    try:
        key = load_der_public_key(der)
    except UnsupportedAlgorithm:
        raise SigningKeyError(f"is a key of a kind that is not supported: use {KINDS}") from None
    except ValueError:
        raise SigningKeyError("is not a public key: copy the whole file again") from None
    if isinstance(key, ec.EllipticCurvePublicKey):
        loaded = _load_ecdsa(key)
    elif isinstance(key, rsa.RSAPublicKey):
        loaded = _load_rsa(key)
    elif isinstance(key, ed25519.Ed25519PublicKey | ed448.Ed448PublicKey):
        raise SigningKeyError(
            "is an Ed25519 or Ed448 key: cosign signs Ed25519ph, which cannot be verified by a key alone; "
            f"use {KINDS}"
        )
    else:
        raise SigningKeyError(f"is a key of a kind that is not supported: use {KINDS}")
    if loaded.der != der:
        # Explicit curve parameters or a compressed point. One key must have one content.
        raise SigningKeyError(f"is not in the usual encoding: {_CONVERT}")
    return loaded


def _load_ecdsa(key: ec.EllipticCurvePublicKey) -> PublicKey:
    if key.curve.name not in _CURVES:
        raise SigningKeyError(f"is an elliptic curve key of another curve ({key.curve.name}): use {KINDS}")
    kind, cost, algorithms = _CURVES[key.curve.name]
    checks: list[_Check] = [
        (algorithm, partial(key.verify, signature_algorithm=ec.ECDSA(Prehashed(algorithm))))
        for algorithm in algorithms
    ]
    return PublicKey(kind, _encode(key), cost * len(checks), partial(_any_accepts, checks))


def _load_rsa(key: rsa.RSAPublicKey) -> PublicKey:
    if not MIN_RSA_BITS <= key.key_size <= MAX_RSA_BITS:
        raise SigningKeyError(f"is an RSA key with {key.key_size} bits: use {KINDS}")
    if key.public_numbers().e not in RSA_EXPONENTS:
        raise SigningKeyError(f"is an RSA key with an unusual public exponent: use {RSA_EXPONENTS.start}")
    algorithm = hashes.SHA256()
    check = partial(key.verify, padding=padding.PKCS1v15(), algorithm=Prehashed(algorithm))
    verify = partial(_any_accepts, [(algorithm, check)])
    return PublicKey(f"RSA {key.key_size}", _encode(key), _RSA_COST, verify)


def _load_sm2(der: bytes) -> PublicKey:
    try:
        key = Sm2PublicKey.from_der(der)
        key.hash_identity()
    except ValueError:
        raise SigningKeyError(f"is not an SM2 key in the usual encoding: {_CONVERT}") from None
    except UnsupportedAlgorithm:
        raise SigningKeyError(
            "is an SM2 key, and this OpenSSL has no SM3: use the image of this product or another kind of key"
        ) from None
    return PublicKey("SM2", der, _SM2_COST, lambda signature, message: key.verify(signature, message.content))


def _any_accepts(checks: Sequence[_Check], signature: bytes, message: Message) -> bool:
    for algorithm, check in checks:
        with contextlib.suppress(InvalidSignature, ValueError):
            check(signature, message.digest(algorithm))
            return True
    return False


def _encode(key: ec.EllipticCurvePublicKey | rsa.RSAPublicKey) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
