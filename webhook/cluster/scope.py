"""Namespaces whose Pods the API server does not send to the webhook.

They are read from the ValidatingWebhookConfiguration of the cluster, so that an audit covers the namespaces
that enforcing would affect.

Source: Kubernetes documentation, Dynamic Admission Control, Matching requests: namespaceSelector; Labels and
Selectors, Resources that support set-based requirements.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from webhook.cluster.client import FORBIDDEN, NOT_FOUND, ReadApi, read_pages
from webhook.errors import ClusterError

_REGISTRATIONS: Final = "/apis/admissionregistration.k8s.io/v1"
VALIDATING: Final = f"{_REGISTRATIONS}/validatingwebhookconfigurations"
MUTATING: Final = f"{_REGISTRATIONS}/mutatingwebhookconfigurations"
"""The paths of the webhook configurations."""

LABEL: Final = "app.kubernetes.io/name=swr-trust-webhook"

CHART_DEFAULTS: Final = ("kube-system", "kube-public", "kube-node-lease", "swr-trust")
"""Namespaces that the chart excludes by default, and its own namespace as in the documentation."""

PAGE_SIZE: Final = 500
MAX_PAGES: Final = 40

NAME_LABEL: Final = "kubernetes.io/metadata.name"


@dataclass(frozen=True, slots=True)
class Scope:
    """Excluded namespaces; ``note`` says why they are not certain, or is empty."""

    excluded: tuple[str, ...]
    note: str = ""


def read_scope(api: ReadApi, configuration: str | None) -> Scope:
    """Return the namespaces whose Pods are not sent to the webhook.

    ``configuration`` is the name of one configuration, ``None`` to find them by ``LABEL``. If it cannot be
    read, the defaults of the chart are used, and the note says so.

    Raises:
        ClusterError: the named configuration does not exist.
    """
    try:
        found = read_configurations(api, VALIDATING, configuration)
    except ClusterError as error:
        if configuration is not None and error.status == NOT_FOUND:
            raise ClusterError(
                NOT_FOUND, f"there is no ValidatingWebhookConfiguration named {configuration}"
            ) from None
        return _defaults(_explain(error, "validatingwebhookconfigurations"))
    selectors = [
        selector if isinstance(selector := hook.get("namespaceSelector"), Mapping) else {}
        for obj in found
        for hook in obj.get("webhooks") or ()
        if isinstance(hook, Mapping) and matches_pods(hook)
    ]
    if not selectors:
        which = f"named {configuration}" if configuration is not None else f"labelled {LABEL}"
        return _defaults(f"no ValidatingWebhookConfiguration {which} receives Pods")
    if not all(map(_excludes_by_name, selectors)):
        try:
            return Scope(_select(_read_namespaces(api), selectors))
        except ClusterError as error:
            return _defaults(_explain(error, "namespaces"))
    names = [
        {str(value) for expression in _expressions(selector) for value in expression.get("values") or ()}
        for selector in selectors
    ]
    # A namespace is excluded only if its Pods are sent to no webhook.
    return Scope(tuple(sorted(set.intersection(*names))))


def read_configurations(api: ReadApi, path: str, name: str | None) -> list[dict[str, Any]]:
    """Return the webhook configuration of a name, or all with ``LABEL`` if there is no name.

    Raises:
        ClusterError: they cannot be read, or none has the name.
    """
    if name is not None:
        return [api.get(f"{path}/{name}")]
    return api.get(path, {"labelSelector": LABEL}).get("items") or []


def matches_pods(hook: Mapping[str, Any]) -> bool:
    """Return whether the rules of a webhook match the creation of Pods."""
    return any(
        {"", "*"} & set(rule.get("apiGroups") or ())
        and {"pods", "*", "*/*"} & set(rule.get("resources") or ())
        and {"CREATE", "*"} & set(rule.get("operations") or ())
        for rule in hook.get("rules") or ()
        if isinstance(rule, Mapping)
    )


def _excludes_by_name(selector: Mapping[str, Any]) -> bool:
    """Return whether a selector only excludes namespaces by name."""
    return not selector.get("matchLabels") and all(
        expression.get("key") == NAME_LABEL and expression.get("operator") == "NotIn"
        for expression in _expressions(selector)
    )


def _expressions(selector: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    return [item for item in selector.get("matchExpressions") or () if isinstance(item, Mapping)]


def _read_namespaces(api: ReadApi) -> dict[str, Mapping[str, str]]:
    """Return the labels of all namespaces by name."""
    found: dict[str, Mapping[str, str]] = {}
    for number, page in enumerate(read_pages(api.get, "/api/v1/namespaces", {"limit": str(PAGE_SIZE)})):
        if number == MAX_PAGES:
            raise ClusterError(0, f"the cluster has more than {PAGE_SIZE * MAX_PAGES} namespaces")
        for item in page.items:
            meta = item.get("metadata") or {}
            name = str(meta.get("name"))
            found[name] = {**(meta.get("labels") or {}), NAME_LABEL: name}
    return found


def _select(
    namespaces: Mapping[str, Mapping[str, str]], selectors: Sequence[Mapping[str, Any]]
) -> tuple[str, ...]:
    return tuple(
        sorted(
            name
            for name, labels in namespaces.items()
            if not any(matches(selector, labels) for selector in selectors)
        )
    )


def matches(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Return whether a label selector matches labels; an unknown operator matches, to exclude nothing."""
    wanted = selector.get("matchLabels") or {}
    return all(labels.get(key) == value for key, value in wanted.items()) and all(
        _holds(expression, labels) for expression in _expressions(selector)
    )


def _holds(expression: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    key = str(expression.get("key"))
    values = expression.get("values") or ()
    match expression.get("operator"):
        case "In":
            return key in labels and labels[key] in values
        case "NotIn":
            return key not in labels or labels[key] not in values
        case "Exists":
            return key in labels
        case "DoesNotExist":
            return key not in labels
    return True


def _defaults(why: str) -> Scope:
    return Scope(
        CHART_DEFAULTS,
        f"It is not known which namespaces are not sent to the webhook: {why}. The defaults of the chart "
        "are left out instead; --exclude-namespace names others",
    )


def _explain(error: ClusterError, resource: str) -> str:
    if error.status == FORBIDDEN:
        return f"you need the verb list on {resource} ({error})"
    return str(error)
