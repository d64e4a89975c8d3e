"""Checks of the cluster: is the webhook registered, trusted and reachable, and does it deny?"""

from __future__ import annotations

import datetime as dt
import re
import socket
import ssl
from collections.abc import Generator, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

from cryptography import x509

from webhook.admission.catalogues import DENIALS
from webhook.admission.messages import printable
from webhook.cli.certificate_checks import check_bundle, check_expiry, decode_bundle
from webhook.cli.checks import CLUSTER, Check, CheckStatus
from webhook.cli.pinning_checks import check_pinning
from webhook.cluster.client import FORBIDDEN, NOT_FOUND
from webhook.cluster.scope import LABEL, NAME_LABEL, VALIDATING, read_configurations
from webhook.errors import ClusterError
from webhook.policy.findings import Mode
from webhook.policy.model import Policy
from webhook.tls_contexts import client_context

_check: Final = partial(Check, CLUSTER)

CONNECT_SECONDS: Final = 5.0
HTTPS: Final = 443

PROBE_IMAGE: Final = "swr-trust-doctor/probe:not//an:image"
"""Not a valid image reference, so that no registry, rule or exemption can admit it."""


class Api(Protocol):
    """The part of the Kubernetes API that the checks need."""

    def get(self, path: str, query: Mapping[str, str] | None = None) -> dict[str, Any]:
        """Return an object or a list."""
        ...  # pragma: no cover

    def create(self, path: str, obj: Mapping[str, Any]) -> dict[str, Any]:
        """Create an object."""
        ...  # pragma: no cover


def check_cluster(
    api: Api, configuration: str | None, namespace: str, policy: Policy | None, now: dt.datetime
) -> Iterator[Check]:
    """Yield the result of each check. If ``configuration`` is ``None``, it is found by its label.

    Nothing is changed: the Pod in ``namespace`` is created as a dry run.
    """
    try:
        version = api.get("/version").get("gitVersion", "an unknown version")
    except ClusterError as error:
        advice = "Check the kubeconfig and its context, and that the API server can be reached."
        yield _check("API server", CheckStatus.FAILED, str(error), advice)
        return
    yield _check("API server", CheckStatus.OK, f"Kubernetes {version}")
    webhooks = yield from _check_configurations(api, configuration, policy, now)
    if policy is not None:
        yield from check_pinning(api, configuration, webhooks, policy, now)
    yield _probe(api, namespace, policy)


def _check_configurations(
    api: Api, name: str | None, policy: Policy | None, now: dt.datetime
) -> Generator[Check, None, list[Mapping[str, Any]]]:
    """Yield the result of each check; return the webhooks of all configurations."""
    title = "webhook configuration"
    try:
        found = read_configurations(api, VALIDATING, name)
    except ClusterError as error:
        if error.status == FORBIDDEN:
            advice = (
                "Request get and list on validatingwebhookconfigurations, or ask an administrator to run it."
            )
            yield _check(title, CheckStatus.UNKNOWN, str(error), advice)
        elif error.status == NOT_FOUND:
            advice = "Install the chart, or give the name of its configuration with --webhook-configuration."
            yield _check(title, CheckStatus.FAILED, f"{name} does not exist", advice)
        else:
            yield _check(title, CheckStatus.UNKNOWN, str(error), "Try again.")
        return []
    if not found:
        advice = "Install the chart, or give the name of its configuration with --webhook-configuration."
        yield _check(title, CheckStatus.FAILED, f"none has the label {LABEL}", advice)
    every: list[Mapping[str, Any]] = []
    for obj in found:
        webhooks = [hook for hook in obj.get("webhooks") or () if isinstance(hook, dict)]
        yield _check_rules(str(obj.get("metadata", {}).get("name")), webhooks)
        for hook in webhooks:
            yield from _check_webhook(api, hook, policy, now)
        every += webhooks
    return every


def _check_rules(name: str, webhooks: Sequence[Mapping[str, Any]]) -> Check:
    wanted = {("CREATE", "pods"), ("UPDATE", "pods"), ("UPDATE", "pods/ephemeralcontainers")}
    seen = set()
    for hook in webhooks:
        for rule in hook.get("rules") or ():
            if not {"", "*"} & set(rule.get("apiGroups") or ()):
                continue
            for operation, resource in wanted:
                operations, resources = rule.get("operations") or (), rule.get("resources") or ()
                if {operation, "*"} & set(operations) and {resource, "*/*", "pods/*"} & set(resources):
                    seen.add((operation, resource))
                if resource == "pods" and {operation, "*"} & set(operations) and "*" in resources:
                    seen.add((operation, resource))
    missing = sorted(wanted - seen)
    if not missing:
        return _check("rules", CheckStatus.OK, f"{name} covers Pods and their debug containers")
    what = ", ".join(f"{operation} {resource}" for operation, resource in missing)
    advice = "Restore the rules of the chart. Requests that they do not cover are admitted without a review."
    return _check("rules", CheckStatus.FAILED, f"{name} does not cover {what}", advice)


