"""Public names are stable, because queries, alerts, manifests and scripts of users depend on them.

The tables are literal. A deliberate change of a name changes its table, the changelog and the documents.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable, Iterator
from enum import Enum
from typing import Any, get_args

import msgspec
import pytest
import yaml

from tests.monitoring.registered import families, labels_by_sample
from tests.support.serving import ROOT
from webhook.admission import annotations as audit_annotations
from webhook.admission import mutation, validator
from webhook.admission.decision import Decision, Effect
from webhook.admission.extraction import TargetKind
from webhook.app import decision_recorder, mutation_recorder
from webhook.audit import survey_tables, tables
from webhook.audit.report import Drift
from webhook.audit.survey import ProjectIdAnswer, TagCall
from webhook.audit.survey_advice import Advice
from webhook.cli import check, review, signatures
from webhook.cluster import events, running
from webhook.errors import Fault, UnknownReason
from webhook.policy.findings import Finding, Mode
from webhook.policy.schema import PolicyModel
from webhook.signatures.attempt import SignatureFormat
from webhook.signatures.check import SignatureResult
from webhook.telemetry.signature_metrics import KEY_STATES
from webhook.trust.lookup import Origin

VALUES: dict[type[Enum], set[str]] = {
    Finding: {
        "trusted",
        "untrusted",
        "missing",
        "digest-mismatch",
        "invalid",
        "unmanaged",
        "exempt",
        "unknown",
    },
    Mode: {"enforce", "warn", "audit"},
    TargetKind: {"pod", "workload", "mirror-pod", "ignored", "unknown"},
    Fault: {"registry", "local", "image"},
    Origin: {"cache", "swr", "stale"},
    Drift: {"other-than-pinned", "moved", "superseded"},
    Advice: {
        "ready",
        "switch",
        "prepare",
        "check-keys",
        "add-keys",
        "no-evidence",
        "no-mark",
        "unknown",
        "nothing-runs",
    },
    TagCall: {"published", "unpublished", "unknown"},
    ProjectIdAnswer: {"answered", "refused", "unknown", "not-tried"},
    SignatureResult: {"signed", "unsigned", "bad-signature", "threshold", "annotations"},
    SignatureFormat: {"simple-signing", "bundle"},
}
"""Metric labels, and values of the log and of audit annotations."""

DECISIONS = {"allow", "audit", "warn", "deny", "error"}
IMAGE_EFFECTS = {"allow", "record", "warn", "deny"}
UNKNOWN_REASONS = {"timeout", "throttled", "unavailable", "unauthorized", "forbidden", "malformed"}
ERRORS = {"unknown-kind", "unreadable", "too-many-images", "busy", "crash"}

KEYS: dict[str, tuple[Callable[..., Any], set[str]]] = {
    "annotations of a decision": (
        audit_annotations.annotate,
        {"break-glass", "decision", "error", "findings", "mirror-pod", "mode", "policy", "rule"},
    ),
    "check -o json": (
        check._row,
        {
            "advice",
            "asked",
            "created",
            "detail",
            "digest",
            "evidence",
            "exemption",
            "finding",
            "image",
            "marked",
            "message",
            "mode",
            "reason",
            "reference",
            "refused",
            "required",
            "rule",
            "signature",
            "tags",
            "updated",
        },
    ),
    "signature in check -o json": (
        signatures.signature_row,
        {"checked", "examined", "formats", "problems", "result", "signers", "storedFormats"},
    ),
    "required in check -o json": (
        signatures.required_row,
        {"annotations", "keys", "problems", "threshold"},
    ),
    "survey -o json": (
        tables.survey_as_data,
        {
            "excluded",
            "excludedNamespaces",
            "gaps",
            "leftOut",
            "mode",
            "notes",
            "omitted",
            "partial",
            "pods",
            "policy",
            "registries",
            "schema",
            "seconds",
            "started",
            "static",
        },
    ),
    "registries in survey -o json": (
        survey_tables.registry_as_data,
        {
            "advice",
            "configured",
            "counts",
            "detail",
            "edition",
            "evidence",
            "failures",
            "images",
            "keys",
            "name",
            "namespaces",
            "none",
            "organizations",
            "projectIds",
            "recommendation",
            "recommended",
            "registry",
            "remarks",
            "showRepoTag",
            "signaturesRead",
        },
    ),
    "counts in survey -o json": (
        survey_tables._counts,
        {
            "denied",
            "existing",
            "formats",
            "images",
            "marked",
            "missing",
            "signed",
            "signers",
            "storedFormats",
            "undetermined",
            "unknown",
            "withSignatures",
        },
    ),
    "images in survey -o json": (
        survey_tables._image,
        {
            "examined",
            "exists",
            "failures",
            "formats",
            "image",
            "marked",
            "namespaces",
            "problems",
            "signed",
            "signers",
            "storedFormats",
        },
    ),
    "review -o json": (
        review._row,
        {
            "advice",
            "field",
            "file",
            "finding",
            "image",
            "kind",
            "line",
            "message",
            "mode",
            "name",
            "namespace",
            "pinned",
            "reason",
            "refused",
            "signers",
        },
    ),
}
"""Keys by their place, with the function that writes them."""

ORDERED_KEYS: dict[str, tuple[type[msgspec.Struct], str]] = {
    "findings in annotations": (
        audit_annotations._Finding,
        "field image finding reason digest origin exemption signers",
    ),
    "decision log": (
        decision_recorder._Fields,
        "uid decision allowed operation kind namespace object user milliseconds findings "
        "more owner subresource dryRun breakGlass reason",
    ),
    "findings in the decision log": (
        decision_recorder._Finding,
        "field image finding effect reason from detail fault rule exemption signers",
    ),
    "mutation log": (
        mutation_recorder._Fields,
        "uid outcome operation namespace object user milliseconds pinned notPinned more owner subresource "
        "dryRun",
    ),
    "pinned images in annotations and in the mutation log": (
        mutation.PinnedImage,
        "field image digest kept signers",
    ),
    "other images in annotations and in the mutation log": (mutation.NotPinned, "field image reason"),
}
"""Keys by their place, with the struct that is written."""

EVENT_REASONS = {"BreakGlassUsed", "ImageRefused", "ImageWouldBeRefused"}

METRICS: dict[str, tuple[str, ...]] = {
    "process_virtual_memory_bytes": (),
    "process_resident_memory_bytes": (),
    "process_start_time_seconds": (),
    "process_cpu_seconds": (),
    "process_open_fds": (),
    "process_max_fds": (),
    "swr_trust_admission_requests": ("subject", "operation", "decision", "dry_run"),
    "swr_trust_admission_duration_seconds": ("decision",),
    "swr_trust_admission_requests_in_flight": (),
    "swr_trust_image_findings": ("finding", "reason", "mode", "effect"),
    "swr_trust_break_glass": (),
    "swr_trust_broken_calls": ("code",),
    "swr_trust_mutation_requests": ("outcome", "dry_run"),
    "swr_trust_mutation_duration_seconds": ("outcome",),
    "swr_trust_pin_images": ("result",),
    "swr_trust_unpinned_images": (),
    "swr_trust_swr_requests": ("registry", "code"),
    "swr_trust_swr_request_duration_seconds": ("registry",),
    "swr_trust_swr_last_success_timestamp_seconds": ("registry",),
    "swr_trust_swr_last_trusted_timestamp_seconds": ("registry",),
    "swr_trust_signatures": ("registry", "result"),
    "swr_trust_signature_keys": ("registry", "state"),
    "swr_trust_signature_keys_missing": ("registry",),
    "swr_trust_signature_key_not_after_timestamp_seconds": ("registry", "key"),
    "swr_trust_cache_requests": ("result",),
    "swr_trust_cache_entries": ("kind",),
    "swr_trust_credential_paused_until_timestamp_seconds": ("kind",),
    "swr_trust_credential_fetches": ("kind", "outcome"),
    "swr_trust_config_last_reload_success_timestamp_seconds": (),
    "swr_trust_config_last_reload_successful": (),
    "swr_trust_config_reload_failures": (),
    "swr_trust_config_info": ("version",),
    "swr_trust_exemptions_ending": ("state",),
    "swr_trust_certificate_not_after_timestamp_seconds": ("certificate",),
    "swr_trust_certificate_reloads": ("result",),
    "swr_trust_connections_cut": ("stage",),
    "swr_trust_build_info": ("version",),
    "swr_trust_loop_stall_seconds": (),
    "swr_trust_request_body_bytes": (),
    "swr_trust_busy_reviews": (),
    "swr_trust_log_bytes_dropped": (),
    "swr_trust_events": ("outcome",),
    "swr_trust_snapshot_rounds": ("result",),
    "swr_trust_snapshot_rejected": ("reason",),
    "swr_trust_snapshot_images": (),
    "swr_trust_snapshot_last_success_timestamp_seconds": (),
    "swr_trust_swr_circuit_breaker_open": ("registry",),
    "swr_trust_swr_account_blocked_until_timestamp_seconds": ("registry",),
    "swr_trust_swr_tag_list_used": ("registry",),
    "swr_trust_audit_info": ("version",),
    "swr_trust_audit_interval_seconds": (),
    "swr_trust_audit_started_timestamp_seconds": (),
    "swr_trust_audit_pods": ("resource_namespace", "state"),
    "swr_trust_audit_image_uses": ("resource_namespace", "finding"),
    "swr_trust_audit_namespaces_folded": (),
    "swr_trust_audit_other_digest_pods": (),
    "swr_trust_audit_other_digest_reason_pods": ("reason",),
    "swr_trust_audit_ending_exemption_pods": (),
    "swr_trust_audit_evidence_info": ("registry", "evidence", "mode", "advice"),
    "swr_trust_audit_evidence_images": ("registry", "state"),
    "swr_trust_audit_evidence_denied_images": ("registry", "evidence"),
    "swr_trust_audit_rounds": ("result",),
    "swr_trust_audit_last_complete_timestamp_seconds": (),
    "swr_trust_audit_last_round_complete": (),
    "swr_trust_audit_last_round_duration_seconds": (),
    "swr_trust_audit_last_round_pods": (),
    "swr_trust_audit_last_round_images": (),
    "swr_trust_audit_newly_refused": (),
    "swr_trust_audit_reports": ("outcome",),
    "swr_trust_audit_report_api_info": ("api",),
}
"""Families of the webhook and of the audit, with their labels."""

CONFIGURATION = """
apiVersion kind registries registries[].edition registries[].region registries[].hosts registries[].aliases
registries[].organizations registries[].projectId registries[].endpoint registries[].iamEndpoint
registries[].caFile registries[].proxy registries[].credentials registries[].credentials.kind
registries[].credentials.accessKeyFile registries[].credentials.secretKeyFile
registries[].credentials.securityTokenFile registries[].credentials.tokenFile
registries[].credentials.domainName registries[].credentials.userName registries[].credentials.passwordFile
registries[].credentials.idTokenFile registries[].credentials.identityProvider
registries[].credentials.providerUrn registries[].credentials.agencyUrn registries[].credentials.stsEndpoint
registries[].evidence registries[].signatures registries[].signatures.keys registries[].signatures.keys[].name
registries[].signatures.keys[].file registries[].signatures.keys[].notAfter registries[].signatures.threshold
registries[].signatures.annotations registries[].registryEndpoint registries[].registryLogin
registries[].registryLogin.dockerConfigFile credentials credentials.kind credentials.accessKeyFile credentials.secretKeyFile
credentials.securityTokenFile credentials.tokenFile credentials.domainName credentials.userName
credentials.passwordFile credentials.idTokenFile credentials.identityProvider credentials.providerUrn
credentials.agencyUrn credentials.stsEndpoint mode unmanagedRegistries digestOnly onLookupFailure pinDigests
workloads rules rules[].name rules[].images rules[].namespaces rules[].mode rules[].requireDigest
rules[].requirePullAlways rules[].pinDigests exemptions exemptions[].name exemptions[].images exemptions[].reason
exemptions[].namespaces exemptions[].expires breakGlass breakGlass.annotation breakGlass.users
breakGlass.groups hint messages cache cache.trusted cache.refused cache.pinned cache.signed cache.staleIfError cache.maxEntries
lookup lookup.timeout lookup.concurrency lookup.retries lookup.callsPerSecond
"""

CHART_VALUES = """
nameOverride fullnameOverride commonLabels commonAnnotations replicaCount image image.registry
image.repository image.tag image.digest image.pullPolicy imagePullSecrets policy policy.registries
policy.credentials policy.rules policy.exemptions presets presets.stage presets.override presets.cceAddons
credentials credentials.kind credentials.existingSecret credentials.keys credentials.keys.accessKey
credentials.keys.secretKey credentials.keys.securityToken credentials.keys.token credentials.keys.password
credentials.extraSecrets credentials.insecureValues credentials.oidc credentials.oidc.audience
credentials.oidc.expirationSeconds checkSecrets certificates certificates.mode certificates.existingSecret
certificates.caBundle certificates.certManager certificates.certManager.issuerRef
certificates.certManager.duration certificates.certManager.renewBefore webhook webhook.failurePolicy
webhook.timeoutSeconds webhook.excludedNamespaces webhook.namespaceSelector webhook.objectSelector
webhook.matchConditions webhook.standDownWithNamespace webhook.annotations
webhook.annotations.argocd.argoproj.io/sync-wave pinning pinning.enabled events events.enabled
snapshot snapshot.enabled audit audit.enabled audit.interval audit.reports audit.events audit.containerPort
audit.ingressFrom audit.resources audit.resources.requests audit.resources.requests.cpu
audit.resources.requests.memory audit.resources.limits audit.resources.limits.memory audit.priorityClassName
audit.serviceAccount audit.serviceAccount.name audit.serviceAccount.annotations warmUp warmUp.enabled log
log.format log.level serviceAccount serviceAccount.create serviceAccount.name serviceAccount.annotations
rbac rbac.create registryLogin registryLogin.existingSecret signatures signatures.keys
signatures.existingConfigMap service service.annotations service.port containerPort resources resources.requests
resources.requests.cpu resources.requests.memory resources.limits resources.limits.memory
podDisruptionBudget podDisruptionBudget.enabled podDisruptionBudget.maxUnavailable autoscaling
autoscaling.enabled autoscaling.minReplicas autoscaling.maxReplicas
autoscaling.targetCPUUtilizationPercentage priorityClassName nodeSelector tolerations affinity
topologySpreadConstraints podLabels podAnnotations runAsUser extraEnv extraEnvFrom extraArgs extraVolumes
extraVolumeMounts hostAliases preStopSeconds terminationGracePeriodSeconds networkPolicy
networkPolicy.enabled networkPolicy.ingressFrom networkPolicy.egress scrapeAnnotations
scrapeAnnotations.prometheus scrapeAnnotations.aom serviceMonitor serviceMonitor.enabled
serviceMonitor.labels serviceMonitor.interval serviceMonitor.scrapeTimeout podMonitor podMonitor.enabled
podMonitor.labels podMonitor.interval podMonitor.scrapeTimeout prometheusRule prometheusRule.enabled
prometheusRule.labels dashboard dashboard.enabled dashboard.labels dashboard.labels.grafana_dashboard
dashboard.annotations
"""


@pytest.mark.parametrize("enum", VALUES, ids=lambda enum: enum.__name__)
def test_values_of_enums_are_stable(enum: type[Enum]) -> None:
    """Labels and log values."""
    assert {member.value for member in enum} == VALUES[enum]


def test_effects_and_reasons_are_stable() -> None:
    """Of requests, of images, of failed lookups, and of signing keys."""
    assert {effect.decision_label for effect in Effect} == DECISIONS
    assert {effect.image_label for effect in Effect if effect is not Effect.ERROR} == IMAGE_EFFECTS
    assert set(get_args(UnknownReason)) == UNKNOWN_REASONS
    assert KEY_STATES == ("counting", "unreadable", "lapsed")


def tree_of(code: Any) -> ast.AST:
    """Return the syntax tree of a function or module."""
    return ast.parse(textwrap.dedent(inspect.getsource(code)))


def written_keys(function: Callable[..., Any]) -> Iterator[object]:
    """Yield every key of the dictionaries that a function writes."""
    for node in ast.walk(tree_of(function)):
        if isinstance(node, ast.Dict):
            yield from (key.value for key in node.keys if isinstance(key, ast.Constant))
        elif isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store):
            assert isinstance(node.slice, ast.Constant)
            yield node.slice.value


@pytest.mark.parametrize("what", KEYS)
def test_keys_are_stable(what: str) -> None:
    """All keys that the function writes."""
    function, expected = KEYS[what]
    assert set(written_keys(function)) == expected


@pytest.mark.parametrize("what", ORDERED_KEYS)
def test_keys_of_structs_are_stable(what: str) -> None:
    """In their order."""
    struct, expected = ORDERED_KEYS[what]
    assert struct.__struct_encode_fields__ == tuple(expected.split())


def test_errors_are_stable() -> None:
    """The values of the annotation ``error``."""
    calls = (node for node in ast.walk(tree_of(validator)) if isinstance(node, ast.Call))
    written = {ast.literal_eval(call.args[3]) for call in calls if ast.unparse(call.func) == "_deny_request"}
    assert written == ERRORS
    assert Decision.error().annotations["error"] in ERRORS


def test_reasons_of_events_are_stable() -> None:
    """Including the component that reports them."""
    returned = (node for node in ast.walk(tree_of(events._reason_and_note)) if isinstance(node, ast.Return))
    reasons = {ast.literal_eval(node.value.elts[0]) for node in returned if isinstance(node.value, ast.Tuple)}
    assert reasons == EVENT_REASONS
    assert events.DecisionEvents.controller == "swr-trust/webhook"
    assert running.RunningEvents.controller == "swr-trust/audit"


def test_metrics_are_stable() -> None:
    """Names and labels."""
    labels = labels_by_sample()
    assert {family.name: labels.get(family.name, ()) for family in families()} == METRICS


def configuration_keys() -> Iterator[str]:
    """Yield the path of every key of the configuration file."""
    schema = PolicyModel.model_json_schema(by_alias=True)

    def walk(node: dict[str, Any], path: str) -> Iterator[str]:
        if "$ref" in node:
            node = schema["$defs"][node["$ref"].rpartition("/")[2]]
        for choice in node.get("anyOf", []) + node.get("oneOf", []):
            yield from walk(choice, path)
        if "items" in node:
            yield from walk(node["items"], f"{path}[]")
        for key, child in node.get("properties", {}).items():
            yield f"{path}.{key}".lstrip(".")
            yield from walk(child, f"{path}.{key}".lstrip("."))

    return walk(schema, "")


def test_configuration_keys_are_stable() -> None:
    """As the JSON schema declares them."""
    assert set(configuration_keys()) == set(CONFIGURATION.split())


def chart_values(values: dict[str, Any], path: str = "") -> Iterator[str]:
    """Yield the path of every value of the chart."""
    for key, value in values.items():
        yield f"{path}{key}"
        if isinstance(value, dict):
            yield from chart_values(value, f"{path}{key}.")


def test_chart_values_are_stable() -> None:
    """As ``values.yaml`` declares them."""
    values = yaml.safe_load((ROOT / "charts/swr-trust-webhook/values.yaml").read_text(encoding="utf-8"))
    assert set(chart_values(values)) == set(CHART_VALUES.split())
