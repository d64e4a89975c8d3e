"""Which namespaces the API server asks the webhook about, by the configuration of the webhook itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from webhook.audit.scanning import EXCLUDED
from webhook.errors import ClusterError

CONFIGURATIONS: Final = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"
LABEL: Final = "app.kubernetes.io/name=swr-trust-webhook"
NAME_LABEL: Final = "kubernetes.io/metadata.name"
"""The label of a namespace that the API server writes itself."""


class ReadApi(Protocol):
    """What is needed of the Kubernetes API; ``webhook.cluster.client.KubernetesApi`` is one."""

    def get(self, path: str, query: Mapping[str, str] | None = None) -> dict[str, Any]:
        """Return an object or a list."""
        ...  # pragma: no cover


@dataclass(frozen=True, slots=True)
class Scope:
    """The namespaces that are left out, and a clause on what is not known of them, empty if all is."""

    excluded: tuple[str, ...]
    note: str = ""


def read_scope(api: ReadApi) -> Scope:
    """Return the namespaces whose Pods the webhook is not asked about.

    Those that every entry for Pods leaves out by name. Where no configuration can be read, those that
    the chart leaves out by default.
    """
    try:
        found = api.get(CONFIGURATIONS, {"labelSelector": LABEL}).get("items") or []
    except ClusterError as error:
        return _assumed(f"cannot be read ({error})")
    entries = [
        entry
        for configuration in found
        for entry in configuration.get("webhooks") or ()
        if any("pods" in (rule.get("resources") or ()) for rule in entry.get("rules") or ())
    ]
    if not entries:
        return _assumed("is not installed")
    excluded: set[str] | None = None
    others = False
    for entry in entries:
        left_out, more = _read_selector(entry.get("namespaceSelector") or {})
        excluded = left_out if excluded is None else excluded & left_out
        others = others or more
    note = "the webhook's namespaceSelector has further conditions, which this report does not regard"
    return Scope(tuple(sorted(excluded or ())), note if others else "")


def _assumed(why: str) -> Scope:
    return Scope(EXCLUDED, f"the webhook's configuration {why}, so the chart's defaults are left out")


def _read_selector(selector: Mapping[str, Any]) -> tuple[set[str], bool]:
    """Return the names that a selector leaves out, and whether it demands anything else."""
    excluded: set[str] = set()
    others = bool(selector.get("matchLabels"))
    for expression in selector.get("matchExpressions") or ():
        if expression.get("key") == NAME_LABEL and expression.get("operator") == "NotIn":
            excluded |= {str(value) for value in expression.get("values") or ()}
        else:
            others = True
    return excluded, others