def _check_webhook(
    api: Api, hook: Mapping[str, Any], policy: Policy | None, now: dt.datetime
) -> Iterator[Check]:
    name = str(hook.get("name"))
    reviews_pods = any("pods" in (rule.get("resources") or ()) for rule in hook.get("rules") or ())
    yield _check_failure_policy(name, str(hook.get("failurePolicy", "Fail")), reviews_pods=reviews_pods)
    yield from _check_timeout(name, hook, policy)
    yield from _check_selectors(name, hook)
    client = hook.get("clientConfig") or {}
    bundle = decode_bundle(client.get("caBundle"))
    yield from check_bundle("caBundle", name, bundle, now)
    service = client.get("service")
    if isinstance(service, Mapping):
        yield from _check_service(api, name, service)
        host = f"{service.get('name')}.{service.get('namespace')}.svc"
        port = int(service.get("port") or HTTPS)
    else:
        parts = urlsplit(str(client.get("url", "")))
        host, port = parts.hostname or "", parts.port or HTTPS
    if bundle:
        yield _check_handshake(name, host, port, bundle, now)


def _check_failure_policy(name: str, value: str, *, reviews_pods: bool) -> Check:
    if value == "Fail" or not reviews_pods:
        return _check("failurePolicy", CheckStatus.OK, f"{name}: {value}")
    advice = "Set webhook.failurePolicy: Fail. With Ignore, every Pod is admitted while the webhook is down."
    return _check(
        "failurePolicy",
        CheckStatus.WARNING,
        f"{name}: {value} admits Pods when the webhook cannot be called",
        advice,
    )


def _check_timeout(name: str, hook: Mapping[str, Any], policy: Policy | None) -> Iterator[Check]:
    seconds = int(hook.get("timeoutSeconds") or 10)
    if policy is None:
        return
    found = f"{name}: {seconds} s, a lookup takes up to {policy.lookup.timeout:g} s"
    if seconds > policy.lookup.timeout + 1:
        yield _check("timeoutSeconds", CheckStatus.OK, found)
    else:
        advice = "Set webhook.timeoutSeconds to more than one second above lookup.timeout."
        yield _check("timeoutSeconds", CheckStatus.WARNING, found, advice)


def _check_selectors(name: str, hook: Mapping[str, Any]) -> Iterator[Check]:
    selector = hook.get("namespaceSelector") or {}
    excluded: list[str] = []
    others: list[str] = [f"{key}={value}" for key, value in (selector.get("matchLabels") or {}).items()]
    for expression in selector.get("matchExpressions") or ():
        values = [str(value) for value in expression.get("values") or ()]
        if expression.get("key") == NAME_LABEL and expression.get("operator") == "NotIn":
            excluded += values
        else:
            others.append(f"{expression.get('key')} {expression.get('operator')} {' '.join(values)}".strip())
    found = f"{name}: excluded: {', '.join(sorted(excluded)) or 'no namespace'}"
    yield _check("namespaces left out", CheckStatus.OK, found)
    if others and not all(other.startswith(NAME_LABEL) for other in others):
        advice = "Allow only administrators to label namespaces: the label can switch the webhook off."
        found = f"{name}: called only for namespaces with {' and '.join(others)}"
        yield _check("namespaceSelector", CheckStatus.WARNING, found, advice)
    objects = hook.get("objectSelector") or {}
    if objects.get("matchLabels") or objects.get("matchExpressions"):
        advice = "Remove objectSelector: the author of a Pod also sets its labels and can avoid the review."
        found = f"{name}: the labels of a Pod decide whether it is reviewed"
        yield _check("objectSelector", CheckStatus.WARNING, found, advice)


def _check_service(api: Api, name: str, service: Mapping[str, Any]) -> Iterator[Check]:
    title = "replicas"
    where = f"/namespaces/{service.get('namespace')}"
    label = {"labelSelector": f"kubernetes.io/service-name={service.get('name')}"}
    what = f"Service {service.get('namespace')}/{service.get('name')}"
    try:
        spec = api.get(f"/api/v1{where}/services/{service.get('name')}").get("spec") or {}
        if spec.get("type") == "ExternalName":
            yield _check(title, CheckStatus.SKIPPED, f"{name}: {what} is of type ExternalName")
            return
        slices = api.get(f"/apis/discovery.k8s.io/v1{where}/endpointslices", label).get("items") or ()
    except ClusterError as error:
        if error.status == NOT_FOUND:
            advice = "Install the chart again, or correct clientConfig."
            yield _check(title, CheckStatus.FAILED, f"{name}: {what} does not exist", advice)
        else:
            yield _check(title, CheckStatus.UNKNOWN, str(error), "Request the right to read it.")
        return
    ready = sum(
        len(endpoint.get("addresses") or ())
        for item in slices
        for endpoint in item.get("endpoints") or ()
        if (endpoint.get("conditions") or {}).get("ready", True)
    )
    if not ready:
        advice = "Check the webhook's Pods with kubectl describe and kubectl logs."
        yield _check(title, CheckStatus.FAILED, f"{name}: no replica behind {what} is ready", advice)
    elif ready == 1:
        advice = "Run two or more replicas. While this one is replaced, no Pod can be created."
        yield _check(title, CheckStatus.WARNING, f"{name}: one replica is ready behind {what}", advice)
    else:
        yield _check(title, CheckStatus.OK, f"{name}: {ready} replicas are ready behind {what}")


