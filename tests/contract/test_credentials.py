"""Contract of credentials: the same tests for the fake and for real ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.emulator.server import Emulator
from tests.support.fakes import FakeCredential
from webhook.deadlines import Deadline
from webhook.errors import Unauthorized
from webhook.http_client.messages import Credential, HttpRequest
from webhook.http_client.transport import PooledTransport
from webhook.registries import CredentialSettings
from webhook.swr.credentials import build_credential

REQUEST = HttpRequest("GET", "https://swr-api.example.com", "/v2/manage/namespaces/shop/repos/web/tags/1.0")


@dataclass(frozen=True, slots=True)
class Identities:
    """A credential that can renew its secret, and one that cannot."""

    renewable: Credential
    fixed: Credential


def _fakes(folder: Path, emulator: Emulator) -> Identities:
    return Identities(FakeCredential(renewable=True), FakeCredential(renewable=False))


def _real(folder: Path, emulator: Emulator) -> Identities:
    for name, text in (("password", "emulator-password"), ("token", "emulator-token")):
        (folder / name).write_text(text, encoding="utf-8")
    user = CredentialSettings(
        "iamUser", domain_name="acme", user_name="robot", password_file=str(folder / "password")
    )
    token = CredentialSettings("token", token_file=str(folder / "token"))

    def build(settings: CredentialSettings) -> Credential:
        return build_credential(
            settings,
            region="cn-north-4",
            iam_endpoint=emulator.url,
            project_id=None,
            transport=PooledTransport(),
            environment={},
        )

    return Identities(build(user), build(token))


KINDS: dict[str, Callable[[Path, Emulator], Identities]] = {"fake": _fakes, "real": _real}


@pytest.fixture(params=KINDS)
def identities(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Identities]:
    """Return fakes, or an IAM user and a token in a file."""
    with Emulator() as emulator:
        yield KINDS[request.param](tmp_path, emulator)


def authorize(credential: Credential) -> tuple[dict[str, str], int]:
    """Return headers and generation of one request."""
    authorization = credential.authorize(REQUEST, Deadline.after(10))
    return dict(authorization.headers), authorization.generation


def test_accepted_secret_is_kept(identities: Identities) -> None:
    """The headers and the generation are equal in each request."""
    for credential in (identities.renewable, identities.fixed):
        first = authorize(credential)
        assert list(first[0]) == ["X-Auth-Token"]
        for _ in range(3):
            credential.accept(first[1])
            assert authorize(credential) == first


def test_released_request_does_not_change_secret(identities: Identities) -> None:
    """A timeout of SWR says nothing about the secret."""
    for credential in (identities.renewable, identities.fixed):
        first = authorize(credential)
        credential.release(first[1])
        assert authorize(credential) == first


def test_rejected_renewable_secret_is_replaced(identities: Identities) -> None:
    """The new secret has a new generation."""
    headers, generation = authorize(identities.renewable)
    assert identities.renewable.reject(generation) is True
    fresh, later = authorize(identities.renewable)
    assert fresh != headers
    assert later != generation


def test_rejected_fixed_secret_is_paused(identities: Identities) -> None:
    """It is not sent again: more than five failures lock the key."""
    _, generation = authorize(identities.fixed)
    assert identities.fixed.reject(generation) is False
    with pytest.raises(Unauthorized):
        authorize(identities.fixed)
