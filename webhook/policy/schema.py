"""Schema of the configuration file: keys, types and descriptions.

The descriptions are the reference documentation; the JSON Schema for editors contains them. A model also
checks combinations of keys, such as the keys for each kind of credentials, and reports a problem at its key.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic.alias_generators import to_camel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import PydanticCustomError, core_schema

from webhook.policy.fields import (
    Annotation,
    Expiry,
    File,
    Group,
    Hint,
    Host,
    Images,
    Name,
    Namespaces,
    Organization,
    Project,
    ProxyUrl,
    Reason,
    Region,
    Url,
    User,
    between,
)
from webhook.regions import find_region
from webhook.registries import CredentialKind

API_VERSION: Final = "swr-trust/v1"
KIND: Final = "TrustPolicy"

SCHEMA_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"

Part = tuple[str | int, ...]
"""Position of a problem relative to its model: keys and indices."""

_Mode = Literal["enforce", "warn", "audit"]

KEYS_OF_KIND: Final[Mapping[CredentialKind, tuple[str, ...]]] = {
    "aksk": ("access_key_file", "secret_key_file", "security_token_file"),
    "token": ("token_file",),
    "iamUser": ("domain_name", "user_name", "password_file"),
    "podIdentity": (),
    "oidc": ("id_token_file", "identity_provider", "provider_urn", "agency_urn", "sts_endpoint"),
}
"""The keys for each kind of credentials."""

_NEEDED: Final[Mapping[CredentialKind, tuple[str, ...]]] = {
    "aksk": (),
    "token": ("token_file",),
    "iamUser": ("domain_name", "user_name", "password_file"),
    "podIdentity": (),
    "oidc": ("id_token_file",),
}


def _raise_problems(problems: Iterable[tuple[Part, str]]) -> None:
    """Report all problems of a model at once, each with its position."""
    found = list(problems)
    if found:
        raise PydanticCustomError("problems", "see the context", {"problems": found})


class _Model(BaseModel):
    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=False,
        extra="forbid",
        strict=True,
        frozen=True,
        hide_input_in_errors=True,
        use_attribute_docstrings=True,
        model_title_generator=lambda model: model.__name__.removesuffix("Model"),
    )


class CredentialsModel(_Model):
    """The identity for SWR. Secrets are in files or environment variables, never in this file."""

    kind: CredentialKind
    """aksk signs each request with an access key. token sends an IAM token from a file. iamUser logs in
    to IAM with a password. podIdentity and oidc use temporary keys of the Pod."""
    access_key_file: File | None = None
    """aksk: file with the access key. Without files, the environment variables HUAWEICLOUD_SDK_AK,
    HUAWEICLOUD_SDK_SK and HUAWEICLOUD_SDK_SECURITY_TOKEN are used."""
    secret_key_file: File | None = None
    """aksk: file with the secret access key."""
    security_token_file: File | None = None
    """aksk: file with the security token of a temporary access key."""
    token_file: File | None = None
    """token: file with the IAM token, read again when it changes."""
    domain_name: Name | None = None
    """iamUser: name of the account that the user belongs to."""
    user_name: Name | None = None
    """iamUser: name of the IAM user."""
    password_file: File | None = None
    """iamUser: file with the user's password."""
    id_token_file: File | None = None
    """oidc: file with the projected ServiceAccount token."""
    identity_provider: Name | None = None
    """oidc with IAM's identity providers: the provider's ID."""
    provider_urn: Name | None = None
    """oidc with STS: the URN of the OIDC provider."""
    agency_urn: Name | None = None
    """oidc with STS: the URN of the agency to assume."""
    sts_endpoint: Url | None = None
    """oidc with STS: base URL of STS. By default the region's."""

    @model_validator(mode="after")
    def _check_kind(self) -> Self:
        _raise_problems(self._problems())
        return self

    def _problems(self) -> Iterable[tuple[Part, str]]:
        kind = self.kind
        given = {key for key in type(self).model_fields if key != "kind" and getattr(self, key) is not None}
        for key in type(self).model_fields:
            if key in given and key not in KEYS_OF_KIND[kind]:
                yield (to_camel(key),), f"does not go with kind {kind}: remove it"
            elif key in _NEEDED[kind] and key not in given:
                yield (to_camel(key),), f"is missing: kind {kind} needs it"
        keys = {"access_key_file", "secret_key_file"} & given
        if kind == "aksk" and (len(keys) == 1 or (not keys and "security_token_file" in given)):
            yield (), "set accessKeyFile and secretKeyFile together, or no file at all to use the environment"
        if kind == "oidc":
            agency = {"provider_urn", "agency_urn"} & given
            if ("identity_provider" in given) == bool(agency) or len(agency) == 1:
                yield (), "set identityProvider for IAM, or providerUrn and agencyUrn for STS"


