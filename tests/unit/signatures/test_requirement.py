"""The requirement: different keys, all of which are tried, and annotations."""

from __future__ import annotations

from typing import Any

import pytest

from tests.signing.making import signer
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


@pytest.mark.parametrize(("keys", "is_slow"), [((), False), ((P256, RSA), False), ((P256, SM2), True)])
def test_requirement_with_a_slow_key_is_slow(keys: tuple[Any, ...], is_slow: bool) -> None:
    """Then it must not run in the event loop."""
    assert Requirement(tuple((str(index), key) for index, key in enumerate(keys))).is_slow is is_slow


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
