"""The registries of a configuration, as data.

A registry is the view of one account on one SWR endpoint. Several registries may share a host;
``organizations`` then selects the registry of an image. A host without a registry is unmanaged: it is never
called, so that an image reference cannot make us call an unknown endpoint.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from functools import cached_property
from typing import Final, Literal

from webhook.images.reference import ImageReference

MAX_ORGANIZATIONS: Final = 3
"""Organizations in the label of a registry; the others are counted."""

CredentialKind = Literal["aksk", "token", "iamUser", "podIdentity", "oidc"]


@dataclass(frozen=True, slots=True)
class CredentialSettings:
    """The identity for SWR and the files of its secrets; contains no secret itself.

    Files are absolute paths. ``aksk`` without files reads ``HUAWEICLOUD_SDK_AK``, ``_SK`` and
    ``_SECURITY_TOKEN`` from the environment once, at start.
    """

    kind: CredentialKind | Literal["none"]
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

    @property
    def is_permanent_key(self) -> bool:
        """Whether it is an access key that is not temporary, as far as the configuration says."""
        return self.kind == "aksk" and self.security_token_file is None


NO_CREDENTIALS: Final = CredentialSettings("none")
"""The credentials of a registry of SWR Enterprise, whose API is not called."""


class Evidence(StrEnum):
    """The evidence that makes an image of a registry trusted. The values are those of the configuration."""

    TAG_DETAIL = "tagDetail"
    """SWR's tag detail says ``is_trusted: true``."""
    SIGNATURE = "signature"
    """Enough of the configured keys have signed the digest of the image."""
    BOTH = "both"


Edition = Literal["basic", "enterprise"]


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A public key whose signatures count, as read with the policy.

    ``not_after`` is the time from which it does not count, in epoch seconds. ``content`` is its
    SubjectPublicKeyInfo in DER, empty if the key does not count; ``problem`` is the reason, a clause.
    """

    name: str
    file: str
    not_after: float | None = None
    content: bytes = field(default=b"", repr=False)
    problem: str = ""


@dataclass(frozen=True, slots=True)
class SignatureSettings:
    """Which signatures an image needs: of ``threshold`` different keys, with all ``annotations``."""

    keys: tuple[SigningKey, ...]
    threshold: int = 1
    annotations: tuple[tuple[str, str], ...] = ()

    @property
    def counting(self) -> tuple[SigningKey, ...]:
        """The keys whose signatures count now."""
        return tuple(key for key in self.keys if key.content)

    @property
    def missing(self) -> int:
        """How many more keys must count before an image can be trusted."""
        return max(0, self.threshold - len(self.counting))

    @property
    def reads_all(self) -> bool:
        """Whether no signatures suffice, so that all of them are read, as a survey does."""
        return self.threshold > len(self.keys)

    @property
    def fingerprint(self) -> str:
        """A text that changes with everything that decides about a signature."""
        keys = sorted((key.name, key.content.hex()) for key in self.counting)
        return f"{keys!r} {self.threshold} {sorted(self.annotations)!r}"


@dataclass(frozen=True)
class Registry:
    """One SWR registry: its hosts, endpoints, credentials and evidence.

    ``hosts`` are lower-case ``host`` or ``host:port`` strings as in image references, with aliases.
    ``organizations`` is empty if the registry covers all organizations of its hosts. ``endpoint`` and
    ``iam_endpoint`` are the base URLs of SWR's API and of IAM, ``registry_endpoint`` that of the registry
    API (OCI distribution), all without a trailing slash. SWR Enterprise has only the last: ``region`` and the
    other URLs are empty, and it has ``NO_CREDENTIALS``. ``docker_config_file`` is the login for the registry
    API.
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
    edition: Edition = "basic"
    evidence: Evidence = Evidence.TAG_DETAIL
    signatures: SignatureSettings | None = None
    registry_endpoint: str = ""
    docker_config_file: str | None = None

    @cached_property
    def key(self) -> str:
        """A stable fingerprint of the definition, equal in all processes.

        It is part of the keys of cache and snapshot, so that records stay after a reload only if the
        definition is unchanged. Where signatures are evidence, it depends on the contents of the keys that
        count: records of a removed key are not used any longer. ``webhook.trust.key_changes`` carries over
        those that other keys prove.
        """
        parts = self._identity_parts()
        if self.needs_signature:
            parts.append(self.signatures.fingerprint if self.signatures is not None else "")
        return _hash(parts)

    @cached_property
    def identity(self) -> str:
        """A fingerprint of everything but ``signatures``: it stays the same when signing keys change."""
        return _hash(self._identity_parts())

    def _identity_parts(self) -> list[str]:
        parts = [f"{f.name}={getattr(self, f.name)!r}" for f in fields(self) if f.name not in _SEPARATE]
        parts.append(f"organizations={sorted(self.organizations)!r}")
        if self.needs_signature:
            parts.append(f"{self.edition} {self.evidence} {self.registry_endpoint} {self.docker_config_file}")
        return parts

    @property
    def caller(self) -> tuple[str, CredentialSettings]:
        """Endpoint and identity: registries that share them share one rate of calls."""
        return (self.endpoint or self.registry_endpoint, self.credentials)

    @property
    def signing_keys(self) -> tuple[SigningKey, ...]:
        """The keys of ``signatures``, also those that do not count."""
        return self.signatures.keys if self.signatures is not None else ()

    @property
    def needs_signature(self) -> bool:
        """Whether an image of the registry is trusted only if it is signed."""
        return self.evidence is not Evidence.TAG_DETAIL

    @property
    def is_enterprise(self) -> bool:
        """Whether the registry is of SWR Enterprise, which has no tag detail."""
        return self.edition == "enterprise"

    @property
    def name(self) -> str:
        """The name in messages and metrics: the first host."""
        return self.hosts[0]

    @property
    def label(self) -> str:
        """The name with the organizations to which the registry is limited: several may share a host."""
        names = sorted(self.organizations)
        if not names:
            return self.name
        more = len(names) - MAX_ORGANIZATIONS
        listed = ", ".join(names[:MAX_ORGANIZATIONS]) + (f", +{more}" if more > 0 else "")
        return f"{self.name} ({listed})"


_SEPARATE: Final = frozenset(
    {"organizations", "edition", "evidence", "signatures", "registry_endpoint", "docker_config_file"}
)
"""Fields that ``Registry.key`` handles one by one. The key of a registry whose evidence is the tag detail is
the same as before there was other evidence, so that its snapshot stays valid."""


def _hash(parts: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class RegistryTable:
    """All registries of a configuration, in the order of the file."""

    registries: tuple[Registry, ...]
    _by_host: Mapping[str, tuple[Registry, ...]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Index the registries by host, in the same order."""
        by_host: dict[str, tuple[Registry, ...]] = {}
        for registry in self.registries:
            for host in registry.hosts:
                by_host[host] = (*by_host.get(host, ()), registry)
        object.__setattr__(self, "_by_host", by_host)

    @classmethod
    def of(cls, registries: Iterable[Registry]) -> RegistryTable:
        """Return the table of these registries."""
        return cls(tuple(registries))

    def knows(self, host: str) -> bool:
        """Return whether a registry has this host, for any organization."""
        return host in self._by_host

    def find(self, reference: ImageReference) -> Registry | None:
        """Return the registry of an image, or ``None`` for an unmanaged one.

        The complete host is compared, in lower case, with its port. The first entry that names the image's
        organization, or no organization, is returned.
        """
        organization = reference.path.partition("/")[0]
        for registry in self._by_host.get(reference.domain, ()):
            if not registry.organizations or organization in registry.organizations:
                return registry
        return None
