"""The webhook reads every image field of every Kubernetes version; a new one fails here."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest

from tests.support.builders import request
from tests.support.kubernetes_versions import SUPPORTED
from webhook.admission.extraction import WORKLOADS, TargetKind, extract_images

SCHEMAS = Path(kubernetes_validate.__file__).parent / "kubernetes-json-schema"
VERSIONS = [f"v{version}.0-local" for version in SUPPORTED]
POD_SPEC = "io.k8s.api.core.v1.PodSpec"

READ = {
    *(
        f"{name}.{field}"
        for name in ("containers", "initContainers", "ephemeralContainers")
        for field in ("image", "imagePullPolicy")
    ),
    "volumes.image",
    "volumes.image.reference",
    "volumes.image.pullPolicy",
}
HARMLESS = {
    "imagePullSecrets",  # credentials of the node, by the name of a Secret
    "imagePullSecrets.name",
    "volumes.rbd.image",  # a block device of Ceph
}


def definitions(version: str) -> dict[str, Any]:
    """Return the schemas of a Kubernetes version."""
    loaded: dict[str, Any] = json.loads((SCHEMAS / version / "_definitions.json").read_text(encoding="utf-8"))
    return dict(loaded["$defs"])


def walk(schemas: dict[str, Any], name: str, path: str = "", above: tuple[str, ...] = ()) -> Iterator[str]:
    """Yield the path of every field below a definition."""
    if name in above:
        return
    for key, schema in schemas[name].get("properties", {}).items():
        here = f"{path}.{key}" if path else key
        yield here
        for inner in references(schema):
            yield from walk(schemas, inner, here, (*above, name))


def references(schema: Any) -> Iterator[str]:
    """Yield the definitions to which a schema refers."""
    if isinstance(schema, dict):
        for key, value in schema.items():
            if key == "$ref":
                yield str(value).rpartition("/")[2]
            else:
                yield from references(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from references(value)


@pytest.mark.parametrize("version", VERSIONS)
def test_every_image_field_of_pod_is_read(version: str) -> None:
    """In every known version of Kubernetes, a Pod has images in the four places and nowhere else."""
    found = {
        path
        for path in walk(definitions(version), POD_SPEC)
        if "image" in path.lower() or path.endswith(".reference")
    }
    assert found <= READ | HARMLESS
    assert found >= {"containers.image", "initContainers.image", "ephemeralContainers.image"}


@pytest.mark.parametrize("version", VERSIONS)
def test_every_kind_with_pod_template_is_known(version: str) -> None:
    """A built-in kind that creates Pods is evaluated, or listed here with the reason why not."""
    schemas = definitions(version)
    kinds = {
        schema["x-kubernetes-group-version-kind"][0]["kind"]
        for name, schema in schemas.items()
        if "x-kubernetes-group-version-kind" in schema
        and not name.endswith("List")
        and any(path.endswith("containers.image") for path in walk(schemas, name))
    }
    assert kinds - {"Pod", "PodTemplate"} == set(WORKLOADS.values())


def test_image_volumes_of_newest_version_are_read() -> None:
    """The search above finds them in the schema at the path from which they are read."""
    paths = set(walk(definitions(VERSIONS[-1]), POD_SPEC))
    assert {"volumes.image.reference", "volumes.image.pullPolicy"} <= paths
    obj = {"spec": {"volumes": [{"name": "v", "image": {"reference": "a:1", "pullPolicy": "Always"}}]}}
    uses = extract_images(TargetKind.POD, "Pod", request(obj).object)
    assert uses is not None
    (use,) = uses
    assert (use.field, use.image, use.pull_policy) == ("spec.volumes[0].image.reference", "a:1", "Always")
