"""SM2 signatures with SM3 (GB/T 32918.2-2016, on the curve of GB/T 32918.5-2017), verification only.

``cryptography`` has SM3, but not SM2. No secret is used here, so the steps need not take constant time.
Points are in Jacobian coordinates: ``(x, y, z)`` is ``(x / z**2, y / z**3)``, and ``z = 0`` is infinity.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

P: Final = 0xFFFFFFFE_FFFFFFFF_FFFFFFFF_FFFFFFFF_FFFFFFFF_00000000_FFFFFFFF_FFFFFFFF
A: Final = P - 3
B: Final = 0x28E9FA9E_9D9F5E34_4D5A9E4B_CF6509A7_F39789F5_15AB8F92_DDBCBD41_4D940E93
N: Final = 0xFFFFFFFE_FFFFFFFF_FFFFFFFF_FFFFFFFF_7203DF6B_21C6052B_53BBF409_39D54123
GX: Final = 0x32C4AE2C_1F198119_5F990446_6A39C994_8FE30BBF_F2660BE1_715A4589_334C74C7
GY: Final = 0xBC3736A2_F4F6779C_59BDCEE3_6B692153_D0A9877C_C62A4740_02DF32E5_2139F0A0
"""The prime, the curve y**2 = x**3 + A*x + B, its order and its base point."""

ALGORITHM: Final = bytes.fromhex("06082a811ccf5501822d")
"""The object identifier of the curve, 1.2.156.10197.1.301."""

_PREFIX: Final = bytes.fromhex("3059301306072a8648ce3d0201") + ALGORITHM + bytes.fromhex("03420004")
"""The SubjectPublicKeyInfo of an uncompressed point, before its coordinates."""

_SIZE: Final = 32
"""Bytes of a coordinate."""

DEFAULT_ID: Final = b"1234567812345678"
"""The identity of the signer if no other is agreed on (GM/T 0009-2012, section 10)."""

Point = tuple[int, int, int]
_INFINITY: Final[Point] = (0, 1, 0)
_BASE: Final[Point] = (GX, GY, 1)


@dataclass(frozen=True, slots=True)
class Sm2PublicKey:
    """A point of the curve, with what its signatures have in common."""

    x: int
    y: int

    @classmethod
    def from_der(cls, der: bytes) -> Sm2PublicKey:
        """Return the key of a SubjectPublicKeyInfo with an uncompressed point.

        Raises:
            ValueError: it is not one, or the point is not on the curve.
        """
        if len(der) != len(_PREFIX) + 2 * _SIZE or not der.startswith(_PREFIX):
            raise ValueError("not an uncompressed public key of SM2")
        x, y = int.from_bytes(der[-2 * _SIZE : -_SIZE]), int.from_bytes(der[-_SIZE:])
        if x >= P or y >= P or (y * y - (x * x + A) * x - B) % P:
            raise ValueError("the point is not on the curve")
        return cls(x, y)

    def verify(self, signature: bytes, message: bytes, identity: bytes = DEFAULT_ID) -> bool:
        """Return whether the signature (DER) is of the message and by this key."""
        try:
            r, s = decode_dss_signature(signature)
        except ValueError:
            return False
        return self.accepts(int.from_bytes(_sm3(self.hash_identity(identity) + message)), r, s)

    def accepts(self, e: int, r: int, s: int) -> bool:
        """Return whether the numbers are a signature of the hash ``e`` (GB/T 32918.2, section 7.1)."""
        if not (0 < r < N and 0 < s < N):
            return False
        t = (r + s) % N
        if t == 0:
            return False
        x, _, z = _add_multiples(s, t, (self.x, self.y, 1))
        if z == 0:
            return False
        return (e + x * pow(z, -2, P) % P) % N == r

    def hash_identity(self, identity: bytes = DEFAULT_ID) -> bytes:
        """Return Z, which binds a message to the signer's identity and key (GB/T 32918.2, section 5.5)."""
        numbers = (A, B, GX, GY, self.x, self.y)
        bits = (8 * len(identity)).to_bytes(2)
        return _sm3(bits + identity + b"".join(number.to_bytes(_SIZE) for number in numbers))


def _sm3(data: bytes) -> bytes:
    state = hashes.Hash(hashes.SM3())
    state.update(data)
    return state.finalize()


def _add_multiples(s: int, t: int, point: Point) -> Point:
    """Return ``s * base + t * point``, with one doubling per bit for both."""
    terms = (_INFINITY, _BASE, point, _add(_BASE, point))
    total = _INFINITY
    for bit in range(N.bit_length() - 1, -1, -1):
        total = _add(_double(total), terms[(s >> bit & 1) | (t >> bit & 1) << 1])
    return total


def _double(point: Point) -> Point:
    x, y, z = point
    if z == 0 or y == 0:
        return _INFINITY
    square = y * y % P
    slope = 3 * (x - z * z) * (x + z * z) % P  # 3 * x**2 + A * z**4, because A is -3
    middle = 4 * x * square % P
    x3 = (slope * slope - 2 * middle) % P
    return x3, (slope * (middle - x3) - 8 * square * square) % P, 2 * y * z % P


def _add(first: Point, second: Point) -> Point:
    if first[2] == 0:
        return second
    if second[2] == 0:
        return first
    (x1, y1, z1), (x2, y2, z2) = first, second
    square1, square2 = z1 * z1 % P, z2 * z2 % P
    u1, u2 = x1 * square2 % P, x2 * square1 % P
    s1, s2 = y1 * z2 * square2 % P, y2 * z1 * square1 % P
    if u1 == u2:
        return _double(first) if s1 == s2 else _INFINITY
    h, slope = u2 - u1, s2 - s1
    h2 = h * h % P
    h3, middle = h * h2 % P, u1 * h2 % P
    x3 = (slope * slope - h3 - 2 * middle) % P
    return x3, (slope * (middle - x3) - s1 * h3) % P, h * z1 * z2 % P
