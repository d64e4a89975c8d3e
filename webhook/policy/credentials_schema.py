"""Schema of the identity for SWR.

The model also checks which keys each kind of credentials has, and reports a problem at its key.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, Self

from pydantic import model_validator
from pydantic.alias_generators import to_camel

from webhook.policy.fields import File, Name, Url
from webhook.policy.schema_base import Model, Part, raise_problems
from webhook.registries import CredentialKind

_KEYS_OF_KIND: Final[Mapping[CredentialKind, tuple[str, ...]]] = {
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


class CredentialsModel(Model):
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
        raise_problems(self._problems())
        return self

    def _problems(self) -> Iterable[tuple[Part, str]]:
        kind = self.kind
        given = {key for key in type(self).model_fields if key != "kind" and getattr(self, key) is not None}
        for key in type(self).model_fields:
            if key in given and key not in _KEYS_OF_KIND[kind]:
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