class RegistryModel(_Model):
    """One SWR registry: its hosts, its endpoints and its credentials."""

    region: Region
    """Region of Huawei Cloud. For a known region, hosts, endpoint and iamEndpoint have defaults. For any
    other, set all three."""
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

    @model_validator(mode="after")
    def _check_whole(self) -> Self:
        _raise_problems(self._problems())
        return self

    def _problems(self) -> Iterable[tuple[Part, str]]:
        known = find_region(self.region)
        seen = {known.host} if known is not None and self.hosts is None else set()
        for key, hosts in (("hosts", self.hosts or []), ("aliases", self.aliases)):
            for index, host in enumerate(hosts):
                if host in seen:
                    yield (key, index), f"{host} is a host of this registry already: remove one"
                seen.add(host)


class RuleModel(_Model):
    """A mode and stricter requirements for selected images in selected namespaces."""

    name: Name
    """A unique name, for logs, messages and audit annotations."""
    images: Images
    """Image patterns: * matches any characters within one path component, ** matches one or more
    components, and ** alone matches every image of every host."""
    namespaces: Namespaces = ["*"]
    """Namespaces; * matches any characters. By default all."""
    mode: _Mode | None = None
    """Mode for these images. By default the policy's mode."""
    require_digest: bool = False
    """Require name:tag@digest."""
    require_pull_always: bool = False
    """Require imagePullPolicy Always, so that no node runs an image that it pulled earlier under the tag."""
    pin_digests: bool | None = None
    """Pin these images to the digest of their tag. By default the policy's pinDigests."""

    @model_validator(mode="after")
    def _check_effect(self) -> Self:
        is_set = self.mode is not None or self.pin_digests is not None
        if not is_set and not self.require_digest and not self.require_pull_always:
            keys = "mode, requireDigest, requirePullAlways or pinDigests"
            _raise_problems([((), f"changes nothing: set {keys}")])
        return self


class ExemptionModel(_Model):
    """Images to admit without querying SWR."""

    name: Name
    """A unique name, for logs, messages and audit annotations."""
    images: Images
    """Image patterns, as in rules."""
    reason: Reason
    """Reason to admit these images without a query, for auditors."""
    namespaces: Namespaces = ["*"]
    """Namespaces; * matches any characters. By default all."""
    expires: Expiry | None = None
    """A date, valid until its end in UTC, or an RFC 3339 time with its offset. By default never."""


class BreakGlassModel(_Model):
    """Users and groups who may bypass the policy by annotation in an emergency. Each use is recorded."""

    annotation: Annotation = "swr-trust/break-glass"
    """Annotation of the Pod. Its value is the reason."""
    users: list[User] = Field(default=[], max_length=100)
    """Users who may use break-glass, full names."""
    groups: list[Group] = Field(default=[], max_length=100)
    """Groups whose members may use break-glass, full names. Groups with all users are rejected."""


class CacheModel(_Model):
    """How long SWR's responses are cached."""

    trusted: Annotated[float, *between("1s", "1h")] = Field(default="60s", validate_default=True)
    """How long a trusted response is cached: 1s to 1h."""
    refused: Annotated[float, *between("1s", "5m")] = Field(default="10s", validate_default=True)
    """How long an untrusted or missing response is cached: 1s to 5m."""
    pinned: Annotated[float, *between("1s", "1h")] = Field(default="2s", validate_default=True)
    """How old a trusted response may be when its digest is pinned: 1s to 1h. A Pod that is created after a
    push of its tag gets the new digest."""
    stale_if_error: Annotated[float, *between("0s", "30d")] = Field(default="12h", validate_default=True)
    """How long after SWR's last response a trusted image is admitted during an SWR outage: up to 30d, 0s
    disables it."""
    max_entries: int = Field(default=10_000, ge=100, le=1_000_000)
    """Maximum number of trusted responses, and separately of denied ones, in the cache."""


