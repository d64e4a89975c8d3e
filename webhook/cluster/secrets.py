"""A Secret that several replicas write by compare-and-swap."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from webhook.cluster.client import CONFLICT, NOT_FOUND, KubernetesApi
from webhook.errors import ClusterError


@dataclass(frozen=True, slots=True)
class StoredSecret:
    """A Secret as it was read. ``obj`` is ``None`` if it does not exist."""

    data: Mapping[str, bytes]
    obj: dict[str, Any] | None


class SharedSecret:
    """One Secret, by namespace and name. Needs ``get``, ``create`` and ``update``."""

    def __init__(self, api: KubernetesApi, namespace: str, name: str) -> None:
        """Use this Secret only."""
        self._api = api
        self._collection = f"/api/v1/namespaces/{namespace}/secrets"
        self.namespace = namespace
        self.name = name

    def read(self) -> StoredSecret:
        """Return its content, without entries that are not Base64.

        Raises:
            ClusterError: the API server refused or did not respond.
        """
        try:
            obj = self._api.get(f"{self._collection}/{self.name}")
        except ClusterError as error:
            if error.status == NOT_FOUND:
                return StoredSecret({}, None)
            raise
        data = {}
        for key, text in (obj.get("data") or {}).items():
            try:
                data[key] = base64.b64decode(text, validate=True)
            except (binascii.Error, TypeError, ValueError):
                continue
        return StoredSecret(data, obj)

    def write(self, before: StoredSecret, data: Mapping[str, bytes]) -> bool:
        """Replace its data with ``data``; all other fields stay.

        Returns ``False`` if another replica has written it since ``before`` was read.

        Raises:
            ClusterError: the API server refused or did not respond.
        """
        encoded = {key: base64.b64encode(value).decode() for key, value in data.items()}
        try:
            if before.obj is None:
                self._api.create(
                    self._collection,
                    {
                        "apiVersion": "v1",
                        "kind": "Secret",
                        "metadata": {"name": self.name},
                        "type": "Opaque",
                        "data": encoded,
                    },
                )
            else:
                self._api.replace(f"{self._collection}/{self.name}", {**before.obj, "data": encoded})
        except ClusterError as error:
            if error.status in (CONFLICT, NOT_FOUND):
                return False
            raise
        return True
