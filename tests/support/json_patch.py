"""Application of a JSON Patch as the API server does, for the two operations that the webhook uses."""

from __future__ import annotations

import base64
import copy
import json
from collections.abc import Mapping
from typing import Any


def patch_of(response: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the operations of a response of ``/mutate``, none if it has no patch."""
    assert ("patch" in response) is ("patchType" in response)
    if "patch" not in response:
        return []
    assert response["patchType"] == "JSONPatch"
    operations: list[dict[str, Any]] = json.loads(base64.b64decode(response["patch"], validate=True))
    return operations


def apply_patch(obj: Any, operations: list[dict[str, Any]]) -> Any:
    """Return a patched copy of an object.

    Source: RFC 6902, sections 4.3 and 4.6. Any other operation, and a failed test, is an error.
    """
    patched = copy.deepcopy(obj)
    for operation in operations:
        *parents, last = operation["path"].split("/")[1:]
        target: Any = patched
        for part in parents:
            target = target[int(part)] if isinstance(target, list) else target[part]
        assert set(operation) == {"op", "path", "value"}
        if operation["op"] == "test":
            assert target[last] == operation["value"]
        else:
            assert operation["op"] == "replace"
            assert last in target
            target[last] = operation["value"]
    return patched