def _check_handshake(name: str, host: str, port: int, bundle: bytes, now: dt.datetime) -> Check:
    """Make a TLS handshake as the API server does, if the webhook is reachable from here."""
    title = "serving certificate"
    try:
        context = client_context(ca_data=bundle.decode("ascii"))
        context.hostname_checks_common_name = False  # the API server reads subjectAltName alone
    except (ssl.SSLError, UnicodeError):
        return _check(title, CheckStatus.SKIPPED, f"{name}: caBundle cannot be used")
    try:
        with (
            socket.create_connection((host, port), CONNECT_SECONDS) as raw,
            context.wrap_socket(raw, server_hostname=host) as connection,
        ):
            certificate = x509.load_der_x509_certificate(connection.getpeercert(binary_form=True) or b"")
    except ssl.SSLCertVerificationError as error:
        advice = "The API server rejects it, too. Renew the certificate, or add its CA to caBundle."
        return _check(title, CheckStatus.FAILED, f"{name}: {error.verify_message}", advice)
    except (ssl.SSLError, ValueError):
        advice = "Check the webhook's log."
        return _check(title, CheckStatus.FAILED, f"{name}: the TLS handshake failed", advice)
    except OSError:
        found = f"{name}: {host}:{port} is not reachable from here; the dry run shows whether it is trusted"
        return _check(title, CheckStatus.SKIPPED, found)
    return check_expiry(title, name, certificate.not_valid_after_utc, now)


def _probe(api: Api, namespace: str, policy: Policy | None) -> Check:
    """Create a Pod that must be denied, as a dry run. This tests the path from API server to policy."""
    title = "dry run"
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "swr-trust-doctor", "namespace": namespace},
        "spec": {
            "automountServiceAccountToken": False,
            "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [
                {
                    "name": "probe",
                    "image": PROBE_IMAGE,
                    "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
                }
            ],
        },
    }
    try:
        api.create(f"/api/v1/namespaces/{namespace}/pods?dryRun=All", pod)
    except ClusterError as error:
        return _read_denial(title, namespace, error)
    mode = policy.mode_for(policy.rule_for(namespace, None)) if policy is not None else None
    if mode in (Mode.WARN, Mode.AUDIT):
        found = f"a Pod with an invalid image is admitted in {namespace}, because its mode is {mode}"
        return _check(title, CheckStatus.SKIPPED, found)
    advice = (
        f"If the webhook configuration excludes {namespace}, choose another namespace with -n. Otherwise no "
        "image is checked: correct rules, matchConditions and the running policy."
    )
    found = f"a Pod with an invalid image would be admitted in {namespace}"
    return _check(title, CheckStatus.FAILED, found, advice)


def _read_denial(title: str, namespace: str, error: ClusterError) -> Check:
    text = printable(str(error), 600)
    if any(denial in text for denial in DENIALS):
        found = f"a Pod with an invalid image is denied in {namespace}"
        return _check(title, CheckStatus.OK, found)
    if "failed calling webhook" in text:
        cause = re.sub(r"^.*failed calling webhook", "failed calling webhook", text)
        return _check(title, CheckStatus.FAILED, cause, _advise_call(text))
    if error.status in (FORBIDDEN, NOT_FOUND):
        advice = "Choose a namespace in which you may create Pods, with -n."
        return _check(title, CheckStatus.UNKNOWN, text, advice)
    return _check(
        title,
        CheckStatus.UNKNOWN,
        text,
        "Another check denied the Pod before the webhook was called. Choose another namespace with -n.",
    )


def _advise_call(text: str) -> str:
    if "x509" in text or "certificate" in text:
        return "caBundle does not match the serving certificate. Renew the certificate, or correct caBundle."
    if "no endpoints" in text or "connection refused" in text or "no such host" in text:
        return "No replica is reachable. Check the webhook's Pods and Service."
    if "deadline exceeded" in text or "timeout" in text.lower():
        return "Open the webhook's port to the control plane in security groups and network policies."
    return "Check the webhook's log."
