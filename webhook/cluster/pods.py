"""Running Pods, read in pages."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import msgspec
from cachetools import FIFOCache

from webhook.admission.extraction import MIRROR_ANNOTATION, ImageUse, extract_pod_images
from webhook.admission.objects import ObjectMeta, OwnerReference, Spec, controller_of
from webhook.audit.pods import PodPage, RunningPod, Workload
from webhook.cluster.client import FORBIDDEN, GONE, NOT_FOUND, ReadApi, RetryingClient, read_pages
from webhook.errors import ClusterError

PAGE_SIZE: Final = 250
"""Pods of one page: 2 to 5 MB."""

MAX_RESTARTS: Final = 3
"""How often a list is restarted because its continue token expired."""

MAX_OWNERS: Final = 16
"""Namespaces whose ReplicaSets and Jobs are cached; Pods are listed by namespace."""

MAX_PAGES_OF_OWNERS: Final = 40

FINISHED: Final = frozenset({"Succeeded", "Failed"})
HASH_LABEL: Final = "pod-template-hash"


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


class PodReader:
    """Implements ``PodSource``: Pods that have not ended, in some or all namespaces."""

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
        """Yield the Pods; see ``PodSource``. Each call reads them again."""
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
        restarts = 0
        pages = read_pages(self._api.get, f"/api/v1{where}/pods", query)
        while True:
            try:
                page = next(pages, None)
            except ClusterError as error:
                if error.status != GONE or restarts >= MAX_RESTARTS:
                    raise
                # The token has expired. Lists are in the order of the keys in etcd, so the new one continues
                # after the last Pod seen.
                restarts += 1
                pages = read_pages(self._api.get, f"/api/v1{where}/pods", query)
                yield PodPage(notes=("the list of Pods was restarted, so its Pods are of several moments",))
                continue
            if page is None:
                break
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
        if namespace and not found:
            yield from self._check_namespace(namespace)

    def _check_namespace(self, namespace: str) -> Iterator[PodPage]:
        """Yield a gap if the namespace does not exist; the API server returns an empty list then."""
        try:
            self._api.get(f"/api/v1/namespaces/{namespace}")
        except ClusterError as error:
            if error.status == NOT_FOUND:
                yield PodPage(gaps=(f"the namespace {namespace} does not exist, or no longer",))

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
            uses=tuple(extract_pod_images(pod.spec)),
            digests=_digests(status),
            is_static=_is_static(meta),
        )
        return running, ""


def read_uses(api: ReadApi, page_size: int) -> Iterator[list[tuple[str, ImageUse]]]:
    """Yield, page by page, the images of Pods that have not ended, with their namespaces.

    Pods that cannot be parsed are left out.

    Raises:
        ClusterError: the API server refused or did not respond, or the list has expired.
    """
    for page in read_pages(RetryingClient(api).get, "/api/v1/pods", {"limit": str(page_size)}):
        uses: list[tuple[str, ImageUse]] = []
        for item in page.items:
            try:
                pod = msgspec.convert(item, _Pod)
            except msgspec.ValidationError:
                continue
            if pod.status is None or pod.status.phase not in FINISHED:
                uses += ((pod.metadata.namespace, use) for use in extract_pod_images(pod.spec))
        yield uses


class OwnerReader:
    """Finds the workload of a Pod: its ReplicaSet's Deployment, its Job's CronJob.

    It makes one list per namespace instead of one call per ReplicaSet. Without the right to list them, names
    are derived as controllers create them, and ``failure`` says so.
    """

    def __init__(self, api: ReadApi) -> None:
        """Read nothing yet."""
        self._api = api
        self._known: FIFOCache[tuple[str, str], dict[str, Workload]] = FIFOCache(MAX_OWNERS)
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
            known = self._known[key] = self._read(f"{api}/namespaces/{namespace}/{resource}")
        return known

    def _read(self, path: str) -> dict[str, Workload]:
        found: dict[str, Workload] = {}
        try:
            for page in read_pages(self._api.get, path, {"limit": "500"}, MAX_PAGES_OF_OWNERS):
                for item in page.items:
                    meta = msgspec.convert(item.get("metadata", {}), _Meta)
                    owner = _controller_of(meta)
                    if owner is not None:
                        found[meta.name] = owner
        except (ClusterError, msgspec.ValidationError, AttributeError) as error:
            self.failure = f"some workloads are named after their ReplicaSets or Jobs: {error}"
        return found


def _key(item: Any) -> str:
    """Return an object's key as etcd sorts it: ``a-b/x`` comes before ``a/x``."""
    meta = item.get("metadata") if isinstance(item, dict) else None
    meta = meta if isinstance(meta, dict) else {}
    return f"{meta.get('namespace', '')}/{meta.get('name', '')}"


def _controller_of(meta: _Meta) -> Workload | None:
    owner = controller_of(meta.owner_references)
    return None if owner is None else Workload(owner.kind, owner.name, owner.api_version, owner.uid)


def _is_static(meta: _Meta) -> bool:
    owner = _controller_of(meta)
    return MIRROR_ANNOTATION in (meta.annotations or {}) and owner is not None and owner.kind == "Node"


def _digests(status: _Status) -> dict[tuple[str, str], str]:
    """Return the digests that the node runs, by list and container.

    An ``imageID`` is ``host/name@sha256:...``, on old nodes with the prefix ``docker-pullable://``. The ID of
    an image without a repository (``sha256:...`` alone) is not the digest of a manifest.
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
