"""The requirement: different keys, all of which are tried, and annotations."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from tests.signing.making import encode, signer
from webhook.signatures.keys import PublicKey, load_public_key
from webhook.signatures.requirement import Requirement

P256, OTHER, RSA, SM2 = (signer(name).key for name in ("p256", "other", "rsa2048", "sm2"))
MESSAGE = b"the message"
SIGNATURE = signer("p256").sign(MESSAGE)


def test_all_keys_are_tried() -> None:
    """Whatever their order."""
    for keys in (
        (("a", P256), ("b", OTHER), ("c", RSA)),
        (("c", RSA), ("b", OTHER), ("a", P256)),
    ):
        assert Requirement(keys).find_signers(SIGNATURE, MESSAGE) == ("a",)
    assert Requirement((("b", OTHER), ("c", RSA))).find_signers(SIGNATURE, MESSAGE) == ()
    assert Requirement(()).find_signers(SIGNATURE, MESSAGE) == ()


def test_one_key_under_two_names_is_one_signer() -> None:
    """Different keys are those of different content; the first name is used."""
    requirement = Requirement((("a", P256), ("b", P256), ("c", OTHER)))
    assert requirement.find_signers(SIGNATURE, MESSAGE) == ("a",)


def make_keys(count: int) -> tuple[PublicKey, ...]:
    """Return different keys on P-256."""
    keys = (ec.generate_private_key(ec.SECP256R1()).public_key() for _ in range(count))
    return tuple(load_public_key(encode(key)) for key in keys)


@pytest.mark.parametrize(
    ("keys", "is_slow"),
    [
        pytest.param((), False, id="none"),
        pytest.param((P256, RSA), False, id="fast ones"),
        pytest.param((P256, SM2), True, id="a slow one"),
        pytest.param(make_keys(6), False, id="several fast ones"),
        pytest.param(make_keys(7), True, id="many fast ones"),
        pytest.param((P256,) * 20, False, id="one under many names"),
    ],
)
def test_requirement_is_slow_if_all_its_keys_take_a_millisecond(
    keys: tuple[PublicKey, ...], is_slow: bool
) -> None:
    """Then it must not run in the event loop: twenty keys took 20 to 50 ms for each bad signature."""
    assert Requirement(tuple((str(index), key) for index, key in enumerate(keys))).is_slow is is_slow


@pytest.mark.parametrize(
    ("keys", "signatures"),
    [
        pytest.param((), 50, id="none"),
        pytest.param((P256, SM2, RSA), 50, id="one of each kind"),
        pytest.param(make_keys(20), 50, id="many fast ones"),
        pytest.param((replace(SM2, cost=50.0),), 20, id="as 20 keys of SM2"),
        pytest.param((replace(SM2, cost=5000.0),), 1, id="impossibly slow ones"),
    ],
)
def test_verification_of_all_signatures_takes_a_second(keys: tuple[PublicKey, ...], signatures: int) -> None:
    """Fifty signatures by strangers took 2.5 s with twenty keys, while others waited."""
    named = tuple((str(index), key) for index, key in enumerate(keys))
    assert Requirement(named).max_signatures == signatures


def test_message_is_hashed_once_for_all_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bundle has up to 256 KiB: twenty keys took 27 ms for hashes alone."""
    hashed: list[str] = []
    make = hashes.Hash

    def count(algorithm: hashes.HashAlgorithm) -> hashes.Hash:
        hashed.append(algorithm.name)
        return make(algorithm)

    monkeypatch.setattr(hashes, "Hash", count)
    keys = (P256, OTHER, RSA, signer("p384").key, signer("p521").key)
    requirement = Requirement(tuple((str(index), key) for index, key in enumerate(keys)))
    assert requirement.find_signers(SIGNATURE, b"another message") == ()
    assert sorted(hashed) == ["sha256", "sha384", "sha512"]


@pytest.mark.parametrize(
    ("required", "signed", "is_accepted"),
    [
        ((), {}, True),
        ((), {"x": 1}, True),
        ((("stage", "prod"),), {"stage": "prod"}, True),
        ((("stage", "prod"),), {"stage": "prod", "x": None}, True),
        ((("stage", "prod"),), {}, False),
        ((("stage", "prod"),), {"stage": "prod "}, False),
        ((("stage", "prod"),), {"Stage": "prod"}, False),
        ((("stage", "prod"), ("team", "a")), {"stage": "prod"}, False),
        ((("stage", "prod"), ("team", "a")), {"team": "a", "stage": "prod"}, True),
        ((("count", "1"),), {"count": 1}, False),
        ((("flag", "true"),), {"flag": True}, False),
        ((("empty", ""),), {}, False),
        ((("empty", ""),), {"empty": None}, False),
        ((("empty", ""),), {"empty": ""}, True),
    ],
)
def test_annotations_are_compared_as_strings(
    required: tuple[tuple[str, str], ...], signed: dict[str, Any], is_accepted: bool
) -> None:
    """All that are required, exactly."""
    assert Requirement((), 1, required).accepts_annotations(signed) is is_accepted
