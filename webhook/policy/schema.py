"""Schema of the configuration file: keys, types and descriptions.

The descriptions are the reference documentation; the JSON Schema for editors contains them. A model also
checks combinations of its own keys, and reports a problem at its key.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, Self

from pydantic import Field, model_validator
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from webhook.policy.credentials_schema import CredentialsModel
from webhook.policy.fields import (
    Annotation,
    Expiry,
    Group,
    Hint,
    Images,
    Name,
    Namespaces,
    Reason,
    User,
    between,
)
from webhook.policy.registry_schema import RegistryModel
from webhook.policy.schema_base import Model, raise_problems

API_VERSION: Final = "swr-trust/v1"
KIND: Final = "TrustPolicy"

SCHEMA_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"

_Mode = Literal["enforce", "warn", "audit"]


class RuleModel(Model):
    """A mode and stricter requirements for selected images in selected namespaces."""

    name: Name
    """A unique name, for logs, messages and audit annotations."""
    images: Images
    """Image patterns: * matches any characters within one path component, ** matches one or more
    components, and ** alone matches every image of every host."""
    namespaces: Namespaces = Field(default=["*"])
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
            raise_problems([((), f"changes nothing: set {keys}")])
        return self


class ExemptionModel(Model):
    """Images to admit without querying SWR."""

    name: Name
    """A unique name, for logs, messages and audit annotations."""
    images: Images
    """Image patterns, as in rules."""
    reason: Reason
    """Reason to admit these images without a query, for auditors."""
    namespaces: Namespaces = Field(default=["*"])
    """Namespaces; * matches any characters. By default all."""
    expires: Expiry | None = None
    """A date, valid until its end in UTC, or an RFC 3339 time with its offset. By default never."""


class BreakGlassModel(Model):
    """Users and groups who may bypass the policy by annotation in an emergency. Each use is recorded."""

    annotation: Annotation = "swr-trust/break-glass"
    """Annotation of the Pod. Its value is the reason."""
    users: list[User] = Field(default=[], max_length=100)
    """Users who may use break-glass, full names."""
    groups: list[Group] = Field(default=[], max_length=100)
    """Groups whose members may use break-glass, full names. Groups with all users are rejected."""


class CacheModel(Model):
    """How long SWR's responses are cached."""

    trusted: Annotated[float, *between("1s", "1h")] = Field(default="60s", validate_default=True)
    """How long a trusted response is cached: 1s to 1h."""
    refused: Annotated[float, *between("1s", "5m")] = Field(default="10s", validate_default=True)
    """How long an untrusted or missing response is cached: 1s to 5m."""
    pinned: Annotated[float, *between("1s", "1h")] = Field(default="2s", validate_default=True)
    """How old a trusted response may be when its digest is pinned: 1s to 1h. A Pod that is created after a
    push of its tag gets the new digest."""
    signed: Annotated[float, *between("1m", "24h")] = Field(default="1h", validate_default=True)
    """How long it counts that the digest of an image is signed: 1m to 24h. An image whose signature is
    deleted is admitted until then."""
    stale_if_error: Annotated[float, *between("0s", "30d")] = Field(default="12h", validate_default=True)
    """How long after SWR's last response a trusted image is admitted during an SWR outage: up to 30d, 0s
    disables it."""
    max_entries: int = Field(default=10_000, ge=100, le=1_000_000)
    """Maximum number of trusted responses, and separately of denied ones, in the cache."""


class LookupModel(Model):
    """How SWR is queried."""

    timeout: Annotated[float, *between("1s", "25s")] = Field(default="3s", validate_default=True)
    """Total time of one lookup, including retries: 1s to 25s."""
    concurrency: int = Field(default=128, ge=1, le=1000)
    """Concurrent calls, per endpoint and credential."""
    retries: int = Field(default=1, ge=0, le=3)
    """How often a broken connection or a 5xx response is retried while time is left."""
    calls_per_second: float = Field(default=50, ge=0.1, le=1000)
    """Calls per second, per endpoint, credential and replica. The burst is four times as large."""


class PolicyModel(Model):
    """The policy of the SWR trust webhook."""

    api_version: Literal["swr-trust/v1"]
    """Version of this format."""
    kind: Literal["TrustPolicy"]
    """Kind of this file."""
    registries: list[RegistryModel] = Field(min_length=1, max_length=100)
    """SWR registries to query. An image of any other host is unmanaged."""
    credentials: CredentialsModel | None = None
    """Identity for all registries without their own. SWR Enterprise needs none."""
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
    """Language of denial messages and warnings, and of the tables of surveys and audits."""
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
