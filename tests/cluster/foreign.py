"""Minimal admission webhooks of other products."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from tests.controlplane import ControlPlane
from tests.support.private_cas import HttpsServer, Site

Answer = Callable[[dict[str, Any]], dict[str, Any]]
"""Maps the ``request`` of an AdmissionReview to the ``response`` without its uid."""


def allow(request: dict[str, Any]) -> dict[str, Any]:
    """Allow everything."""
    del request
    return {"allowed": True}


def patch(*operations: dict[str, Any]) -> dict[str, Any]:
    """Return a response with a JSON patch."""
    encoded = base64.b64encode(json.dumps(operations).encode()).decode()
    return {"allowed": True, "patchType": "JSONPatch", "patch": encoded}


class ForeignWebhook:
    """A webhook that is registered for new Pods of one namespace while its context is entered."""

    def __init__(
        self,
        cluster: ControlPlane,
        folder: Path,
        name: str,
        kind: Literal["Mutating", "Validating"],
        namespace: str,
        answer: Answer = allow,
        **settings: Any,
    ) -> None:
        """``settings`` are fields of the webhook, such as ``timeoutSeconds``."""
        self._cluster = cluster
        self._name = name
        self._kind = kind
        self._namespace = namespace
        self._answer = answer
        self._settings = settings
        folder = folder / name
        folder.mkdir()
        site = Site.of()
        self._bundle = base64.b64encode(site.trusted).decode()
        self._server = HttpsServer(site.server_context(folder), self._respond)
        self.requests: list[dict[str, Any]] = []
        """The reviews so far, in order; the first ones may be attempts during the registration."""

    @property
    def configuration(self) -> dict[str, Any]:
        """The object that registers it."""
        selector = {"matchLabels": {"kubernetes.io/metadata.name": self._namespace}}
        rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}
        webhook = {
            "name": f"{self._name}.example.com",
            "clientConfig": {"url": self._server.url, "caBundle": self._bundle},
            "rules": [rule],
            "admissionReviewVersions": ["v1"],
            "sideEffects": "None",
            "failurePolicy": "Fail",
            "timeoutSeconds": 10,
            "namespaceSelector": selector,
            **self._settings,
        }
        return {
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": f"{self._kind}WebhookConfiguration",
            "metadata": {"name": self._name},
            "webhooks": [webhook],
        }

    def _respond(self, path: str, body: bytes) -> bytes:
        del path
        review = json.loads(body)
        request = review["request"]
        self.requests.append(request)
        response = {"uid": request["uid"], **self._answer(request)}
        return json.dumps({**review, "request": None, "response": response}).encode()

    def __enter__(self) -> Self:
        self._server.__enter__()
        self._cluster.kubectl("create", "-f", "-", stdin=self.configuration)
        self._cluster.wait_for(f"{self._name} to be called", self._is_called)
        return self

    def _is_called(self) -> bool:
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "probe", "namespace": self._namespace},
            "spec": {"containers": [{"name": "main", "image": "probe"}]},
        }
        self._cluster.kubectl("create", "--dry-run=server", "-f", "-", stdin=pod, check=False)
        return bool(self.requests)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._cluster.kubectl("delete", f"{self._kind}WebhookConfiguration", self._name)
        self._server.__exit__(kind, error, trace)
