"""The login for a registry's token service: a Docker configuration file, or the access key of the API."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from typing import Final

from webhook.deadlines import Deadline
from webhook.errors import Fault
from webhook.http_client.messages import Credential, HttpRequest
from webhook.oci.docker_config import UserLogin, open_docker_config
from webhook.oci.urls import read_url
from webhook.recorder import Recorder
from webhook.registries import Registry
from webhook.swr.credentials import open_key_pair
from webhook.swr.credentials.guard import GuardedCredential, Pause
from webhook.swr.credentials.secrets import KeyPair, SecretSource

KIND: Final = "registryLogin"
"""Its name in messages and metrics."""


def build_login(
    registry: Registry, environment: Mapping[str, str], recorder: Recorder | None = None
) -> Credential | None:
    """Return the login of a registry, ``None`` to call it anonymously.

    It is that of ``dockerConfigFile``, otherwise made from a permanent access key. Keys with a security token
    cannot log in. ``environment`` is read once, now.

    Raises:
        ConfigError: the environment lacks the access key.
    """
    pause = Pause(KIND, recorder or Recorder())
    if registry.docker_config_file is not None:
        file = open_docker_config(registry.docker_config_file, _hosts(registry))
        return GuardedCredential(KIND, file, _authorize, pause)
    settings = registry.credentials
    if not settings.is_permanent_key:
        return None
    if settings.access_key_file is None and environment.get("HUAWEICLOUD_SDK_SECURITY_TOKEN"):
        return None
    source = KeyLogin(open_key_pair(settings, environment), registry.region)
    return GuardedCredential(KIND, source, _authorize, pause)


class KeyLogin:
    """Implements ``SecretSource``: the login that SWR accepts for a permanent access key.

    Source: SWR User Guide, obtaining a long-term login command.
    """

    def __init__(self, keys: SecretSource[KeyPair], region: str) -> None:
        """Make it from ``keys`` for the project of a region."""
        self._keys = keys
        self._region = region

    def current(self, deadline: Deadline) -> tuple[UserLogin, int]:
        """Return the login; raises ``Unauthorized`` if there is no key."""
        pair, generation = self._keys.current(deadline)
        password = hmac.new(pair.secret_key.encode(), pair.access_key.encode(), hashlib.sha256).hexdigest()
        return UserLogin(f"{self._region}@{pair.access_key}", password), generation

    def renew(self, generation: int, fault: Fault = Fault.REGISTRY) -> bool:
        """Return whether the key has changed since ``generation``."""
        return self._keys.renew(generation, fault)

    def confirm(self) -> None:
        """Record that the login was accepted."""
        self._keys.confirm()


def _authorize(login: UserLogin, request: HttpRequest) -> Mapping[str, str]:
    del request
    return {"Authorization": login.header}


def _hosts(registry: Registry) -> list[str]:
    """Return the names of a registry in the order in which its login is looked for."""
    endpoint = read_url(registry.registry_endpoint)
    own = [endpoint.base_url.partition("//")[2]] if endpoint is not None else []
    return list(dict.fromkeys([*own, *registry.hosts]))
