"""Credentials for SWR: every kind of the configuration file, with one interface."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import TypeVar

from webhook.deadlines import Deadline
from webhook.errors import ConfigError, Problem
from webhook.http_client.messages import Credential, HttpRequest, Transport
from webhook.recorder import Recorder
from webhook.regions import find_region
from webhook.registries import CredentialSettings
from webhook.swr.credentials.fetched import Fetched, FetchedSecret
from webhook.swr.credentials.files import SecretFiles, open_secret, read_secret
from webhook.swr.credentials.guard import GuardedCredential, Pause
from webhook.swr.credentials.iam_user import IamUserLogin
from webhook.swr.credentials.secrets import FixedSecret, KeyPair, SecretSource
from webhook.swr.credentials.signing import load_signer
from webhook.swr.credentials.temporary import OidcAgency, OidcFederation, PodIdentity

SecretT = TypeVar("SecretT")


def build_credential(
    settings: CredentialSettings,
    *,
    region: str,
    iam_endpoint: str,
    project_id: str | None,
    transport: Transport,
    environment: Mapping[str, str],
    recorder: Recorder | None = None,
) -> Credential:
    """Return the credential of ``settings``; ``environment`` is read once, now.

    Raises:
        ConfigError: the environment lacks what the kind needs.
    """
    recorder = recorder or Recorder()
    kind = settings.kind
    pause, login_pause = Pause(kind, recorder), Pause(kind, recorder)
    if kind == "token":
        token = open_secret(_need(settings.token_file, "tokenFile"))
        return GuardedCredential(kind, token, _token_header, pause)
    if kind == "aksk":
        return GuardedCredential(kind, open_key_pair(settings, environment), load_signer(), pause)

    def fetched(
        fetch: Callable[[Deadline], Fetched[SecretT]], file: SecretFiles[str]
    ) -> FetchedSecret[SecretT]:
        inputs: Callable[[], Hashable] = file.read_stamps
        return FetchedSecret(kind, fetch, inputs, login_pause, recorder)

    if kind == "iamUser":
        password = open_secret(_need(settings.password_file, "passwordFile"))
        project = {"id": project_id} if project_id is not None else {"name": region}
        login = IamUserLogin(
            transport,
            iam_endpoint,
            _need(settings.domain_name, "domainName"),
            _need(settings.user_name, "userName"),
            password,
            project,
        )
        return GuardedCredential(kind, fetched(login, password), _token_header, pause, login_pause)
    keys = _temporary_keys(settings, region, iam_endpoint, transport, environment)
    return GuardedCredential(kind, fetched(*keys), load_signer(), pause, login_pause)


def _temporary_keys(
    settings: CredentialSettings,
    region: str,
    iam_endpoint: str,
    transport: Transport,
    environment: Mapping[str, str],
) -> tuple[Callable[[Deadline], Fetched[KeyPair]], SecretFiles[str]]:
    if settings.kind == "podIdentity":
        url = _from_environment(environment, "HC_CONTAINER_CREDENTIALS_FULL_URI")
        token = open_secret(_from_environment(environment, "HC_CONTAINER_AUTHORIZATION_TOKEN_FILE"))
        return PodIdentity(transport, url, token), token
    token = open_secret(_need(settings.id_token_file, "idTokenFile"))
    if settings.identity_provider is not None:
        return OidcFederation(transport, iam_endpoint, settings.identity_provider, token), token
    known = find_region(region)
    endpoint = settings.sts_endpoint or (known.sts_endpoint if known is not None else None)
    assume = OidcAgency(
        transport,
        _need(endpoint, "stsEndpoint"),
        _need(settings.provider_urn, "providerUrn"),
        _need(settings.agency_urn, "agencyUrn"),
        token,
    )
    return assume, token


def open_key_pair(settings: CredentialSettings, environment: Mapping[str, str]) -> SecretSource[KeyPair]:
    """Return the access key of ``aksk``; ``environment`` is read once, now.

    Raises:
        ConfigError: the environment lacks it.
    """
    if settings.access_key_file is not None:
        paths = [settings.access_key_file, _need(settings.secret_key_file, "secretKeyFile")]
        if settings.security_token_file is not None:
            paths.append(settings.security_token_file)
        return SecretFiles(paths, lambda: KeyPair(*map(read_secret, paths)))
    return FixedSecret(
        KeyPair(
            _from_environment(environment, "HUAWEICLOUD_SDK_AK"),
            _from_environment(environment, "HUAWEICLOUD_SDK_SK"),
            environment.get("HUAWEICLOUD_SDK_SECURITY_TOKEN") or None,
        )
    )


def _token_header(token: str, request: HttpRequest) -> Mapping[str, str]:
    del request
    return {"X-Auth-Token": token}


def _need(value: str | None, key: str) -> str:
    if not value:
        raise ConfigError([Problem("credentials", f"{key} is missing")])
    return value


def _from_environment(environment: Mapping[str, str], name: str) -> str:
    value = environment.get(name, "")
    if not value:
        raise ConfigError([Problem("credentials", f"the environment variable {name} is not set")])
    return value


__all__ = ["build_credential", "open_key_pair"]
