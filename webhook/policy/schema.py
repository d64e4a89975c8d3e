"""The configuration file as it is written: its keys, their types and what each one means.

The descriptions here are the reference: the JSON Schema for editors and ``docs/configuration.md``
are made of them.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.alias_generators import to_camel

from webhook.policy.quantities import parse_duration, parse_expiry
from webhook.registries import CredentialKind

API_VERSION = "swr-trust/v1"
KIND = "TrustPolicy"

NAME = r"^[^\x00-\x1f]{1,100}$"

Duration = Annotated[
    float,
    BeforeValidator(parse_duration, json_schema_input_type=str),
    Field(examples=["60s", "10m", "12h", "1h30m"]),
]
Expiry = Annotated[
    float,
    BeforeValidator(parse_expiry, json_schema_input_type=str),
    Field(examples=["2027-06-30", "2027-06-30T18:00:00+08:00"]),
]
Name = Annotated[str, Field(pattern=NAME, description="A name for logs, messages and audit annotations.")]
Patterns = Annotated[
    list[str],
    Field(
        min_length=1,
        max_length=200,
        description="Image patterns; * stands for anything within one path component, ** for one or more "
        "components, a bare ** for every image.",
    ),
]
Namespaces = Annotated[
    list[str],
    Field(
        min_length=1,
        max_length=200,
        description="Namespaces, with * for any characters; by default all of them.",
    ),
]


class _Model(BaseModel):
    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=False,
        extra="forbid",
        strict=True,
        frozen=True,
        hide_input_in_errors=True,
        use_attribute_docstrings=True,
    )


class CredentialsModel(_Model):
    """Which identity asks SWR. Secrets stand in files or environment variables, never here."""

    kind: CredentialKind
    """aksk signs with an access key, token sends a token from a file, iamUser logs in by password,
    podIdentity and oidc use temporary keys of the Pod."""
    access_key_file: str | None = None
    """aksk: file with the access key; by default HUAWEICLOUD_SDK_AK and _SK from the environment."""
    secret_key_file: str | None = None
    """aksk: file with the secret access key."""
    security_token_file: str | None = None
    """aksk: file with the security token of a temporary access key."""
    token_file: str | None = None
    """token: file with the IAM token, read again when it changes."""
    domain_name: str | None = None
    """iamUser: name of the account that the user belongs to."""
    user_name: str | None = None
    """iamUser: name of the IAM user."""
    password_file: str | None = None
    """iamUser: file with the user's password."""
    id_token_file: str | None = None
    """oidc: file with the projected ServiceAccount token."""
    identity_provider: str | None = None
    """oidc with IAM identity providers: the provider's id."""
    provider_urn: str | None = None
    """oidc with STS: the URN of the OIDC provider."""
    agency_urn: str | None = None
    """oidc with STS: the URN of the agency to assume."""
    sts_endpoint: str | None = None
    """oidc with STS: its base URL; by default the region's."""


class RegistryModel(_Model):
    """One SWR registry: which hosts it is known by and how it is asked."""

    region: str
    """Region of Huawei Cloud; one that is known gives hosts, endpoint and iamEndpoint."""
    hosts: list[str] | None = Field(default=None, min_length=1, max_length=20)
    """Registry hosts as they stand in image references, with their port; by default the region's."""
    aliases: list[str] = Field(default=[], max_length=50)
    """Further hosts of the same registry, CCE's internal addresses such as 10.125.0.198:20202."""
    organizations: list[str] | None = Field(default=None, min_length=1, max_length=500)
    """Organisations of this account, where several accounts share a host; by default all."""
    project_id: str | None = Field(default=None, pattern=r"^[0-9A-Za-z-]{1,64}$")
    """Project that requests are made for."""
    endpoint: str | None = None
    """Base URL of SWR's API; by default the region's."""
    iam_endpoint: str | None = None
    """Base URL of IAM; by default the region's."""
    ca_file: str | None = None
    """PEM file of the authorities that SWR and IAM are verified by, instead of the system's."""
    proxy: str | None = None
    """URL of an HTTP proxy; by default HTTPS_PROXY and NO_PROXY of the environment."""
    credentials: CredentialsModel | None = None
    """Identity for this registry; by default the one below the top-level key credentials."""


