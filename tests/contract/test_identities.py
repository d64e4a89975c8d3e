"""Every kind of credential over HTTP against the emulator, which verifies them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.emulator.server import Emulator
from tests.support.builders import registry
from tests.support.fakes import RecorderSpy, free
from webhook.deadlines import Deadline
from webhook.errors import TrustLookupError, Unauthorized
from webhook.http_client.messages import Credential, Transport
from webhook.http_client.transport import PooledTransport
from webhook.registries import CredentialSettings, Registry
from webhook.swr.credentials import build_credential
from webhook.swr.source import SwrTrustSource
from webhook.trust.records import TrustQuery, TrustStatus

Settings = Callable[[Path], CredentialSettings]


def written(folder: Path, name: str, text: str) -> str:
    """Write a file and return its path."""
    (folder / name).write_text(text, encoding="utf-8")
    return str(folder / name)


KINDS: dict[str, Settings] = {
    "token": lambda folder: CredentialSettings("token", token_file=written(folder, "t", "emulator-token")),
    "aksk": lambda folder: CredentialSettings(
        "aksk",
        access_key_file=written(folder, "ak", "EMULATORACCESSKEY"),
        secret_key_file=written(folder, "sk", "emulator-secret-key"),
    ),
    "iamUser": lambda folder: CredentialSettings(
        "iamUser",
        domain_name="acme",
        user_name="robot",
        password_file=written(folder, "p", "emulator-password"),
    ),
    "podIdentity": lambda folder: CredentialSettings("podIdentity"),
    "oidc, old IAM": lambda folder: CredentialSettings(
        "oidc", id_token_file=written(folder, "id", "emulator-id-token"), identity_provider="cce"
    ),
    "oidc, STS": lambda folder: CredentialSettings(
        "oidc", id_token_file=written(folder, "id", "emulator-id-token"), provider_urn="p", agency_urn="a"
    ),
}


def source(emulator: Emulator, folder: Path, settings: CredentialSettings) -> tuple[SwrTrustSource, Registry]:
    """Return a source that calls the emulator with ``settings``, and its registry."""
    changes: dict[str, Any] = {"endpoint": emulator.url, "iam_endpoint": emulator.url}
    if settings.kind == "oidc" and settings.identity_provider is None:
        from dataclasses import replace

        settings = replace(settings, sts_endpoint=emulator.url)
    chosen = registry(credentials=settings, **changes)
    environment = {
        "HC_CONTAINER_CREDENTIALS_FULL_URI": f"{emulator.url}/pod-identity",
        "HC_CONTAINER_AUTHORIZATION_TOKEN_FILE": written(folder, "pod-token", "emulator-id-token"),
    }

    def open_credential(settings: CredentialSettings, registry: Registry, transport: Transport) -> Credential:
        return build_credential(
            settings,
            region=registry.region,
            iam_endpoint=registry.iam_endpoint,
            project_id=registry.project_id,
            transport=transport,
            environment=environment,
        )

    return SwrTrustSource(PooledTransport, open_credential, RecorderSpy()), chosen


@pytest.mark.parametrize("kind", KINDS)
def test_each_credential_kind_is_accepted(emulator: Emulator, tmp_path: Path, kind: str) -> None:
    """SWR answers a request with this credential, also for nested repository names."""
    asked, chosen = source(emulator, tmp_path, KINDS[kind](tmp_path))
    query = TrustQuery(chosen, "shop", "tools/migrate", tag="2024.11")
    assert asked.fetch(query, Deadline.after(10), free).status is TrustStatus.TRUSTED
    listed = TrustQuery(
        chosen, "shop", "db", digest="sha256:57b605845a6367c34bfb6ea6477f16852f59aa1861a2b51d10ab77ae0a1dc9c3"
    )
    assert asked.fetch(listed, Deadline.after(10), free).tags == ("16",)


WRONG: dict[str, Settings] = {
    "token": lambda folder: CredentialSettings("token", token_file=written(folder, "t", "old")),
    "aksk": lambda folder: CredentialSettings(
        "aksk",
        access_key_file=written(folder, "ak", "EMULATORACCESSKEY"),
        secret_key_file=written(folder, "sk", "wrong"),
    ),
    "iamUser": lambda folder: CredentialSettings(
        "iamUser", domain_name="acme", user_name="robot", password_file=written(folder, "p", "wrong")
    ),
}


@pytest.mark.parametrize("kind", WRONG)
def test_wrong_secret_is_sent_once(emulator: Emulator, tmp_path: Path, kind: str) -> None:
    """Twenty lookups with a wrong secret are one failed authentication."""
    asked, chosen = source(emulator, tmp_path, WRONG[kind](tmp_path))
    for number in range(20):
        with pytest.raises(Unauthorized):
            asked.fetch(TrustQuery(chosen, "shop", "web", tag=str(number)), Deadline.after(10), free)
    assert emulator.calls() == 1


def test_expired_token_is_replaced_within_lookup(emulator: Emulator, tmp_path: Path) -> None:
    """IAM may end a token early: one login, one more call."""
    asked, chosen = source(emulator, tmp_path, KINDS["iamUser"](tmp_path))
    query = TrustQuery(chosen, "shop", "web", tag="1.0")
    asked.fetch(query, Deadline.after(10), free)
    emulator.state.tokens.clear()
    assert asked.fetch(query, Deadline.after(10), free).status is TrustStatus.TRUSTED
    assert emulator.calls("/v3/auth/tokens") == 2


def test_token_expiry_under_load_costs_one_login(emulator: Emulator, tmp_path: Path) -> None:
    """Every lookup that was rejected with the old token uses the new one."""
    asked, chosen = source(emulator, tmp_path, KINDS["iamUser"](tmp_path))
    query = TrustQuery(chosen, "shop", "web", tag="1.0")
    asked.fetch(query, Deadline.after(10), free)
    emulator.state.tokens.clear()
    emulator.set_latency(0.05)
    outcomes: list[object] = []

    def ask() -> None:
        try:
            outcomes.append(asked.fetch(query, Deadline.after(20), free).status)
        except TrustLookupError as error:
            outcomes.append(error)

    threads = [threading.Thread(target=ask, daemon=True) for _ in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert outcomes == [TrustStatus.TRUSTED] * 40
    assert emulator.calls("/v3/auth/tokens") == 2


def test_user_with_rejected_new_token_pauses_until_password_change(
    emulator: Emulator, tmp_path: Path
) -> None:
    """Two failed authentications, then a pause; another password is used at once."""
    asked, chosen = source(emulator, tmp_path, KINDS["iamUser"](tmp_path))
    emulator.break_with("status", match="/v2/", status=401, body='{"error_code":"SVCSTG.SWR.4010000"}')

    def ask(count: int) -> None:
        for number in range(count):
            with pytest.raises(Unauthorized):
                asked.fetch(TrustQuery(chosen, "shop", "web", tag=str(number)), Deadline.after(10), free)

    ask(20)
    assert (emulator.calls("/v3/auth/tokens"), emulator.calls("/v2/")) == (2, 2)
    written(tmp_path, "p", "emulator-password ")
    ask(20)
    assert (emulator.calls("/v3/auth/tokens"), emulator.calls("/v2/")) == (3, 3)
    emulator.mend()
    written(tmp_path, "p", "emulator-password")
    query = TrustQuery(chosen, "shop", "web", tag="1.0")
    assert asked.fetch(query, Deadline.after(10), free).status is TrustStatus.TRUSTED


def test_clients_of_removed_registry_are_dropped(emulator: Emulator, tmp_path: Path) -> None:
    """Clients, credentials and connections are dropped with their registry."""
    asked, chosen = source(emulator, tmp_path, KINDS["token"](tmp_path))
    asked.fetch(TrustQuery(chosen, "shop", "web", tag="1.0"), Deadline.after(10), free)
    asked.retain([])
    assert (asked._clients, asked._credentials, asked._transports) == ({}, {}, {})
