"""Builders of policies, requests and answers; a test names only the values that matter to it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from webhook.admission.request import AdmissionRequest
from webhook.admission.review import read_review
from webhook.admission.validator import Validator
from webhook.deadlines import Deadline
from webhook.errors import TrustLookupError
from webhook.images.patterns import parse_pattern
from webhook.policy.findings import Mode
from webhook.policy.model import Exemption, Policy, Rule
from webhook.policy.namespaces import NamespacePatterns
from webhook.registries import NO_CREDENTIALS, CredentialSettings, Evidence, Registry, RegistryTable
from webhook.trust.lookup import Failed, Found, LookupRequest, LookupResult, Origin
from webhook.trust.records import TrustRecord, TrustStatus

HOST = "swr.cn-north-4.myhuaweicloud.com"
ALIAS = "10.125.0.198:20202"
DIGEST = "sha256:" + "a" * 64
OTHER_DIGEST = "sha256:" + "b" * 64
UID = "0b5d6f0c-0000-4000-8000-000000000001"
NOW = 1_800_000_000.0


def registry(**changes: Any) -> Registry:
    """Return the registry of region cn-north-4, with an internal alias."""
    values: dict[str, Any] = {
        "hosts": (HOST, ALIAS),
        "region": "cn-north-4",
        "endpoint": "https://swr-api.cn-north-4.myhuaweicloud.com",
        "iam_endpoint": "https://iam.cn-north-4.myhuaweicloud.com",
        "credentials": CredentialSettings("token", token_file="/etc/swr/token"),
    }
    return Registry(**{**values, **changes})


def enterprise_registry(**changes: Any) -> Registry:
    """Return an instance of SWR Enterprise, whose evidence is signatures."""
    values: dict[str, Any] = {
        "hosts": ("images.example.com",),
        "region": "",
        "endpoint": "",
        "iam_endpoint": "",
        "credentials": NO_CREDENTIALS,
        "edition": "enterprise",
        "evidence": Evidence.SIGNATURE,
        "registry_endpoint": "https://images.example.com",
    }
    return Registry(**{**values, **changes})


def policy(**changes: Any) -> Policy:
    """Return a policy with one registry and the defaults of the configuration file."""
    values: dict[str, Any] = {"version": "v1", "registries": RegistryTable.of([registry()])}
    return Policy(**{**values, **changes})


def rule(
    name: str = "rule", images: Sequence[str] = ("**",), namespaces: Sequence[str] = ("*",), **rest: Any
) -> Rule:
    """Return a rule; ``mode`` may be given as a string."""
    if "mode" in rest:
        rest["mode"] = Mode(rest["mode"])
    return Rule(name, NamespacePatterns(tuple(namespaces)), tuple(map(parse_pattern, images)), **rest)


def exemption(
    name: str = "exemption", images: Sequence[str] = ("**",), namespaces: Sequence[str] = ("*",), **rest: Any
) -> Exemption:
    """Return an exemption with a reason."""
    rest.setdefault("reason", "a test")
    return Exemption(name, NamespacePatterns(tuple(namespaces)), tuple(map(parse_pattern, images)), **rest)


class FakeAnswers:
    """Trust answers by image, keyed by ``organization/repository:tag`` or ``...@sha256:...``.

    A value is a status, a whole record, a failure, or any Answer; an image that is not listed is missing.
    ``asked`` lists every lookup in order.
    """

    def __init__(
        self, facts: Mapping[str, TrustStatus | TrustRecord | TrustLookupError | LookupResult]
    ) -> None:
        self.facts = dict(facts)
        self.asked: list[str] = []
        self.questions: list[LookupRequest] = []

    def look_up(self, questions: Sequence[LookupRequest], deadline: Deadline) -> list[LookupResult]:
        self.questions += questions
        return [self._answer(question) for question in questions]

    def _answer(self, question: LookupRequest) -> LookupResult:
        query = question.query
        what = f":{query.tag}" if query.digest is None else f"@{query.digest}"
        image = f"{query.organization}/{query.repository}{what}"
        self.asked.append(image)
        fact = self.facts.get(image, TrustStatus.MISSING)
        if isinstance(fact, TrustLookupError):
            return Failed(fact)
        if isinstance(fact, TrustStatus):
            fact = TrustRecord(fact, NOW, None if fact is TrustStatus.MISSING else DIGEST)
        if isinstance(fact, TrustRecord):
            return Found(fact, Origin.SWR)
        return fact


def container(image: str, name: str = "main", **rest: Any) -> dict[str, Any]:
    """Return a container of a Pod."""
    return {"name": name, "image": image, **rest}


def pod(*images: str, **spec: Any) -> dict[str, Any]:
    """Return a Pod with one container per image, and anything else in its spec."""
    containers = [container(image, f"c{index}") for index, image in enumerate(images)]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "web", "namespace": "shop"},
        "spec": {"containers": containers, **spec},
    }


def review(
    obj: Any = None,
    *,
    old: Any = None,
    operation: str = "CREATE",
    resource: tuple[str, str, str] = ("", "v1", "pods"),
    kind: str = "Pod",
    subresource: str = "",
    namespace: str = "shop",
    user: str = "dev",
    groups: Sequence[str] = ("devs", "system:authenticated"),
    **rest: Any,
) -> bytes:
    """Return the body of an AdmissionReview."""
    group, version, plural = resource
    request = {
        "uid": UID,
        "kind": {"group": group, "version": version, "kind": kind},
        "resource": {"group": group, "version": version, "resource": plural},
        "subResource": subresource,
        "name": "web",
        "namespace": namespace,
        "operation": operation,
        "userInfo": {"username": user, "groups": list(groups)},
        "object": obj,
        "oldObject": old,
        "dryRun": False,
        **rest,
    }
    return json.dumps(
        {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}
    ).encode()


def request(*args: Any, **kwargs: Any) -> AdmissionRequest:
    """Return a decoded request; the arguments are those of ``review``."""
    return read_review(review(*args, **kwargs))


def make_validator(current: Policy | None = None, **facts: Any) -> tuple[Validator, FakeAnswers]:
    """Return a validator and the answers it uses; ``facts`` maps images to SWR's answers."""
    answers = FakeAnswers(facts.get("facts", {}))
    chosen = current if current is not None else policy()
    return Validator(lambda: chosen, answers, clock=lambda: NOW), answers


SOON = Deadline(1e9)
"""A deadline that is never reached."""
