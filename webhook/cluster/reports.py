"""Policy reports: the results of an audit, one object per namespace.

``openreports.io/v1alpha1`` Report or its predecessor ``wgpolicyk8s.io/v1alpha2`` PolicyReport; the fields of
a result are the same (openreports/reports-api and kubernetes-sigs/wg-policy-prototypes). If both are served,
the newer one is written and our reports in the other are deleted. If none is, nothing is written.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import msgspec

from webhook.admission.messages import printable
from webhook.audit.report import AuditReport, Drift, DriftRow, FindingRow, NamespaceRow, Result
from webhook.cluster.client import FORBIDDEN, NOT_FOUND, TRANSIENT, KubernetesApi, read_pages
from webhook.errors import ClusterError
from webhook.recorder import Recorder

logger = logging.getLogger(__name__)

NAME: Final = "swr-trust"
"""Name of the report in every namespace."""

MANAGER: Final = "swr-trust-audit"
SOURCE: Final = "swr-trust"
MANAGED_BY: Final = "app.kubernetes.io/managed-by"
SELECTOR: Final = f"{MANAGED_BY}={MANAGER}"
FINGERPRINT: Final = "swr-trust/content"
"""Annotation with a hash of the content: an unchanged report is not written again."""

COMPLETE: Final = "swr-trust/complete"
"""Annotation, ``false`` if the audit was partial."""

OMITTED: Final = "swr-trust/omitted"
"""Annotation with the number of results that did not fit."""

MAX_RESULTS: Final = 1000
MAX_BYTES: Final = 400_000
"""Bytes of the results of one report. etcd accepts objects of 1.5 MiB, and readers list many."""

MAX_MESSAGE: Final = 500
PAGE_SIZE: Final = "250"
MAX_PAGES: Final = 200

PAUSE: Final = 0.1
"""Seconds between two writes, to limit the load of the API server."""

_SEVERITIES: Final = {Result.FAIL: "high", Result.WARN: "medium", Result.ERROR: "low"}
_TERMINATING: Final = "being terminated"

ReportedRow = FindingRow | DriftRow


@dataclass(frozen=True, slots=True)
class Dialect:
    """One API of policy reports."""

    api_version: str
    kind: str
    plural: str

    def path(self, namespace: str = "") -> str:
        """Return the path of our report in a namespace, or of the collection of all namespaces."""
        if not namespace:
            return f"/apis/{self.api_version}/{self.plural}"
        return f"/apis/{self.api_version}/namespaces/{namespace}/{self.plural}/{NAME}"


DIALECTS: Final = (
    Dialect("openreports.io/v1alpha1", "Report", "reports"),
    Dialect("wgpolicyk8s.io/v1alpha2", "PolicyReport", "policyreports"),
)
"""In the order of preference."""


class PolicyReports:
    """Keeps the reports of a cluster up to date."""

    def __init__(
        self,
        api: KubernetesApi,
        owner: str,
        recorder: Recorder,
        sleep: Callable[[float], object] | None = None,
    ) -> None:
        """Write to ``api``.

        ``owner`` is the name of a ClusterRole, or empty. Kubernetes deletes the reports with it.
        """
        self._api = api
        self._owner = owner
        self._recorder = recorder
        self._sleep = sleep or time.sleep

    def publish(self, report: AuditReport) -> None:
        """Update all reports.

        After a partial audit, only its namespaces are written, and nothing is deleted.

        Raises:
            ClusterError: the API server did not respond, or refused to list; the next audit tries again.
        """
        served = [dialect for dialect in DIALECTS if self._is_served(dialect)]
        self._recorder.report_api_found(served[0].api_version if served else "none")
        for index, dialect in enumerate(served):
            if index:
                self._delete(dialect, self._list(dialect))
            else:
                self._keep(dialect, report)

    def _keep(self, dialect: Dialect, report: AuditReport) -> None:
        known = self._list(dialect)
        owners = self._owners()
        wanted = set()
        for namespace, rows in _by_namespace(report):
            wanted.add(namespace.name)
            body = _build(dialect, namespace, rows, report)
            fingerprint = hashlib.sha256(msgspec.json.encode([body, owners])).hexdigest()[:32]
            if known.get(namespace.name) == fingerprint:
                self._recorder.report_ended("unchanged")
                continue
            _complete(body, fingerprint, owners, report)
            path = dialect.path(namespace.name)
            self._write(path, "written", partial(self._api.apply, path, body, MANAGER))
        if not report.is_partial:
            self._delete(dialect, known.keys() - wanted)

    def _delete(self, dialect: Dialect, namespaces: Iterable[str]) -> None:
        for namespace in sorted(namespaces):
            path = dialect.path(namespace)
            self._write(path, "deleted", partial(self._api.delete, path))

    def _write(self, path: str, outcome: str, call: Callable[[], object]) -> None:
        try:
            call()
        except ClusterError as error:
            if error.status in TRANSIENT:
                raise
            if _is_gone(error):
                return
            logger.warning("cannot write a policy report", extra={"path": path, "detail": str(error)})
            outcome = "failed"
        self._recorder.report_ended(outcome)
        self._sleep(PAUSE)

    def _is_served(self, dialect: Dialect) -> bool:
        try:
            resources = self._api.get(f"/apis/{dialect.api_version}").get("resources") or ()
        except ClusterError as error:
            if error.status == NOT_FOUND:
                return False
            raise
        return any(isinstance(one, dict) and one.get("name") == dialect.plural for one in resources)

    def _list(self, dialect: Dialect) -> dict[str, str]:
        """Return the fingerprints of our reports, by namespace."""
        found: dict[str, str] = {}
        query = {"limit": PAGE_SIZE, "labelSelector": SELECTOR}
        for page in read_pages(self._api.list_metadata, dialect.path(), query, MAX_PAGES):
            for item in page.items:
                meta = item.get("metadata") or {}
                if meta.get("name") == NAME:
                    found[str(meta.get("namespace"))] = str(
                        (meta.get("annotations") or {}).get(FINGERPRINT, "")
                    )
        return found

    def _owners(self) -> list[dict[str, Any]]:
        if not self._owner:
            return []
        api = "rbac.authorization.k8s.io/v1"
        try:
            uid = self._api.get(f"/apis/{api}/clusterroles/{self._owner}")["metadata"]["uid"]
        except (ClusterError, KeyError, TypeError) as error:
            if isinstance(error, ClusterError) and error.status in TRANSIENT:
                raise
            logger.warning("the owner of policy reports cannot be read", extra={"detail": str(error)})
            return []
        return [{"apiVersion": api, "kind": "ClusterRole", "name": self._owner, "uid": uid}]


def _by_namespace(report: AuditReport) -> Iterator[tuple[NamespaceRow, list[ReportedRow]]]:
    """Yield the namespaces with rows, and their rows.

    Of the rows about digests, only those of Pods that pin another one are included.
    """
    rows: defaultdict[str, list[ReportedRow]] = defaultdict(list)
    for drift in report.drifted(Drift.OTHER_THAN_PINNED):
        rows[drift.namespace].append(drift)
    for row in report.rows:
        rows[row.namespace].append(row)
    for namespace in sorted(report.namespaces, key=lambda one: one.name):
        if namespace.name in rows:
            yield namespace, rows[namespace.name]


def _build(
    dialect: Dialect, namespace: NamespaceRow, rows: Sequence[ReportedRow], report: AuditReport
) -> dict[str, Any]:
    """Return a report without the fields that change with every audit; ``_complete`` adds them."""
    results: list[dict[str, Any]] = []
    size = 0
    for row in rows:
        result = _result(row)
        size += len(msgspec.json.encode(result))
        if len(results) == MAX_RESULTS or size > MAX_BYTES:
            break
        results.append(result)
    annotations = {COMPLETE: str(not report.is_partial).lower()}
    if len(results) < len(rows):
        annotations[OMITTED] = str(len(rows) - len(results))
    return {
        "apiVersion": dialect.api_version,
        "kind": dialect.kind,
        "metadata": {
            "name": NAME,
            "namespace": namespace.name,
            "labels": {MANAGED_BY: MANAGER, "app.kubernetes.io/part-of": "swr-trust"},
            "annotations": annotations,
        },
        "scope": {"apiVersion": "v1", "kind": "Namespace", "name": namespace.name},
        "summary": _summary(namespace.results),
        "results": results,
    }


def _summary(results: Counter[Result]) -> dict[str, int]:
    return {result.value: results[result] for result in Result}


def _result(row: ReportedRow) -> dict[str, Any]:
    if isinstance(row, DriftRow):
        return _entry(
            row,
            row.reason,
            Result.WARN,
            f"{row.message}. Find out whether both digests are the same image.",
            {"running": row.running},
        )
    signers = ", ".join(row.signers)
    properties = {"field": row.field, "reason": row.reason, "mode": row.mode.value, "signers": signers}
    return _entry(row, row.finding, row.result, f"{row.message}. {row.advice}", properties)


def _entry(
    row: ReportedRow, rule: str, result: Result, message: str, properties: Mapping[str, str]
) -> dict[str, Any]:
    workload = row.workload
    subject = {
        "apiVersion": workload.api_version,
        "kind": workload.kind,
        "namespace": row.namespace,
        "name": workload.name,
        "uid": workload.uid,
    }
    properties = {"image": row.image, **properties, "pods": str(row.pods), "examplePod": row.example}
    return {
        "source": SOURCE,
        "policy": "image-trust",
        "rule": str(rule),
        "category": "Software supply chain",
        "severity": _SEVERITIES[result],
        "result": result.value,
        "scored": result is Result.FAIL,
        "message": printable(f"{row.image}: {message}".strip(), MAX_MESSAGE),
        "resources": [{key: value for key, value in subject.items() if value}],
        "properties": {key: value for key, value in properties.items() if value},
    }


def _complete(
    body: dict[str, Any], fingerprint: str, owners: list[dict[str, Any]], report: AuditReport
) -> None:
    body["metadata"]["annotations"][FINGERPRINT] = fingerprint
    if owners:
        body["metadata"]["ownerReferences"] = owners
    stamp = {"seconds": int(report.started.timestamp()), "nanos": 0}
    for result in body["results"]:
        result["timestamp"] = stamp


def _is_gone(error: ClusterError) -> bool:
    """Return whether the namespace or the report does not exist, or is being deleted."""
    return error.status == NOT_FOUND or (error.status == FORBIDDEN and _TERMINATING in str(error))
