"""Answers of token services."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.registries import respond
from webhook.errors import Fault, RegistryUnavailable
from webhook.oci.token_answers import MAX_SECONDS, MAX_TOKEN, IssuedToken, read_token

USABLE = [
    ({"token": "a.b-c_d~e+f/g=="}, "a.b-c_d~e+f/g==", 60.0),
    ({"token": "t", "expires_in": 900}, "t", 900.0),
    ({"access_token": "t", "expires_in": 300.5}, "t", 300.5),
    ({"token": "t", "access_token": "other"}, "t", 60.0),
    ({"token": "", "access_token": "t"}, "t", 60.0),
    ({"token": "t", "expires_in": None, "issued_at": "yesterday"}, "t", 60.0),
    ({"token": "t", "expires_in": 10**400}, "t", MAX_SECONDS),
    ({"token": "t", "expires_in": 1e308}, "t", MAX_SECONDS),
]


@pytest.mark.parametrize(("body", "text", "seconds"), USABLE, ids=[str(case[0])[:50] for case in USABLE])
def test_token_and_lifetime_are_read(body: Any, text: str, seconds: float) -> None:
    """A lifetime that is huge is limited; without one it is a minute, as the documents say."""
    assert read_token(respond(200, body)) == IssuedToken(text, seconds)


NO_OBJECT = "the token service answered 200 without a JSON object"
NO_TOKEN = "the token service answered 200 without a token"
NO_LIFETIME = "the token service answered 200 with an expires_in that is not a lifetime"
UNUSABLE = [
    (b"<html>sign in</html>", NO_OBJECT),
    (b"", NO_OBJECT),
    (b"[]", NO_OBJECT),
    (b'"t"', NO_OBJECT),
    (b'{"token": "t"', NO_OBJECT),
    (b"[" * 10_000, NO_OBJECT),
    (b'{"token": "t"} trailing', NO_OBJECT),
    (b"{}", NO_TOKEN),
    ({"token": None}, NO_TOKEN),
    ({"token": ["t"]}, NO_TOKEN),
    ({"token": "a b"}, NO_TOKEN),
    ({"token": "a\r\nX-Evil: b"}, NO_TOKEN),
    ({"token": "tök"}, NO_TOKEN),
    ({"token": "=t"}, NO_TOKEN),
    ({"token": "t" * (MAX_TOKEN + 1)}, NO_TOKEN),
    ({"token": "t", "expires_in": -5}, NO_LIFETIME),
    ({"token": "t", "expires_in": 0}, NO_LIFETIME),
    ({"token": "t", "expires_in": "900"}, NO_LIFETIME),
    ({"token": "t", "expires_in": True}, NO_LIFETIME),
    ({"token": "t", "expires_in": {}}, NO_LIFETIME),
]


@pytest.mark.parametrize(("body", "problem"), UNUSABLE, ids=[str(case[0])[:50] for case in UNUSABLE])
def test_other_answer_is_image_fault(body: Any, problem: str) -> None:
    """A token is for one image: its author could be the cause. The answer is not quoted, nor kept."""
    with pytest.raises(RegistryUnavailable) as caught:
        read_token(respond(200, body))
    assert (str(caught.value), caught.value.fault) == (problem, Fault.IMAGE)


def test_token_is_not_represented() -> None:
    """It is a secret."""
    assert repr(IssuedToken("hunter2", 60.0)) == "IssuedToken(seconds=60.0)"
