"""Schema of registries: their hosts, endpoints and evidence.

``webhook.policy.registry_checks`` compares the keys of a registry.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Literal, Self

from pydantic import ConfigDict, Field, JsonValue, model_validator

from webhook.policy.credentials_schema import CredentialsModel
from webhook.policy.fields import (
    Expiry,
    File,
    Host,
    Name,
    Organization,
    PayloadKey,
    PayloadText,
    Project,
    ProxyUrl,
    Region,
    RegistryUrl,
    Url,
)
from webhook.policy.schema_base import Model, Part, raise_problems
from webhook.regions import find_region
from webhook.registries import Edition

MAX_KEYS: Final = 20
"""Signing keys of one registry. Each signature of an image may have to be verified with each of them."""

_NEEDED_KEYS: Final[dict[str, JsonValue]] = {
    "allOf": [
        {
            "if": {"properties": {"edition": {"const": "enterprise"}}, "required": ["edition"]},
            "then": {
                "properties": {"evidence": {"const": "signature"}},
                "required": ["hosts", "evidence", "signatures"],
            },
            "else": {"required": ["region"]},
        },
        {
            "if": {"properties": {"evidence": {"enum": ["signature", "both"]}}, "required": ["evidence"]},
            "then": {"required": ["signatures"]},
        },
    ]
}
"""Which keys of a registry need others, in the words of JSON Schema."""


class SigningKeyModel(Model):
    """A public key. Its signatures count."""

    name: Name
    """A unique name, for messages, audit annotations, metrics and reports."""
    file: File
    """PEM file with the public key: ECDSA P-256, P-384 or P-521, RSA of 2048 to 4096 bits, or SM2. Read again
    when it changes."""
    not_after: Expiry | None = None
    """Last day on which the key counts, until its end in UTC, or an RFC 3339 time with its offset. By default
    it never lapses."""


class SignaturesModel(Model):
    """Which signatures an image needs."""

    keys: list[SigningKeyModel] = Field(min_length=1, max_length=MAX_KEYS)
    """Public keys whose signatures count."""
    threshold: int = Field(default=1, ge=1)
    """How many different keys must have signed an image."""
    annotations: dict[PayloadKey, PayloadText] = Field(default={}, max_length=20)
    """Annotations that the signed payload must contain, as written by cosign sign -a."""

    @model_validator(mode="after")
    def _check_threshold(self) -> Self:
        if self.threshold > len(self.keys):
            most = len(self.keys)
            raise_problems(
                [(("threshold",), f"is above the number of keys: write at most {most}, or add keys")]
            )
        return self


class RegistryLoginModel(Model):
    """The login for the registry API, through which signatures are read."""

    docker_config_file: File
    """File of a Secret of type kubernetes.io/dockerconfigjson. Read again when it changes."""


class RegistryModel(Model):
    """One SWR registry: its hosts, its endpoints, its credentials and what makes its images trusted."""

    model_config = ConfigDict(json_schema_extra=_NEEDED_KEYS)

    edition: Edition = "basic"
    """basic is the shared SWR of a region. enterprise is an instance of SWR Enterprise: it needs hosts,
    evidence and signatures, and neither region nor credentials."""
    region: Region | None = None
    """Region of Huawei Cloud, needed for edition basic. For a known region, hosts, endpoint and iamEndpoint
    have defaults. For any other, set all three."""
    hosts: list[Host] | None = Field(default=None, min_length=1, max_length=20)
    """Registry hosts as written in image references, with their port. By default the region's."""
    aliases: list[Host] = Field(default=[], max_length=50)
    """Further hosts of the same registry, such as CCE's internal addresses."""
    organizations: list[Organization] | None = Field(default=None, min_length=1, max_length=500)
    """Organizations of this account, if several accounts share a host. By default all. The first entry
    that matches an image applies."""
    project_id: Project | None = None
    """ID of the project for requests. Without it, iamUser logs in to the project with the name of the
    region."""
    endpoint: Url | None = None
    """Base URL of SWR's API. By default the region's. http is allowed only for loopback addresses."""
    iam_endpoint: Url | None = None
    """Base URL of IAM. By default the region's."""
    ca_file: File | None = None
    """PEM file with the CAs that verify SWR and IAM, instead of the system's. Read again when it
    changes."""
    proxy: ProxyUrl | None = None
    """URL of an HTTP proxy. By default the environment variables HTTPS_PROXY and NO_PROXY."""
    credentials: CredentialsModel | None = None
    """Identity for this registry. By default the top-level key credentials."""
    evidence: Literal["tagDetail", "signature", "both"] = "tagDetail"
    """Evidence that makes an image trusted. tagDetail: SWR reports is_trusted. signature: enough keys have
    signed it. both: both."""
    signatures: SignaturesModel | None = None
    """The keys that sign images, needed for evidence signature and both."""
    registry_endpoint: RegistryUrl | None = None
    """Base URL of the registry API, through which signatures are read. By default https:// and the first
    host. http is allowed only for loopback addresses."""
    registry_login: RegistryLoginModel | None = None
    """Login for the registry API. By default made from credentials of kind aksk; for all others the registry
    API is read anonymously."""

    @model_validator(mode="after")
    def _check_whole(self) -> Self:
        raise_problems(self._problems())
        return self

    def _problems(self) -> Iterable[tuple[Part, str]]:
        known = find_region(self.region) if self.region is not None else None
        seen = {known.host} if known is not None and self.hosts is None else set()
        for key, hosts in (("hosts", self.hosts or []), ("aliases", self.aliases)):
            for index, host in enumerate(hosts):
                if host in seen:
                    yield (key, index), f"{host} is a host of this registry already: remove one"
                seen.add(host)