class LookupModel(_Model):
    """How SWR is queried."""

    timeout: Annotated[float, *between("1s", "25s")] = Field(default="3s", validate_default=True)
    """Total time of one lookup, including retries: 1s to 25s."""
    concurrency: int = Field(default=128, ge=1, le=1000)
    """Concurrent calls, per endpoint and credential."""
    retries: int = Field(default=1, ge=0, le=3)
    """How often a broken connection or a 5xx response is retried while time is left."""
    calls_per_second: float = Field(default=50, ge=0.1, le=1000)
    """Calls per second, per endpoint, credential and replica. The burst is four times as large."""


class PolicyModel(_Model):
    """The policy of the SWR trust webhook."""

    api_version: Literal["swr-trust/v1"]
    """Version of this format."""
    kind: Literal["TrustPolicy"]
    """Kind of this file."""
    registries: list[RegistryModel] = Field(min_length=1, max_length=100)
    """SWR registries to query. An image of any other host is unmanaged."""
    credentials: CredentialsModel | None = None
    """Identity for all registries without their own."""
    mode: _Mode = "enforce"
    """enforce denies a Pod that violates the policy, warn admits it with a warning, audit only records it."""
    unmanaged_registries: Literal["deny", "warn", "allow"] = "deny"
    """Action for images whose host belongs to none of the registries."""
    digest_only: Literal["deny", "resolve"] = "deny"
    """name@digest without a tag: deny, or resolve the digest. All tags with this digest must then be
    trusted."""
    on_lookup_failure: Literal["deny", "allow"] = "deny"
    """Action if SWR cannot be queried and no stale response is available."""
    pin_digests: bool = False
    """Replace name:tag by name:tag@digest in new Pods whose image is trusted, so that nodes run what was
    evaluated. Needs the MutatingWebhookConfiguration, which the chart's value pinning.enabled adds."""
    workloads: Literal["off", "warn", "enforce"] = "warn"
    """Early feedback on Deployments, Jobs and other workloads. Their Pods are always evaluated separately."""
    rules: list[RuleModel] = Field(default=[], max_length=1000)
    """Other modes and stricter requirements. The first rule that matches an image applies."""
    exemptions: list[ExemptionModel] = Field(default=[], max_length=1000)
    """Images to admit without a query. The first exemption that matches and has not expired applies."""
    break_glass: BreakGlassModel = Field(default_factory=BreakGlassModel)
    """Emergency admission by annotation. By default, no user may use it."""
    hint: Hint = ""
    """A sentence that is appended to every denial message, such as a link to your documentation; at most 300
    characters."""
    messages: Literal["en", "zh"] = "en"
    """Language of denial messages and warnings."""
    cache: CacheModel = Field(default_factory=CacheModel)
    """The cache of SWR's responses."""
    lookup: LookupModel = Field(default_factory=LookupModel)
    """The calls to SWR."""


class _EditorSchema(GenerateJsonSchema):
    """Generates a schema for authors: without nulls and generated titles, and with defaults as text."""

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        if schema.get("default", ...) is None:
            return self.generate_inner(schema["schema"])
        return super().default_schema(schema)

    def field_title_should_be_set(self, schema: object) -> bool:
        del schema
        return False


def build_json_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of the configuration file, for editors."""
    schema = PolicyModel.model_json_schema(by_alias=True, schema_generator=_EditorSchema)
    return {"$schema": SCHEMA_DIALECT, **_unfolded(schema)}


def _unfolded(value: Any) -> Any:
    """Return a schema whose descriptions do not contain the line breaks of this module's source."""
    if isinstance(value, dict):
        return {
            key: " ".join(inner.split())
            if key == "description" and isinstance(inner, str)
            else _unfolded(inner)
            for key, inner in value.items()
        }
    return [_unfolded(item) for item in value] if isinstance(value, list) else value
