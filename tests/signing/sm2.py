"""Signing with SM2 for tests, in affine coordinates and step by step, as in GB/T 32918.2, section 6."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from webhook.signatures.sm2 import DEFAULT_ID, GX, GY, A, B, N, P

Point = tuple[int, int] | None
"""A point of the curve, ``None`` for infinity."""

SPKI = bytes.fromhex("3059301306072a8648ce3d020106082a811ccf5501822d03420004")


@dataclass(frozen=True)
class Sm2PrivateKey:
    """A private key of SM2."""

    d: int

    @property
    def point(self) -> tuple[int, int]:
        """The public key."""
        point = multiply(self.d, (GX, GY))
        assert point is not None
        return point

    @property
    def der(self) -> bytes:
        """The public key as a SubjectPublicKeyInfo."""
        return SPKI + b"".join(number.to_bytes(32) for number in self.point)

    def sign(self, message: bytes, identity: bytes = DEFAULT_ID) -> bytes:
        """Return a signature in DER."""
        numbers = (A, B, GX, GY, *self.point)
        z = sm3(
            (8 * len(identity)).to_bytes(2) + identity + b"".join(number.to_bytes(32) for number in numbers)
        )
        e = int.from_bytes(sm3(z + message))
        k = int.from_bytes(hashlib.sha512(self.d.to_bytes(32) + z + message).digest()) % (N - 1) + 1
        point = multiply(k, (GX, GY))
        assert point is not None
        r = (e + point[0]) % N
        s = pow(1 + self.d, -1, N) * (k - r * self.d) % N
        return encode_dss_signature(r, s)


def generate() -> Sm2PrivateKey:
    """Return a new key."""
    return Sm2PrivateKey(secrets.randbelow(N - 2) + 1)


def sm3(data: bytes) -> bytes:
    """Return the hash by SM3."""
    state = hashes.Hash(hashes.SM3())
    state.update(data)
    return state.finalize()


def multiply(factor: int, point: Point) -> Point:
    """Return a multiple of a point."""
    total: Point = None
    while factor:
        if factor & 1:
            total = add(total, point)
        point = add(point, point)
        factor >>= 1
    return total


def add(first: Point, second: Point) -> Point:
    """Return the sum of two points."""
    if first is None or second is None:
        return first or second
    (x1, y1), (x2, y2) = first, second
    if x1 == x2 and (y1 + y2) % P == 0:
        return None
    slope = (3 * x1 * x1 + A) * pow(2 * y1, -1, P) if first == second else (y2 - y1) * pow(x2 - x1, -1, P)
    x3 = (slope * slope - x1 - x2) % P
    return x3, (slope * (x1 - x3) - y1) % P
