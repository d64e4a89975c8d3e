"""Finds out why a workload has no Pods, from its conditions and Events.

The role ``view`` is sufficient. The denial of a webhook is in the Event ``FailedCreate`` of the controller,
and in the condition ``ReplicaFailure``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from webhook.cluster.client import FORBIDDEN, NOT_FOUND, ReadApi, read_pages
from webhook.errors import ClusterError

KINDS: Final[Mapping[str, str]] = {
    "Deployment": "/apis/apps/v1/namespaces/{namespace}/deployments",
    "StatefulSet": "/apis/apps/v1/namespaces/{namespace}/statefulsets",
    "DaemonSet": "/apis/apps/v1/namespaces/{namespace}/daemonsets",
    "CronJob": "/apis/batch/v1/namespaces/{namespace}/cronjobs",
    "Job": "/apis/batch/v1/namespaces/{namespace}/jobs",
    "ReplicaSet": "/apis/apps/v1/namespaces/{namespace}/replicasets",
    "ReplicationController": "/api/v1/namespaces/{namespace}/replicationcontrollers",
    "Pod": "/api/v1/namespaces/{namespace}/pods",
}
"""Paths of the kinds, in the order in which a name without a kind is searched."""

ALIASES: Final[Mapping[str, str]] = {
    "deploy": "Deployment",
    "sts": "StatefulSet",
    "ds": "DaemonSet",
    "cj": "CronJob",
    "rs": "ReplicaSet",
    "rc": "ReplicationController",
    "po": "Pod",
}

_COUNTED: Final = ("Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "ReplicationController")
_UNVERSIONED: Final = ("ReplicaSet", "ReplicationController")

_CHILDREN: Final[Mapping[str, str]] = {"Deployment": "ReplicaSet", "CronJob": "Job"}

FAILURES: Final = frozenset({"FailedCreate", "FailedUpdate"})
FAILURE_CONDITIONS: Final = frozenset({"ReplicaFailure"})
MAX_PAGES: Final = 20
MAX_CHILDREN: Final = 200


@dataclass(frozen=True, slots=True)
class CreateFailure:
    """One failure to create a Pod, with the message of the API server.

    ``source`` is the object with the message, ``at`` its last time (RFC 3339, or empty).
    """

    source: str
    message: str
    at: str = ""
    count: int = 1


@dataclass(slots=True)
class WorkloadState:
    """The state of a workload. ``gaps`` name what could not be read.

    ``is_settled`` means that all wanted Pods exist, from the current template.
    """

    namespace: str
    kind: str
    name: str
    images: tuple[str, ...] = ()
    wanted: int | None = None
    ready: int | None = None
    is_settled: bool = False
    failures: list[CreateFailure] = field(default_factory=list)
    gaps: list[str] = field(default_factory=list)


def find_kind(text: str) -> str | None:
    """Return the kind of a name that users write: ``deploy``, ``deployments`` or ``Deployment``."""
    lowered = text.lower()
    for kind in KINDS:
        if lowered in (kind.lower(), f"{kind.lower()}s"):
            return kind
    return ALIASES.get(lowered)


def read_workload(api: ReadApi, namespace: str, kind: str | None, name: str) -> WorkloadState | None:
    """Return the state of a workload, ``None`` if there is none of that name.

    Without a kind, the first kind with such a name is used.

    Raises:
        ClusterError: it could not be read, or no kind may be read.
    """
    forbidden: dict[str, ClusterError] = {}
    for candidate in KINDS if kind is None else (kind,):
        try:
            obj = api.get(f"{KINDS[candidate].format(namespace=namespace)}/{name}")
        except ClusterError as error:
            if error.status == FORBIDDEN:
                forbidden[candidate] = error
            elif error.status != NOT_FOUND:
                raise
        else:
            return _describe(api, namespace, candidate, obj)
    if forbidden:
        kinds = ", ".join(f"{one}s" for one in forbidden)
        raise ClusterError(
            FORBIDDEN,
            f"you may not read {kinds} in the namespace {namespace}, so it is not known whether {name} "
            f"exists there: ask for the role `view` ({next(iter(forbidden.values()))})",
        )
    return None


def _describe(api: ReadApi, namespace: str, kind: str, obj: Mapping[str, Any]) -> WorkloadState:
    name = str(_get(obj, "metadata", "name"))
    status = _mapping(obj.get("status"))
    state = WorkloadState(
        namespace,
        kind,
        name,
        images=tuple(_images_of(obj, kind)),
        wanted=_wanted(obj, kind),
        ready=_number(status, "readyReplicas", "numberReady") if kind in _COUNTED else None,
        is_settled=_is_settled(obj, kind),
    )
    sources = [(kind, name, obj)]
    child = _CHILDREN.get(kind)
    if child is not None:
        try:
            sources += _children(api, namespace, child, kind, name)
        except ClusterError as error:
            state.gaps.append(f"its {child}s cannot be read: {error}")
    for source_kind, source_name, source in sources:
        state.failures += _conditions_of(source, f"{source_kind}/{source_name}")
    try:
        state.failures += _events_of(api, namespace, {(one, two) for one, two, _ in sources})
    except ClusterError as error:
        state.gaps.append(f"its Events cannot be read: {error}")
    state.failures.sort(key=lambda failure: failure.at, reverse=True)
    return state


def _children(
    api: ReadApi, namespace: str, child: str, kind: str, name: str
) -> list[tuple[str, str, Mapping[str, Any]]]:
    """Return the newest children, without ReplicaSets that are scaled to 0."""
    found = [
        item
        for item in _list(api, KINDS[child].format(namespace=namespace), {})
        if any(
            owner.get("kind") == kind and owner.get("name") == name and owner.get("controller")
            for owner in _get(item, "metadata", "ownerReferences") or ()
            if isinstance(owner, Mapping)
        )
        and (child != "ReplicaSet" or _get(item, "spec", "replicas") != 0)
    ]
    found.sort(key=lambda item: str(_get(item, "metadata", "creationTimestamp")), reverse=True)
    return [(child, str(_get(item, "metadata", "name")), item) for item in found[:MAX_CHILDREN]]


def _conditions_of(obj: Mapping[str, Any], source: str) -> Iterator[CreateFailure]:
    for condition in _get(obj, "status", "conditions") or ():
        if (
            isinstance(condition, Mapping)
            and condition.get("type") in FAILURE_CONDITIONS
            and condition.get("status") == "True"
        ):
            at = str(condition.get("lastUpdateTime") or condition.get("lastTransitionTime") or "")
            yield CreateFailure(source, str(condition.get("message", "")), at)


def _events_of(api: ReadApi, namespace: str, sources: set[tuple[str, str]]) -> Iterator[CreateFailure]:
    query = {"fieldSelector": "type=Warning"}
    for event in _list(api, f"/api/v1/namespaces/{namespace}/events", query):
        about = _mapping(event.get("involvedObject"))
        source = (str(about.get("kind")), str(about.get("name")))
        if event.get("reason") in FAILURES and source in sources:
            series = _mapping(event.get("series"))
            at = series.get("lastObservedTime") or event.get("lastTimestamp") or event.get("eventTime") or ""
            count = series.get("count") or event.get("count") or 1
            yield CreateFailure("/".join(source), str(event.get("message", "")), str(at), int(count))


def _list(api: ReadApi, path: str, query: Mapping[str, str]) -> Iterator[Mapping[str, Any]]:
    for page in read_pages(api.get, path, {"limit": "500", **query}, MAX_PAGES):
        yield from (item for item in page.items if isinstance(item, Mapping))


def _is_settled(obj: Mapping[str, Any], kind: str) -> bool:
    status = _mapping(obj.get("status"))
    wanted = _wanted(obj, kind)
    if not wanted or _number(status, "observedGeneration") < (_get(obj, "metadata", "generation") or 0):
        return False
    ready = _number(status, "readyReplicas", "numberReady")
    # Pods of an older template may be ready while those of the new one are denied.
    updated = ready if kind in _UNVERSIONED else _number(status, "updatedReplicas", "updatedNumberScheduled")
    return min(ready, updated) >= wanted


def _wanted(obj: Mapping[str, Any], kind: str) -> int | None:
    if kind in ("Deployment", "StatefulSet", "ReplicaSet", "ReplicationController"):
        replicas = _get(obj, "spec", "replicas")
        return replicas if isinstance(replicas, int) else 1
    if kind == "DaemonSet":
        return _number(_mapping(obj.get("status")), "desiredNumberScheduled")
    return None


def _images_of(obj: Mapping[str, Any], kind: str) -> Iterator[str]:
    path = {"Pod": ("spec",), "CronJob": ("spec", "jobTemplate", "spec", "template", "spec")}
    spec = _get(obj, *path.get(kind, ("spec", "template", "spec")))
    for group in ("initContainers", "containers", "ephemeralContainers"):
        for container in _mapping(spec).get(group) or ():
            if isinstance(container, Mapping) and container.get("image"):
                yield str(container["image"])
    for volume in _mapping(spec).get("volumes") or ():
        reference = _get(_mapping(volume), "image", "reference")
        if reference:
            yield str(reference)


def _number(status: Mapping[str, Any], *keys: str) -> int:
    return next((value for key in keys if isinstance(value := status.get(key), int)), 0)


def _get(obj: Any, *path: str) -> Any:
    for key in path:
        obj = _mapping(obj).get(key)
    return obj


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
