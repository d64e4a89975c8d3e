"""Compilation of a validated configuration file into a policy. Cannot fail."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from webhook.policy.findings import Mode
from webhook.policy.model import BreakGlass, Exemption, Policy, Rule
from webhook.policy.namespaces import NamespacePatterns
from webhook.policy.registry_schema import RegistryModel, SignaturesModel, SigningKeyModel
from webhook.policy.schema import ExemptionModel, PolicyModel, RuleModel
from webhook.regions import find_region
from webhook.registries import (
    NO_CREDENTIALS,
    CredentialSettings,
    Evidence,
    Registry,
    RegistryTable,
    SignatureSettings,
    SigningKey,
)
from webhook.trust.settings import CacheSettings, LookupSettings

ReadKeys = Callable[[SignatureSettings], SignatureSettings]
"""Returns settings whose keys have their contents, as ``KeyReader.read`` does."""


def compile_policy(model: PolicyModel, version: str, read_keys: ReadKeys) -> Policy:
    """Return the policy of a file that has passed every check."""
    default = CredentialSettings(**model.credentials.model_dump()) if model.credentials is not None else None
    return Policy(
        version=version,
        registries=RegistryTable.of(
            _compile_registry(entry, default, read_keys) for entry in model.registries
        ),
        mode=Mode(model.mode),
        unmanaged_registries=model.unmanaged_registries,
        digest_only=model.digest_only,
        on_lookup_failure=model.on_lookup_failure,
        pin_digests=model.pin_digests,
        workloads=model.workloads,
        rules=tuple(_compile_rule(rule) for rule in model.rules),
        exemptions=tuple(_compile_exemption(exemption) for exemption in model.exemptions),
        break_glass=BreakGlass(
            annotation=model.break_glass.annotation,
            users=frozenset(model.break_glass.users),
            groups=frozenset(model.break_glass.groups),
        ),
        hint=model.hint,
        messages=model.messages,
        cache=CacheSettings(
            trusted=model.cache.trusted,
            refused=model.cache.refused,
            pinned=model.cache.pinned,
            signed=model.cache.signed,
            stale_if_error=model.cache.stale_if_error,
            max_entries=model.cache.max_entries,
        ),
        lookup=LookupSettings(
            timeout=model.lookup.timeout,
            concurrency=model.lookup.concurrency,
            retries=model.lookup.retries,
            calls_per_second=float(model.lookup.calls_per_second),
        ),
    )


def _compile_registry(
    model: RegistryModel, default: CredentialSettings | None, read_keys: ReadKeys
) -> Registry:
    known = find_region(model.region) if model.region is not None else None
    hosts = model.hosts if model.hosts is not None else [known.host] if known is not None else []
    assert hosts, "a registry that passes the checks has hosts"
    login = model.registry_login
    registry = Registry(
        hosts=(*hosts, *model.aliases),
        region="",
        endpoint="",
        iam_endpoint="",
        credentials=NO_CREDENTIALS,
        organizations=frozenset(model.organizations or ()),
        ca_file=model.ca_file,
        proxy=model.proxy,
        edition=model.edition,
        evidence=Evidence(model.evidence),
        signatures=read_keys(_compile_signatures(model.signatures)) if model.signatures is not None else None,
        registry_endpoint=model.registry_endpoint or f"https://{hosts[0]}",
        docker_config_file=login.docker_config_file if login is not None else None,
    )
    if registry.is_enterprise:
        return registry
    endpoint = model.endpoint or (known.endpoint if known is not None else None)
    iam_endpoint = model.iam_endpoint or (known.iam_endpoint if known is not None else None)
    credentials = default
    if model.credentials is not None:
        credentials = CredentialSettings(**model.credentials.model_dump())
    assert model.region is not None
    assert endpoint is not None
    assert iam_endpoint is not None
    assert credentials is not None
    return replace(
        registry,
        region=model.region,
        endpoint=endpoint,
        iam_endpoint=iam_endpoint,
        credentials=credentials,
        project_id=model.project_id,
    )


def _compile_signatures(model: SignaturesModel) -> SignatureSettings:
    """Return the settings; their keys do not count before their files are read."""
    return SignatureSettings(
        keys=tuple(_compile_key(key) for key in model.keys),
        threshold=model.threshold,
        annotations=tuple(model.annotations.items()),
    )


def _compile_key(model: SigningKeyModel) -> SigningKey:
    not_after = model.not_after.timestamp() if model.not_after is not None else None
    return SigningKey(model.name, model.file, not_after, problem="has not been read")


def _compile_rule(model: RuleModel) -> Rule:
    return Rule(
        name=model.name,
        namespaces=_compile_namespaces(model.namespaces),
        images=tuple(model.images),
        mode=Mode(model.mode) if model.mode is not None else None,
        require_digest=model.require_digest,
        require_pull_always=model.require_pull_always,
        pin_digests=model.pin_digests,
    )


def _compile_exemption(model: ExemptionModel) -> Exemption:
    return Exemption(
        name=model.name,
        namespaces=_compile_namespaces(model.namespaces),
        images=tuple(model.images),
        reason=model.reason,
        expires=model.expires,
    )


def _compile_namespaces(globs: list[str]) -> NamespacePatterns:
    return NamespacePatterns(("*",) if "*" in globs else tuple(globs))
