"""A fake API server with lists: pages, expired tokens and missing rights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from webhook.errors import ClusterError


class FakeLists:
    """Implements ``ReadApi``: collections by path, split into pages of ``size``.

    ``failures`` maps the number of a call, counted from 1, to the exception that it raises.
    """

    def __init__(self, collections: Mapping[str, list[dict[str, Any]]], size: int = 2) -> None:
        self.collections = dict(collections)
        self.objects: dict[str, dict[str, Any]] = {}
        self.calls: list[str] = []
        self.queries: list[dict[str, str]] = []
        self.failures: dict[int, ClusterError] = {}
        self.before: Callable[[str], object] = lambda _path: None
        self._size = size

    def get(self, path: str, query: Mapping[str, str] | None = None) -> dict[str, Any]:
        self.calls.append(path)
        self.queries.append(dict(query or {}))
        self.before(path)
        if len(self.calls) in self.failures:
            raise self.failures[len(self.calls)]
        if path in self.objects:
            return self.objects[path]
        if path not in self.collections:
            if query is None:
                raise ClusterError(404, f"{path} not found")
            return {"items": [], "metadata": {}}
        asked = query or {}
        items, start = self.collections[path], int(asked.get("continue", "0"))
        end = start + min(self._size, int(asked.get("limit", self._size)))
        rest = items[end:]
        meta: dict[str, Any] = {}
        if rest:
            meta = {"continue": str(end), "remainingItemCount": len(rest)}
        return {"items": items[start:end], "metadata": meta}


def pod(name: str, namespace: str = "shop", image: str = "nginx", **changes: Any) -> dict[str, Any]:
    """Return a Pod as the API server lists it."""
    status = {"phase": "Running", **changes.pop("status", {})}
    return {
        "metadata": {"name": name, "namespace": namespace, **changes},
        "spec": {"containers": [{"name": "main", "image": image}]},
        "status": status,
    }


def owned_by(kind: str, name: str) -> dict[str, Any]:
    """Return the metadata of a controller's object."""
    return {"ownerReferences": [{"apiVersion": "v1", "kind": kind, "name": name, "controller": True}]}


class FakeCluster(FakeLists):
    """An API server that lists Pods and accepts Events and, with ``reports``, policy reports."""

    def __init__(self, pods: list[dict[str, Any]], size: int = 2, *, reports: bool = False) -> None:
        super().__init__({"/api/v1/pods": pods}, size)
        self.created: list[Mapping[str, Any]] = []
        self.applied: dict[str, Mapping[str, Any]] = {}
        if reports:
            self.objects["/apis/openreports.io/v1alpha1"] = {"resources": [{"name": "reports"}]}

    def create(self, path: str, obj: Mapping[str, Any]) -> dict[str, Any]:
        self.created.append(obj)
        return {}

    def list_metadata(self, path: str, query: Mapping[str, str]) -> dict[str, Any]:
        return {"items": [{"metadata": obj["metadata"]} for obj in self.applied.values()]}

    def apply(self, path: str, obj: Mapping[str, Any], manager: str) -> dict[str, Any]:
        self.applied[path] = obj
        return {}

    def delete(self, path: str) -> dict[str, Any]:
        del self.applied[path]
        return {}
