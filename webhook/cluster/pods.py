"""Running Pods, read in pages."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import msgspec

from webhook.admission.extraction import MIRROR_ANNOTATION, ImageUse, TargetKind, extract_images
from webhook.admission.objects import KubernetesObject, ObjectMeta, OwnerReference, Spec
from webhook.audit.pods import PodPage, RunningPod, Workload
from webhook.cluster.client import FORBIDDEN, GONE, NOT_FOUND, TRANSIENT
from webhook.deadlines import spawn
from webhook.errors import ClusterError

PAGE_SIZE: Final = 250
"""Pods of one answer: 2 to 5 MB."""

CALL_SECONDS: Final = 60.0
"""For one answer from beginning to end."""

TRIES: Final = 4
FIRST_PAUSE: Final = 1.0
"""Seconds before a call that was not answered is repeated; doubled each time."""

MAX_RESTARTS: Final = 3
"""Times that a list is begun again because its continue token expired."""

MAX_OWNERS: Final = 16
"""Namespaces whose ReplicaSets and Jobs are remembered: Pods are listed by namespace."""

MAX_PAGES_OF_OWNERS: Final = 40

MAX_LEFT_BEHIND: Final = 16
"""Calls that did not end in time and may still be under way; with so many, no other is made."""

FINISHED: Final = frozenset({"Succeeded", "Failed"})
HASH_LABEL: Final = "pod-template-hash"


class ReadApi(Protocol):
    """What is needed of the Kubernetes API; ``webhook.cluster.client.KubernetesApi`` is one."""

    def get(self, path: str, query: Mapping[str, str] | None = None) -> dict[str, Any]:
        """Return an object or a list."""
        ...  # pragma: no cover


class _Meta(ObjectMeta, rename="camel"):
    namespace: str = ""
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None
    owner_references: list[OwnerReference] | None = None


class _ContainerStatus(msgspec.Struct, gc=False):
    name: str = ""
    image_id: str = msgspec.field(default="", name="imageID")


class _Status(msgspec.Struct, rename="camel"):
    phase: str = ""
    container_statuses: list[_ContainerStatus] | None = None
    init_container_statuses: list[_ContainerStatus] | None = None
    ephemeral_container_statuses: list[_ContainerStatus] | None = None


class _Pod(msgspec.Struct):
    metadata: _Meta
    spec: Spec
    status: _Status | None = None


@dataclass(frozen=True, slots=True)
class _Page:
    items: Sequence[Any]
    token: str
    remaining: int | None


class PodReader:
    """Implements ``PodSource``: the Pods that have not ended, of some namespaces or of all."""

    def __init__(
        self,
        api: ReadApi,
        namespaces: Sequence[str] = (),
        selector: str = "",
        sleep: Callable[[float], None] | None = None,
    ) -> None:
        """Read ``namespaces``, all if there are none; ``selector`` is a label selector."""
        self._api = RetryingClient(api, sleep)
        self._namespaces = tuple(dict.fromkeys(namespaces))
        self._selector = selector
        self._owners = OwnerReader(self._api)

    def pages(self) -> Iterator[PodPage]:
        """Yield the Pods; see ``PodSource``. May be called again, and then reads all anew."""
        self._owners = OwnerReader(self._api)
        for namespace in self._namespaces or ("",):
            try:
                yield from self._pages_of(namespace)
            except ClusterError as error:
                yield PodPage(gaps=(_explain(error, namespace),))
        if self._owners.failure:
            yield PodPage(notes=(self._owners.failure,))

    def _pages_of(self, namespace: str) -> Iterator[PodPage]:
        where = f"/namespaces/{namespace}" if namespace else ""
        query = {"limit": str(PAGE_SIZE)} | ({"labelSelector": self._selector} if self._selector else {})
        seen = ""
        found = False
        token, restarts = "", 0
        while True:
            try:
                page = _read_page(
                    self._api, f"/api/v1{where}/pods", query | ({"continue": token} if token else {})
                )
            except ClusterError as error:
                if error.status != GONE or restarts >= MAX_RESTARTS:
                    raise
                # The token was too old. Lists come in the order of the keys in etcd, so this one goes
                # on behind the last Pod seen.
                token, restarts = "", restarts + 1
                yield PodPage(notes=("the list of Pods had to be begun again and is of several moments",))
                continue
            pods, gaps = [], []
            for item in page.items:
                pod, gap = self._convert(item)
                if gap:
                    gaps.append(gap)
                elif pod is not None and (not restarts or _key(item) > seen):
                    pods.append(pod)
            found = found or bool(page.items)
            if page.items:
                seen = max(seen, _key(page.items[-1]))
            yield PodPage(tuple(pods), page.remaining, tuple(gaps))
            token = page.token
            if not token:
                break
        if namespace and not found:
            yield from self._check_namespace(namespace)

    def _check_namespace(self, namespace: str) -> Iterator[PodPage]:
        """An empty list is all that the API server says of a namespace that is not there."""
        try:
            self._api.get(f"/api/v1/namespaces/{namespace}")
        except ClusterError as error:
            if error.status == NOT_FOUND:
                yield PodPage(gaps=(f"the namespace {namespace} does not exist, or not any more",))

    def _convert(self, item: Any) -> tuple[RunningPod | None, str]:
        try:
            pod = msgspec.convert(item, _Pod)
        except msgspec.ValidationError as error:
            return None, f"the Pod {_key(item)} cannot be read: {error}"
        status = pod.status if pod.status is not None else _Status()
        if status.phase in FINISHED:
            return None, ""
        meta = pod.metadata
        running = RunningPod(
            namespace=meta.namespace,
            name=meta.name,
            workload=self._owners.find(meta),
            uses=tuple(extract_images(TargetKind.POD, "Pod", KubernetesObject(spec=pod.spec)) or ()),
            digests=_digests(status),
            is_static=_is_static(meta),
        )
        return running, ""


def read_uses(api: ReadApi, page_size: int) -> Iterator[list[tuple[str, ImageUse]]]:
    """Yield, page by page, what Pods that have not ended use, with their namespaces.

    Pods that cannot be read are left out. The list may end early where its token expires.

    Raises:
        ClusterError: the API server refused or did not answer.
    """
    patient, token = RetryingClient(api), ""
    while True:
        query = {"limit": str(page_size)} | ({"continue": token} if token else {})
        page = _read_page(patient, "/api/v1/pods", query)
        uses: list[tuple[str, ImageUse]] = []
        for item in page.items:
            try:
                pod = msgspec.convert(item, _Pod)
            except msgspec.ValidationError:
                continue
            if pod.status is None or pod.status.phase not in FINISHED:
                found = extract_images(TargetKind.POD, "Pod", KubernetesObject(spec=pod.spec)) or ()
                uses += ((pod.metadata.namespace, use) for use in found)
        yield uses
        token = page.token
        if not token:
            return


class OwnerReader:
    """Finds the workload of a Pod: its ReplicaSet's Deployment, its Job's CronJob.

    One list per namespace instead of one call per ReplicaSet. Without the right to list them the
    names are guessed as controllers make them, and ``failure`` says so.
    """

    def __init__(self, api: ReadApi) -> None:
        """Read nothing yet."""
        self._api = api
        self._known: dict[tuple[str, str], dict[str, Workload]] = {}
        self.failure = ""

    def find(self, meta: _Meta) -> Workload:
        """Return the workload of a Pod with this metadata."""
        owner = _controller_of(meta)
        if owner is None:
            return Workload("Pod", meta.name, "v1", meta.uid)
        if owner.kind == "ReplicaSet":
            above = self._above("/apis/apps/v1", "replicasets", meta.namespace).get(owner.name)
            template = (meta.labels or {}).get(HASH_LABEL, "")
            if above is None and self.failure and template and owner.name.endswith(f"-{template}"):
                return Workload("Deployment", owner.name.removesuffix(f"-{template}"), "apps/v1")
            return above if above is not None else owner
        if owner.kind == "Job":
            return self._above("/apis/batch/v1", "jobs", meta.namespace).get(owner.name, owner)
        return owner

    def _above(self, api: str, resource: str, namespace: str) -> dict[str, Workload]:
        key = (resource, namespace)
        known = self._known.get(key)
        if known is None:
            if len(self._known) >= MAX_OWNERS:
                self._known.pop(next(iter(self._known)))
            known = self._known[key] = self._read(f"{api}/namespaces/{namespace}/{resource}")
        return known

    def _read(self, path: str) -> dict[str, Workload]:
        found: dict[str, Workload] = {}
        token = ""
        try:
            for _ in range(MAX_PAGES_OF_OWNERS):
                page = _read_page(self._api, path, {"limit": "500"} | ({"continue": token} if token else {}))
                for item in page.items:
                    meta = msgspec.convert(item.get("metadata", {}), _Meta)
                    owner = _controller_of(meta)
                    if owner is not None:
                        found[meta.name] = owner
                token = page.token
                if not token:
                    break
        except (ClusterError, msgspec.ValidationError, AttributeError) as error:
            self.failure = f"some workloads are named after their ReplicaSets or Jobs: {error}"
        return found


class RetryingClient:
    """A ``ReadApi`` whose calls end after a minute and are repeated where that may help."""

    def __init__(self, api: ReadApi, sleep: Callable[[float], None] | None = None) -> None:
        """Call ``api``."""
        self._api = api
        self._sleep = sleep or time.sleep
        self._under_way = threading.BoundedSemaphore(MAX_LEFT_BEHIND)

    def get(self, path: str, query: Mapping[str, str] | None = None) -> dict[str, Any]:
        """Return an object or a list, tried four times where the API server does not answer."""
        pause = FIRST_PAUSE
        for _ in range(TRIES - 1):
            try:
                return self._get_once(path, query)
            except ClusterError as error:
                if error.status not in TRANSIENT:
                    raise
            self._sleep(pause)
            pause *= 2
        return self._get_once(path, query)

    def _get_once(self, path: str, query: Mapping[str, str] | None) -> dict[str, Any]:
        # The client's limits count from byte to byte. A call that trickles is left behind in its
        # thread, of which there are only so many.
        if not self._under_way.acquire(blocking=False):
            raise ClusterError(0, f"{MAX_LEFT_BEHIND} calls to the API server hang, GET {path} is not made")
        done = threading.Event()
        outcome: list[dict[str, Any] | BaseException] = []

        def call() -> None:
            try:
                outcome.append(self._api.get(path, query))
            except Exception as error:  # noqa: BLE001 - raised again below, in the caller's thread
                outcome.append(error)
            finally:
                self._under_way.release()
            done.set()

        spawn(call, "kubernetes")
        if not done.wait(CALL_SECONDS):
            raise ClusterError(0, f"the API server did not answer GET {path} within {CALL_SECONDS:.0f} s")
        result = outcome[0]
        if isinstance(result, BaseException):
            raise result
        return result


def _read_page(api: ReadApi, path: str, query: Mapping[str, str]) -> _Page:
    answer = api.get(path, query)
    meta = answer.get("metadata") or {}
    remaining = meta.get("remainingItemCount")
    return _Page(
        items=answer.get("items") or (),
        token=str(meta.get("continue") or ""),
        remaining=remaining if isinstance(remaining, int) else (None if meta.get("continue") else 0),
    )


def _key(item: Any) -> str:
    """Return an object's key as etcd sorts it: ``a-b/x`` comes before ``a/x``."""
    meta = item.get("metadata") if isinstance(item, dict) else None
    meta = meta if isinstance(meta, dict) else {}
    return f"{meta.get('namespace', '')}/{meta.get('name', '')}"


