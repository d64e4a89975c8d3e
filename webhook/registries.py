"""The registries of a configuration as pure data: what belongs to which host.

A registry is one account's view of one SWR endpoint. Several registries may share a host;
``organizations`` then says which of them an image belongs to. A host that no registry names is
unmanaged: nothing is ever asked there, so no image reference can make us call an endpoint that
nobody chose.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Literal

from webhook.images.reference import ImageReference

CredentialKind = Literal["aksk", "token", "iamUser", "podIdentity", "oidc"]


@dataclass(frozen=True, slots=True)
class CredentialSettings:
    """Which identity asks SWR, and where its secrets are read from; never a secret itself.

    Files are absolute paths. ``aksk`` without files reads ``HUAWEICLOUD_SDK_AK``, ``_SK`` and
    ``_SECURITY_TOKEN`` from the environment once, at start.
    """

    kind: CredentialKind
    token_file: str | None = None
    access_key_file: str | None = None
    secret_key_file: str | None = None
    security_token_file: str | None = None
    domain_name: str | None = None
    user_name: str | None = None
    password_file: str | None = None
    identity_provider: str | None = None
    """``oidc`` with the old IAM: the identity provider's id (header ``X-Idp-Id``)."""
    id_token_file: str | None = None
    """``oidc``: the projected ServiceAccount token."""
    provider_urn: str | None = None
    """``oidc`` with the new IAM (STS): the identity provider's URN."""
    agency_urn: str | None = None
    """``oidc`` with the new IAM (STS): the agency to assume."""
    sts_endpoint: str | None = None
    """``oidc`` with the new IAM: base URL of STS; by default the region's."""


@dataclass(frozen=True)
class Registry:
    """One SWR registry: the hosts it is known by and how it is asked.

    ``hosts`` are lower-case ``host`` or ``host:port`` strings as they appear in image references,
    aliases included. ``organizations`` is empty when the registry takes every organisation of its
    hosts. ``endpoint`` and ``iam_endpoint`` are base URLs without a trailing slash.
    """

    hosts: tuple[str, ...]
    region: str
    endpoint: str
    iam_endpoint: str
    credentials: CredentialSettings
    organizations: frozenset[str] = frozenset()
    project_id: str | None = None
    ca_file: str | None = None
    proxy: str | None = None

    @cached_property
    def key(self) -> str:
        """A stable fingerprint of the whole definition, equal across processes and restarts.

        Cached facts and snapshots are filed under it: they outlive a reload exactly when the
        definition they were learnt under is unchanged.
        """
        parts = [f"{f.name}={getattr(self, f.name)!r}" for f in fields(self) if f.name != "organizations"]
        parts.append(f"organizations={sorted(self.organizations)!r}")
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]

    @property
    def name(self) -> str:
        """How people and metrics call it: its first host."""
        return self.hosts[0]


@dataclass(frozen=True)
class RegistryTable:
    """All registries of a configuration, in file order."""

    registries: tuple[Registry, ...]
    _by_host: Mapping[str, tuple[Registry, ...]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Index the registries by host, keeping their order."""
        by_host: dict[str, tuple[Registry, ...]] = {}
        for registry in self.registries:
            for host in registry.hosts:
                by_host[host] = (*by_host.get(host, ()), registry)
        object.__setattr__(self, "_by_host", by_host)

    @classmethod
    def of(cls, registries: Iterable[Registry]) -> RegistryTable:
        """Build the table from any iterable of registries."""
        return cls(tuple(registries))

    def knows(self, host: str) -> bool:
        """Whether any registry is known by this host, for whatever organisations."""
        return host in self._by_host

    def find(self, reference: ImageReference) -> Registry | None:
        """Return the registry an image belongs to, or ``None`` for an unmanaged one.

        The host is compared as a whole, in lower case, with its port; the first entry that names
        the image's organisation, or that names none, is the one.
        """
        organization = reference.path.partition("/")[0]
        for registry in self._by_host.get(reference.domain, ()):
            if not registry.organizations or organization in registry.organizations:
                return registry
        return None
