"""Checks of pinning: does the API server call the webhook for new Pods?"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Final

from webhook.cli.certificate_checks import check_bundle, decode_bundle
from webhook.cli.checks import CLUSTER, Check, CheckStatus
from webhook.cluster.client import FORBIDDEN, NOT_FOUND, ReadApi
from webhook.cluster.scope import LABEL, MUTATING, matches_pods, read_configurations
from webhook.errors import ClusterError
from webhook.policy.model import Policy

TITLE: Final = "pinning"

_REQUEST: Final = "Request get and list on mutatingwebhookconfigurations, or ask an administrator to run it."

_check: Final = partial(Check, CLUSTER)


def check_pinning(
    api: ReadApi, name: str | None, webhooks: Sequence[Mapping[str, Any]], policy: Policy, now: dt.datetime
) -> Iterator[Check]:
    """Yield the result of each check of the MutatingWebhookConfiguration.

    It has the ``name`` of the validating one, whose ``webhooks`` are compared. If ``name`` is ``None``, it is
    found by its label. If the policy pins no image, nothing is needed, and only a configuration that has no
    effect is mentioned.
    """
    try:
        found = _read(api, name)
    except ClusterError as error:
        if policy.may_pin:
            advice = _REQUEST if error.status == FORBIDDEN else "Try again."
            yield _check(TITLE, CheckStatus.UNKNOWN, str(error), advice)
        return
    if not policy.may_pin:
        for obj in found:
            unused = f"{_name(obj)} exists, but the policy pins no image, so that its calls change nothing"
            yield _check(TITLE, CheckStatus.SKIPPED, unused)
        return
    if not found:
        which = f"is named {name}" if name is not None else f"has the label {LABEL}"
        advice = "Set pinning.enabled=true in the chart, or remove pinDigests from the policy."
        missing = f"images are not pinned: no MutatingWebhookConfiguration {which}"
        yield _check(TITLE, CheckStatus.WARNING, missing, advice)
    for obj in found:
        yield from _check_configuration(obj, webhooks, now)


def _read(api: ReadApi, name: str | None) -> list[dict[str, Any]]:
    """Return the configurations; an empty list if there is none.

    Raises:
        ClusterError: they cannot be read.
    """
    try:
        return read_configurations(api, MUTATING, name)
    except ClusterError as error:
        if error.status == NOT_FOUND:
            return []
        raise


def _name(obj: Mapping[str, Any]) -> str:
    return str((obj.get("metadata") or {}).get("name"))


def _check_configuration(
    obj: Mapping[str, Any], webhooks: Sequence[Mapping[str, Any]], now: dt.datetime
) -> Iterator[Check]:
    hooks = [hook for hook in obj.get("webhooks") or () if isinstance(hook, Mapping) and matches_pods(hook)]
    if hooks:
        yield _check(TITLE, CheckStatus.OK, f"{_name(obj)} covers new Pods")
    else:
        advice = "Restore the rules of the chart. The images of Pods that they do not cover are not pinned."
        yield _check(TITLE, CheckStatus.FAILED, f"{_name(obj)} does not cover CREATE pods", advice)
    for hook in hooks:
        name = str(hook.get("name"))
        yield _check_failure_policy(name, str(hook.get("failurePolicy", "Fail")))
        yield from _check_namespaces(name, hook, [other for other in webhooks if matches_pods(other)])
        bundle = decode_bundle((hook.get("clientConfig") or {}).get("caBundle"))
        yield from check_bundle(f"{TITLE}: caBundle", name, bundle, now)


def _check_failure_policy(name: str, value: str) -> Check:
    title = f"{TITLE}: failurePolicy"
    if value != "Fail":
        return _check(title, CheckStatus.OK, f"{name}: {value}")
    advice = "Set it to Ignore. The validating webhook decides about each Pod, pinned or not."
    found = f"{name}: Fail denies Pods when the webhook cannot be called, in addition to the validating one"
    return _check(title, CheckStatus.WARNING, found, advice)


def _check_namespaces(
    name: str, hook: Mapping[str, Any], others: Sequence[Mapping[str, Any]]
) -> Iterator[Check]:
    """Compare the namespaces of a webhook with those of the validating ones, if these are known."""
    if not others:
        return
    title = f"{TITLE}: namespaces"
    which = " and ".join(str(other.get("name")) for other in others)
    if any(_selected(other) == _selected(hook) for other in others):
        yield _check(title, CheckStatus.OK, f"{name}: the same as of {which}")
        return
    advice = (
        "Use the same namespaceSelector in both. If only the validating webhook is called for a namespace, "
        "images are not pinned there. If only this one is called, the Pods are not evaluated."
    )
    found = f"{name}: its namespaceSelector is not that of {which}"
    yield _check(title, CheckStatus.WARNING, found, advice)


def _selected(hook: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return the namespaceSelector of a webhook without the order of its parts."""
    selector = hook.get("namespaceSelector") or {}
    expressions = (
        (str(item.get("key")), str(item.get("operator")), sorted(map(str, item.get("values") or ())))
        for item in selector.get("matchExpressions") or ()
    )
    return selector.get("matchLabels") or {}, sorted(expressions)