def _controller_of(meta: _Meta) -> Workload | None:
    for reference in meta.owner_references or ():
        if reference.controller and reference.kind and reference.name:
            return Workload(reference.kind, reference.name, reference.api_version, reference.uid)
    return None


def _is_static(meta: _Meta) -> bool:
    owner = _controller_of(meta)
    return MIRROR_ANNOTATION in (meta.annotations or {}) and owner is not None and owner.kind == "Node"


def _digests(status: _Status) -> dict[tuple[str, str], str]:
    """Return what the node runs, by place.

    An ``imageID`` is ``host/name@sha256:...``, with ``docker-pullable://`` before it on old nodes;
    the ID of an image without a repository (``sha256:...`` alone) is no manifest's digest.
    """
    lists = (
        ("containers", status.container_statuses),
        ("initContainers", status.init_container_statuses),
        ("ephemeralContainers", status.ephemeral_container_statuses),
    )
    return {
        (name, container.name): container.image_id.rpartition("@")[2]
        for name, containers in lists
        for container in containers or ()
        if "@sha256:" in container.image_id
    }


def _explain(error: ClusterError, namespace: str) -> str:
    where = f"in the namespace {namespace}" if namespace else "in all namespaces"
    if error.status == FORBIDDEN:
        advice = (
            "you need the verb list on pods there" if namespace else "name some with -n, or get the right to"
        )
        return f"the API server does not let you list Pods {where}: {advice} ({error})"
    if error.status == GONE:
        return f"the list of Pods {where} expired again and again while it was read: {error}"
    return f"Pods {where} could not be read to the end: {error}"