class RuleModel(_Model):
    """A mode, and stricter demands, for some images in some namespaces."""

    name: Name
    namespaces: Namespaces = ["*"]
    images: Patterns = ["**"]
    mode: Literal["enforce", "warn", "audit"] | None = None
    """What is done about a refusal; by default the policy's mode."""
    require_digest: bool = False
    """Demand name:tag@digest."""
    require_pull_always: bool = False
    """Demand imagePullPolicy Always, so that a node cannot use what it once pulled under a tag."""


class ExemptionModel(_Model):
    """Images that are admitted without asking SWR."""

    name: Name
    images: Patterns
    reason: Annotated[str, Field(pattern=r"^[^\x00-\x1f]*\S[^\x00-\x1f]*$", max_length=500)]
    """Why; for the auditor."""
    namespaces: Namespaces = ["*"]
    expires: Expiry | None = None
    """A date, counted to its end in UTC, or an RFC 3339 time; by default never."""


class BreakGlassModel(_Model):
    """Who may pass by annotation in an emergency; always on record."""

    annotation: str = Field(default="swr-trust/break-glass", max_length=253)
    """Annotation whose value is the reason."""
    users: list[str] = Field(default=[], max_length=100)
    """Users for whom it counts."""
    groups: list[str] = Field(default=[], max_length=100)
    """Groups for whom it counts."""


class CacheModel(_Model):
    """How long SWR's answers count."""

    trusted: Duration = Field(default=60.0, ge=1, le=3600)
    """For how long a trusted answer is used without asking again."""
    refused: Duration = Field(default=10.0, ge=1, le=300)
    """For how long an untrusted or missing answer is used without asking again."""
    stale_if_error: Duration = Field(default=43200.0, ge=0, le=30 * 86400)
    """For how long after SWR's last answer a trusted image is admitted while SWR is down; 0s: never."""
    max_entries: int = Field(default=10_000, ge=100, le=1_000_000)
    """Trusted answers, and as many refused ones, that are kept."""


class LookupModel(_Model):
    """How SWR is asked."""

    timeout: Duration = Field(default=3.0, ge=0.1, le=25)
    """For one lookup, retries included."""
    concurrency: int = Field(default=128, ge=1, le=1000)
    """Calls at the same time, per registry."""
    retries: int = Field(default=1, ge=0, le=3)
    """How often a broken connection or a 5xx is tried again while time is left."""
    calls_per_second: float = Field(default=50.0, ge=0.1, le=1000)
    """Calls per endpoint and replica; the burst is four times as much."""


class PolicyModel(_Model):
    """The policy of the SWR trust webhook."""

    api_version: Literal["swr-trust/v1"]
    """Version of this format."""
    kind: Literal["TrustPolicy"]
    """Kind of this file."""
    registries: list[RegistryModel] = Field(min_length=1, max_length=100)
    """The SWR registries that are asked; an image of any other host is unmanaged."""
    credentials: CredentialsModel | None = None
    """Identity for all registries that name none themselves."""
    mode: Literal["enforce", "warn", "audit"] = "enforce"
    """What is done about a refusal: enforce refuses, warn admits with a warning, audit admits and records."""
    unmanaged_registries: Literal["deny", "warn", "allow"] = "deny"
    """What is done about images of hosts that no registry names."""
    digest_only: Literal["deny", "resolve"] = "deny"
    """name@digest without a tag: deny, or resolve by the tags that hold the digest."""
    on_lookup_failure: Literal["deny", "allow"] = "deny"
    """What is done while SWR cannot be asked and no earlier answer stands in."""
    workloads: Literal["off", "warn", "enforce"] = "warn"
    """Early feedback on Deployments, Jobs and the like; their Pods are always judged."""
    rules: list[RuleModel] = Field(default=[], max_length=1000)
    """Other modes and stricter demands; the first rule that matches an image counts."""
    exemptions: list[ExemptionModel] = Field(default=[], max_length=1000)
    """Images that are admitted without asking; the first that matches and has not expired counts."""
    break_glass: BreakGlassModel = BreakGlassModel()
    """Emergency admission by annotation."""
    hint: str = Field(default="", max_length=300, pattern=r"^[^\x00-\x1f]*$")
    """A sentence that ends every denial, a link to your own help for instance."""
    messages: Literal["en", "zh"] = "en"
    """Language of denials and warnings."""
    cache: CacheModel = CacheModel()
    """How long SWR's answers count."""
    lookup: LookupModel = LookupModel()
    """How SWR is asked."""


def build_json_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of the configuration file."""
    schema = PolicyModel.model_json_schema(by_alias=True)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
