"""Credentials and transports of registries are created before the first lookup, and shared if they are
equal.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.fakes import RecorderSpy
from webhook.errors import ConfigError
from webhook.http_client.messages import Credential, Transport
from webhook.http_client.transport import PooledTransport
from webhook.registries import CredentialSettings, Registry
from webhook.swr.credentials import build_credential
from webhook.swr.source import SwrTrustSource

TOKEN = CredentialSettings("token", token_file="/etc/swr/token")
KEYS = CredentialSettings("aksk")
POD_IDENTITY = CredentialSettings("podIdentity")


def registry(name: str, credentials: CredentialSettings = TOKEN, ca_file: str | None = None) -> Registry:
    """Return the registry of a host."""
    return Registry((name,), "cn-north-4", "https://swr-api", "https://iam", credentials, ca_file=ca_file)


class Opened:
    """A source that counts the created credentials and transports."""

    def __init__(self, environment: dict[str, str] | None = None) -> None:
        self.credentials = 0
        self.transports = 0
        self._environment = environment or {}
        self.source = SwrTrustSource(self._transport, self._credential, RecorderSpy())

    def problems(self, *registries: Registry) -> list[str]:
        """Open registries and return the problems, one line each."""
        try:
            self.source.open(registries)
        except ConfigError as error:
            return [str(problem) for problem in error.problems]
        return []

    def _transport(self, *, ca_file: str | None, proxy: str | None) -> Transport:
        transport = PooledTransport(ca_file=ca_file, proxy=proxy)
        self.transports += 1
        return transport

    def _credential(
        self, settings: CredentialSettings, registry: Registry, transport: Transport
    ) -> Credential:
        self.credentials += 1
        return build_credential(
            settings,
            region=registry.region,
            iam_endpoint=registry.iam_endpoint,
            project_id=None,
            transport=transport,
            environment=self._environment,
        )


@pytest.mark.parametrize(
    ("credentials", "problem"),
    [
        (KEYS, "credentials: the environment variable HUAWEICLOUD_SDK_AK is not set"),
        (
            POD_IDENTITY,
            "credentials: the environment variable HC_CONTAINER_CREDENTIALS_FULL_URI is not set",
        ),
    ],
    ids=["aksk", "podIdentity"],
)
def test_credential_missing_in_environment_is_reported_once(
    credentials: CredentialSettings, problem: str
) -> None:
    """Also if two registries use it; during a lookup it would count as an outage, which may admit."""
    assert Opened().problems(registry("a", credentials), registry("b", credentials)) == [problem]


def test_unusable_ca_files_are_named(tmp_path: Path) -> None:
    """With the registry and the cause, all of them at once."""
    garbage = tmp_path / "ca.pem"
    garbage.write_text("no certificate", encoding="utf-8")
    missing = tmp_path / "missing.pem"
    problems = Opened().problems(
        registry("a", ca_file=str(garbage)), registry("b", ca_file=str(missing)), registry("c")
    )
    assert problems == [
        f"registries: the caFile {garbage} of a cannot be used: no certificate in PEM",
        f"registries: the caFile {missing} of b cannot be used: No such file or directory",
    ]


def test_registries_with_same_credentials_share_identity() -> None:
    """The number of failed authentications is counted per account."""
    opened = Opened({"HUAWEICLOUD_SDK_AK": "AK", "HUAWEICLOUD_SDK_SK": "SK"})
    assert opened.problems(registry("a", KEYS), registry("b", KEYS), registry("c", TOKEN)) == []
    assert (opened.credentials, opened.transports) == (2, 1)


def test_unchanged_registries_reuse_connections_and_identities() -> None:
    """A reload keeps connections and credentials of unchanged registries."""
    opened = Opened()
    for _ in range(2):
        assert opened.problems(registry("a"), registry("b")) == []
    assert (opened.credentials, opened.transports) == (1, 1)
