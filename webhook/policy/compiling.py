"""From the file as it is written to the policy: everything that types alone cannot check."""

from __future__ import annotations

import datetime as dt
import ipaddress
import re
from collections.abc import Callable, Iterable
from typing import Final, Literal
from urllib.parse import urlsplit

from pydantic.alias_generators import to_camel

from webhook.errors import InvalidPatternError, InvalidReferenceError, Problem
from webhook.images.patterns import ImagePattern, parse_pattern
from webhook.images.reference import check_domain
from webhook.policy.findings import Mode
from webhook.policy.model import BreakGlass, Exemption, Policy, Rule
from webhook.policy.namespaces import NamespacePatterns
from webhook.policy.schema import (
    BreakGlassModel,
    CredentialsModel,
    ExemptionModel,
    PolicyModel,
    RegistryModel,
    RuleModel,
)
from webhook.regions import Region, find_region, is_enterprise_host, suggest_region
from webhook.registries import CredentialKind, CredentialSettings, Registry, RegistryTable
from webhook.trust.settings import CacheSettings, LookupSettings

_NAMESPACE_GLOB: Final = re.compile(r"[a-z0-9*]([a-z0-9*-]{0,61}[a-z0-9*])?")
_ORGANIZATION: Final = re.compile(r"[a-z][a-z0-9._-]{0,63}")
_ANNOTATION: Final = re.compile(
    r"([a-z0-9]([a-z0-9.-]*[a-z0-9])?/)?[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?"
)

BROAD_GROUPS: Final = frozenset(
    {"system:authenticated", "system:unauthenticated", "system:serviceaccounts", "system:nodes"}
)
"""Groups that hold everybody, or every machine: a glass that all may break protects nothing."""

_KEYS_OF_KIND: Final[dict[CredentialKind, frozenset[str]]] = {
    "aksk": frozenset({"access_key_file", "secret_key_file", "security_token_file"}),
    "token": frozenset({"token_file"}),
    "iamUser": frozenset({"domain_name", "user_name", "password_file"}),
    "podIdentity": frozenset(),
    "oidc": frozenset({"id_token_file", "identity_provider", "provider_urn", "agency_urn", "sts_endpoint"}),
}
_NEEDED: Final[dict[CredentialKind, tuple[str, ...]]] = {
    "aksk": (),
    "token": ("token_file",),
    "iamUser": ("domain_name", "user_name", "password_file"),
    "podIdentity": (),
    "oidc": ("id_token_file",),
}


def compile_policy(model: PolicyModel, version: str) -> tuple[Policy | None, list[Problem]]:
    """Return the policy, or ``None`` and every problem there is."""
    compiler = _Compiler()
    registries = compiler.registries(model)
    policy = Policy(
        version=version,
        registries=RegistryTable.of(registries),
        mode=Mode(model.mode),
        unmanaged_registries=model.unmanaged_registries,
        digest_only=model.digest_only,
        on_lookup_failure=model.on_lookup_failure,
        workloads=model.workloads,
        rules=tuple(compiler.rule(f"rules[{i}]", rule) for i, rule in enumerate(model.rules)),
        exemptions=tuple(compiler.exemption(f"exemptions[{i}]", e) for i, e in enumerate(model.exemptions)),
        break_glass=compiler.break_glass(model.break_glass),
        hint=model.hint,
        messages=model.messages,
        cache=CacheSettings(
            trusted=model.cache.trusted,
            refused=model.cache.refused,
            stale_if_error=model.cache.stale_if_error,
            max_entries=model.cache.max_entries,
        ),
        lookup=LookupSettings(
            timeout=model.lookup.timeout,
            concurrency=model.lookup.concurrency,
            retries=model.lookup.retries,
            calls_per_second=model.lookup.calls_per_second,
        ),
    )
    compiler.unique("rules", (rule.name for rule in model.rules))
    compiler.unique("exemptions", (exemption.name for exemption in model.exemptions))
    return (None if compiler.problems else policy), compiler.problems


