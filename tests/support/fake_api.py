"""A fake Kubernetes API. It stands alone because the client takes a third of a second to import."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

from webhook.cluster.client import JSON_PATCH, KubernetesApi
from webhook.errors import ClusterError


class FakeApi(KubernetesApi):
    """The part of the Kubernetes API that Secrets need, in memory.

    ``before_write`` is called once, right before the next write. It simulates a write by another client.
    """

    def __init__(self) -> None:
        self.objects: dict[str, dict[str, Any]] = {}
        self.writes = 0
        self.down = False
        self.before_write: Callable[[], object] | None = None

    def get(self, path: str, query: Mapping[str, str] | None = None) -> dict[str, Any]:
        self._answer()
        if path not in self.objects:
            raise ClusterError(404, f"{path} not found")
        return copy.deepcopy(self.objects[path])

    def create(self, path: str, obj: Mapping[str, Any]) -> dict[str, Any]:
        return self._write(f"{path}/{obj['metadata']['name']}", dict(obj), "")

    def replace(self, path: str, obj: Mapping[str, Any]) -> dict[str, Any]:
        return self._write(path, dict(obj), obj["metadata"].get("resourceVersion", ""))

    def patch(self, path: str, change: Any, content_type: str = JSON_PATCH) -> dict[str, Any]:
        obj = self.get(path)
        for step in change:
            *parents, last = step["path"].strip("/").split("/")
            target: Any = obj
            for part in parents:
                target = target[int(part) if isinstance(target, list) else part]
            if step["op"] == "test" and target[last] != step["value"]:
                raise ClusterError(422, "the test of a patch failed")
            if step["op"] == "add":
                target[last] = step["value"]
        return self._write(path, obj, obj["metadata"]["resourceVersion"])

    def put(self, path: str, obj: dict[str, Any]) -> None:
        """Store an object, also over an existing one."""
        self.writes += 1
        meta = {**obj["metadata"], "resourceVersion": str(self.writes)}
        self.objects[path] = {**copy.deepcopy(obj), "metadata": meta}

    def _write(self, path: str, obj: dict[str, Any], version: str) -> dict[str, Any]:
        self._answer()
        if self.before_write is not None:
            other, self.before_write = self.before_write, None
            other()
        known = self.objects.get(path)
        if (known["metadata"]["resourceVersion"] if known is not None else "") != version:
            raise ClusterError(409, f"{path} has been modified")
        self.put(path, obj)
        return copy.deepcopy(self.objects[path])

    def _answer(self) -> None:
        if self.down:
            raise ClusterError(0, "the API server did not answer")
