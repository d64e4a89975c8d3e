"""SM2: the example of the standard, and what it demands of a verifier."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from tests.signing import sm2 as signing
from webhook.signatures.sm2 import DEFAULT_ID, GX, GY, A, B, N, P, Sm2PublicKey, _add, _double

X = 0x09F9DF31_1E5421A1_50DD7D16_1E4BC5C6_72179FAD_1833FC07_6BB08FF3_56F35020
Y = 0xCCEA490C_E26775A5_2DC6EA71_8CC1AA60_0AED05FB_F35E084A_6632F607_2DA9AD13
R = 0xF5A03B06_48D2C463_0EEAC513_E1BB81A1_5944DA38_27D5B741_43AC7EAC_EEE720B3
S = 0xB1B6AA29_DF212FD8_763182BC_0D421CA1_BB9038FD_1F7F42D4_840B69C4_85BBC1AA
Z = "b2e14c5c79c6df5b85f4fe7ed8db7a262b9da7e07ccb0ea9f4747b8ccda8a4f3"
E = "f0b43e94ba45accaace692ed534382eb17e6ab5a19ce7b31f4486fdfc0d28640"
MESSAGE = b"message digest"
PRIVATE = 0x3945208F_7B2144B1_3F36E38A_C6D39F95_88939369_2860B51A_42FB81EF_4DF7C5B8
"""The example of GB/T 32918.5-2017, annex A.2."""

KEY = Sm2PublicKey(X, Y)


def spki(x: int, y: int) -> bytes:
    """Return a public key."""
    return signing.SPKI + x.to_bytes(32) + y.to_bytes(32)


def test_example_of_standard_is_valid() -> None:
    """Key, hash of the identity, hash of the message, and signature."""
    assert signing.sm3(b"abc").hex() == "66c7f0f462eeedd9d1f2d46bdc10e4e24167c4875cf2f7a2297da02b8f4ba8e0"
    assert KEY.hash_identity(DEFAULT_ID).hex() == Z
    assert signing.sm3(bytes.fromhex(Z) + MESSAGE).hex() == E
    assert KEY.verify(encode_dss_signature(R, S), MESSAGE)
    assert Sm2PublicKey.from_der(spki(X, Y)) == KEY
    assert signing.Sm2PrivateKey(PRIVATE).point == (X, Y)


@pytest.mark.parametrize("identity", [b"", b"ALICE123@YAHOO.COM", b"1234567812345679", DEFAULT_ID * 2])
def test_signature_is_bound_to_identity(identity: bytes) -> None:
    """An empty one is the default of openssl dgst, and must not be valid."""
    assert not KEY.verify(encode_dss_signature(R, S), MESSAGE, identity)
    signature = signing.Sm2PrivateKey(PRIVATE).sign(MESSAGE, identity)
    assert KEY.verify(signature, MESSAGE, identity)
    assert not KEY.verify(signature, MESSAGE)


INVALID = {
    "r is 0": (0, S),
    "s is 0": (R, 0),
    "r is n": (N, S),
    "s is n": (R, N),
    "r + n": (R + N, S),
    "s + n": (R, S + N),
    "r + s is n": (R, N - R),
    "r + s is n, small": (1, N - 1),
    "both are 1": (1, 1),
    "exchanged": (S, R),
    "n - s": (R, N - S),
    "n - r": (N - R, S),
    "r + 1": (R + 1, S),
    "s - 1": (R, S - 1),
}


@pytest.mark.parametrize("name", INVALID)
def test_other_numbers_are_refused(name: str) -> None:
    """GB/T 32918.2, 7.1, B1 to B5."""
    assert not KEY.verify(encode_dss_signature(*INVALID[name]), MESSAGE)


def numbers_for(private: signing.Sm2PrivateKey, r: int, s: int) -> int:
    """Return the hash of which the numbers are a signature."""
    point = signing.multiply((s + (r + s) * private.d) % N, (GX, GY))
    assert point is not None
    return (r - point[0]) % N


@pytest.mark.parametrize("d", [2, N - 2, PRIVATE])
@pytest.mark.parametrize(
    ("r", "s", "is_accepted"),
    [
        (R, S, True),
        (R, 5, True),
        (1, 1, True),
        (N - 1, N - 1, True),
        (0, S, False),
        (R, 0, False),
        (N, S, False),
        (R, N, False),
        (R, N + 5, False),
        (N + R, S, False),
        (R, S - N, False),
        (R, N - R, False),
        (1, N - 1, False),
    ],
)
def test_numbers_must_be_in_range(d: int, r: int, s: int, is_accepted: bool) -> None:
    """Also if the equation holds. With r + s = 0 the key has no part in it: anyone can find such numbers."""
    private = signing.Sm2PrivateKey(d)
    e = numbers_for(private, r, s)
    assert Sm2PublicKey(*private.point).accepts(e, r, s) is is_accepted
    assert not Sm2PublicKey(*private.point).accepts(e + 1, r, s)


@pytest.mark.parametrize("r", [1, R, N - 1])
def test_infinity_is_not_a_signature(r: int) -> None:
    """It has no x."""
    private = signing.Sm2PrivateKey(PRIVATE)
    s = -r * private.d * pow(1 + private.d, -1, N) % N
    assert signing.multiply((s + (r + s) * private.d) % N, (GX, GY)) is None
    assert not KEY.verify(encode_dss_signature(r, s), MESSAGE)


def test_sums_of_points_are_complete() -> None:
    """Equal points, opposite points, and infinity."""
    base, opposite, infinity = (GX, GY, 1), (GX, P - GY, 1), (0, 1, 0)
    other = (GX * 4 % P, GY * 8 % P, 2)
    assert _add(base, infinity) == _add(infinity, base) == base
    assert _add(base, opposite)[2] == _double(infinity)[2] == _add(infinity, infinity)[2] == 0
    assert affine(_add(base, other)) == affine(_double(base)) == signing.multiply(2, (GX, GY))
    assert affine(_add(_double(base), other)) == signing.multiply(3, (GX, GY))


def affine(point: tuple[int, int, int]) -> tuple[int, int]:
    """Return x and y."""
    x, y, z = point
    return x * pow(z, -2, P) % P, y * pow(z, -3, P) % P


def test_generated_signatures_are_valid() -> None:
    """By another implementation, in affine coordinates, for some keys."""
    for d in (2, 3, N - 2, PRIVATE, 1 << 200):
        private = signing.Sm2PrivateKey(d)
        key = Sm2PublicKey.from_der(private.der)
        for message in (b"", b"x", bytes(1000)):
            signature = private.sign(message)
            assert key.verify(signature, message)
            assert not key.verify(signature, message + b"x")


def test_sum_of_equal_points_is_right() -> None:
    """The key of 1 is the base point, so that their sum is a doubling."""
    assert Sm2PublicKey(GX, GY).verify(signing.Sm2PrivateKey(1).sign(MESSAGE), MESSAGE)


@pytest.mark.parametrize(("r", "s"), [(R, S), (1, 1), (N - 1, 1), (S, S)])
def test_sum_of_opposite_points_is_handled(r: int, s: int) -> None:
    """The key of n - 1 is the negative of the base point; their sum is infinity. Nobody can sign with it."""
    assert not Sm2PublicKey(GX, P - GY).verify(encode_dss_signature(r, s), MESSAGE)


OFF_CURVE = [(X, X), (X, Y + 1), (0, 0), (X, 0), (GX, GY + 1)]


@pytest.mark.parametrize(("x", "y"), OFF_CURVE)
def test_point_off_the_curve_is_no_key(x: int, y: int) -> None:
    """It could be one of a weaker curve."""
    with pytest.raises(ValueError, match="the point is not on the curve"):
        Sm2PublicKey.from_der(spki(x, y))


def test_coordinate_must_be_below_the_prime() -> None:
    """Otherwise a key would have several contents."""
    x = next(x for x in range(1000) if _has_point(x))
    y = _square_root(x)
    assert Sm2PublicKey.from_der(spki(x, y)) == Sm2PublicKey(x, y)
    with pytest.raises(ValueError, match="the point is not on the curve"):
        Sm2PublicKey.from_der(spki(x + P, y))


def _square_root(x: int) -> int:
    return pow((x * x + A) * x + B, (P + 1) // 4, P)


def _has_point(x: int) -> bool:
    return (_square_root(x) ** 2 - (x * x + A) * x - B) % P == 0


@pytest.mark.parametrize(
    "der",
    [
        b"",
        spki(X, Y)[:-1],
        spki(X, Y) + b"\0",
        spki(X, Y).replace(b"\x03\x42\x00\x04", b"\x03\x42\x00\x06"),
        spki(X, Y).replace(bytes.fromhex("2a811ccf5501822d"), bytes.fromhex("2a8648ce3d030107")),
    ],
)
def test_other_content_is_no_key(der: bytes) -> None:
    """Only a whole, uncompressed point of this curve."""
    with pytest.raises(ValueError, match="not an uncompressed public key of SM2"):
        Sm2PublicKey.from_der(der)