class _Compiler:
    """Compiles the parts and gathers what is wrong with them."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []

    def complain(self, path: str, message: str) -> None:
        self.problems.append(Problem(path, message))

    def unique(self, path: str, names: Iterable[str]) -> None:
        seen: set[str] = set()
        for index, name in enumerate(names):
            if name in seen:
                self.complain(
                    f"{path}[{index}].name", f"another one is called {name!r}; give each its own name"
                )
            seen.add(name)

    def registries(self, model: PolicyModel) -> list[Registry]:
        default = None
        if model.credentials is not None:
            default = self.credentials("credentials", model.credentials)
        compiled = []
        for index, entry in enumerate(model.registries):
            registry = self.registry(f"registries[{index}]", entry, default)
            if registry is not None:
                compiled.append(registry)
        return compiled

    def registry(
        self, path: str, model: RegistryModel, default: CredentialSettings | None
    ) -> Registry | None:
        before = len(self.problems)
        region = find_region(model.region)
        hosts = self.hosts(path, model, region)
        endpoint = self.endpoint(f"{path}.endpoint", model.endpoint, region, lambda known: known.endpoint)
        iam = self.endpoint(
            f"{path}.iamEndpoint", model.iam_endpoint, region, lambda known: known.iam_endpoint
        )
        if region is None and None in (model.hosts, model.endpoint, model.iam_endpoint):
            close = suggest_region(model.region)
            hint = f"; did you mean {close}?" if close is not None else ""
            self.complain(
                f"{path}.region",
                f"{model.region!r} is not in the table of regions: set hosts, endpoint and iamEndpoint{hint}",
            )
        for organization in model.organizations or ():
            if _ORGANIZATION.fullmatch(organization) is None:
                self.complain(f"{path}.organizations", f"{organization!r} is no name of an SWR organisation")
        credentials = default
        if model.credentials is not None:
            credentials = self.credentials(f"{path}.credentials", model.credentials)
        elif default is None:
            self.complain(f"{path}.credentials", "none here and none at the top level: set credentials.kind")
        self.file(f"{path}.caFile", model.ca_file)
        if model.proxy is not None:
            self.url(f"{path}.proxy", model.proxy, ("http", "https"), plain_allowed=True)
        if len(self.problems) > before or endpoint is None or iam is None or credentials is None:
            return None
        return Registry(
            hosts=hosts,
            region=model.region,
            endpoint=endpoint,
            iam_endpoint=iam,
            credentials=credentials,
            organizations=frozenset(model.organizations or ()),
            project_id=model.project_id,
            ca_file=model.ca_file,
            proxy=model.proxy,
        )

    def hosts(self, path: str, model: RegistryModel, region: Region | None) -> tuple[str, ...]:
        written = [(f"{path}.hosts[{i}]", host) for i, host in enumerate(model.hosts or ())]
        if model.hosts is None and region is not None:
            written = [(f"{path}.region", region.host)]
        written += [(f"{path}.aliases[{i}]", host) for i, host in enumerate(model.aliases)]
        hosts: dict[str, None] = {}
        for where, host in written:
            lowered = host.lower()
            try:
                check_domain(lowered)
            except InvalidReferenceError:
                self.complain(
                    where, f"{host!r} is no host: write it as in an image reference, with its port, no scheme"
                )
            if is_enterprise_host(lowered):
                self.complain(
                    where,
                    f"{host} is SWR Enterprise Edition, whose API has no is_trusted: remove it",
                )
            if lowered in hosts:
                self.complain(where, f"{host} stands here twice")
            hosts[lowered] = None
        return tuple(hosts)

    def endpoint(
        self, path: str, written: str | None, region: Region | None, of_region: Callable[[Region], str]
    ) -> str | None:
        if written is None:
            return of_region(region) if region is not None else None
        return self.url(path, written, ("https", "http"), plain_allowed=False)

    def url(self, path: str, written: str, schemes: tuple[str, ...], *, plain_allowed: bool) -> str | None:
        try:
            parts = urlsplit(written)
            host, _ = parts.hostname, parts.port
        except ValueError:
            host, parts = None, urlsplit("")
        if (
            parts.scheme not in schemes
            or not host
            or parts.path not in ("", "/")
            or parts.query
            or parts.fragment
        ):
            self.complain(path, "write a base URL such as https://swr-api.example.com, without a path")
            return None
        if parts.username is not None or parts.password is not None:
            self.complain(path, "a URL in this file holds no user and password")
            return None
        if parts.scheme == "http" and not plain_allowed and not _is_loopback(host):
            self.complain(path, "plain http would show the credential to the network: write https")
            return None
        return f"{parts.scheme}://{parts.netloc.lower()}"

    def file(self, path: str, written: str | None) -> None:
        if written is not None and not written.startswith("/"):
            self.complain(path, "write an absolute path")

    def credentials(self, path: str, model: CredentialsModel) -> CredentialSettings | None:
        before = len(self.problems)
        kind = model.kind
        given = {
            key for key in CredentialsModel.model_fields if key != "kind" and getattr(model, key) is not None
        }
        for key in sorted(given - _KEYS_OF_KIND[kind]):
            self.complain(f"{path}.{to_camel(key)}", f"does not go with kind {kind}")
        for key in _NEEDED[kind]:
            if key not in given:
                self.complain(f"{path}.{to_camel(key)}", f"kind {kind} needs it")
        if kind == "aksk" and given and not {"access_key_file", "secret_key_file"} <= given:
            self.complain(
                path, "set accessKeyFile and secretKeyFile together, or neither to use the environment"
            )
        if kind == "oidc":
            self.oidc(path, given)
        for key in given:
            if key.endswith("_file"):
                self.file(f"{path}.{to_camel(key)}", getattr(model, key))
        if model.sts_endpoint is not None:
            self.url(f"{path}.stsEndpoint", model.sts_endpoint, ("https", "http"), plain_allowed=False)
        if len(self.problems) > before:
            return None
        return CredentialSettings(**model.model_dump())

    def oidc(self, path: str, given: set[str]) -> None:
        federation = "identity_provider" in given
        agency = {"provider_urn", "agency_urn"} & given
        if federation == bool(agency) or (agency and len(agency) == 1):
            self.complain(path, "kind oidc needs identityProvider, or providerUrn and agencyUrn, not both")

    def patterns(self, path: str, written: list[str]) -> tuple[ImagePattern, ...]:
        compiled = []
        for index, text in enumerate(written):
            try:
                compiled.append(parse_pattern(text))
            except InvalidPatternError as error:
                self.complain(f"{path}[{index}]", str(error))
        return tuple(compiled)

    def namespaces(self, path: str, written: list[str]) -> NamespacePatterns:
        for index, glob in enumerate(written):
            if _NAMESPACE_GLOB.fullmatch(glob) is None:
                self.complain(f"{path}[{index}]", f"{glob[:64]!r} is no name of a namespace, nor one with *")
        return NamespacePatterns(("*",) if "*" in written else tuple(written))

    def rule(self, path: str, model: RuleModel) -> Rule:
        if model.mode is None and not model.require_digest and not model.require_pull_always:
            self.complain(path, "the rule changes nothing: set mode, requireDigest or requirePullAlways")
        return Rule(
            name=model.name,
            namespaces=self.namespaces(f"{path}.namespaces", model.namespaces),
            images=self.patterns(f"{path}.images", model.images),
            mode=Mode(model.mode) if model.mode is not None else None,
            require_digest=model.require_digest,
            require_pull_always=model.require_pull_always,
        )

    def exemption(self, path: str, model: ExemptionModel) -> Exemption:
        expires = None
        if model.expires is not None:
            expires = dt.datetime.fromtimestamp(model.expires, dt.UTC)
        return Exemption(
            name=model.name,
            namespaces=self.namespaces(f"{path}.namespaces", model.namespaces),
            images=self.patterns(f"{path}.images", model.images),
            reason=model.reason,
            expires=expires,
        )

    def break_glass(self, model: BreakGlassModel) -> BreakGlass:
        if _ANNOTATION.fullmatch(model.annotation) is None:
            self.complain("breakGlass.annotation", f"{model.annotation[:64]!r} is no name of an annotation")
        self._who("users", model.users)
        self._who("groups", model.groups)
        for index, group in enumerate(model.groups):
            if group in BROAD_GROUPS or group.startswith("system:serviceaccounts:"):
                self.complain(f"breakGlass.groups[{index}]", f"{group} is too broad: name a group of people")
        return BreakGlass(model.annotation, frozenset(model.users), frozenset(model.groups))

    def _who(self, key: Literal["users", "groups"], names: list[str]) -> None:
        for index, name in enumerate(names):
            if not name.strip() or "*" in name:
                self.complain(f"breakGlass.{key}[{index}]", "write a whole name; there are no wildcards here")


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
