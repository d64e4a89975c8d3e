"""Reads manifests from files or standard input, with the line of every field.

Reads multi-document YAML and JSON, Lists of any kind, and the output of ``helm template`` and
``kustomize build``.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec
import yaml

from webhook.admission.decision import Effect, ImageResult
from webhook.admission.extraction import PODS, WORKLOADS, ImageUse, TargetKind, extract_images
from webhook.admission.objects import KubernetesObject, ObjectMeta, OwnerReference
from webhook.cli.yaml_nodes import NULL, YamlDocument, line_of
from webhook.errors import InvalidReferenceError, ManifestError
from webhook.images.reference import DEFAULT_TAG, parse_reference
from webhook.policy.findings import Mode

MAX_BYTES: Final = 64 * 1024 * 1024
"""Size limit of one file. A rendered chart has a few hundred kilobytes."""

SUFFIXES: Final = (".yaml", ".yml", ".json")

RECIPES: Final = frozenset({"kustomization.yaml", "kustomization.yml"})
"""Files of a folder that describe how objects are built; they are not objects themselves."""

_RESOURCE_OF: Final = {kind: resource for resource, kind in WORKLOADS.items()}


class _Meta(ObjectMeta, rename="camel"):
    """Declares unused fields, too, because the API server rejects other types in them."""

    annotations: dict[str, str] | None = None
    owner_references: list[OwnerReference] | None = None


class _Object(KubernetesObject):
    metadata: _Meta | None = None


@dataclass(frozen=True, slots=True)
class Manifest:
    """One object of a file.

    ``uses`` are its image uses, ``lines`` the line of each, counted from 1. ``namespace`` is empty
    if the object has none.
    """

    file: str
    line: int
    kind: str
    name: str
    namespace: str
    uses: tuple[ImageUse, ...]
    lines: tuple[int, ...]
    target: TargetKind


@dataclass(frozen=True, slots=True)
class ReviewedUse:
    """The evaluated image use of a manifest; ``line`` is its line in the file.

    ``pinned`` is the digest that the webhook writes into its Pods, ``None`` if it does not pin the image.
    """

    manifest: Manifest
    line: int
    result: ImageResult
    pinned: str | None = None

    @property
    def is_enforced(self) -> bool:
        """Whether the policy's current mode denies the object, or the Pods of its template."""
        return self.result.effect is Effect.DENY or self.result.mode is Mode.ENFORCE


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A file, or an object in it, that cannot be evaluated; ``problem`` says where and why."""

    file: str
    line: int
    problem: str


@dataclass(frozen=True, slots=True)
class UnknownKind:
    """An object that creates Pods, of a kind that the webhook does not know."""

    file: str
    line: int
    kind: str
    name: str


@dataclass(frozen=True, slots=True)
class WithoutImages:
    """An object without images, such as a ConfigMap or a Service."""


Read = Manifest | Unreadable | UnknownKind | WithoutImages
"""The result of reading one object."""


def read_manifests(paths: Sequence[str]) -> Iterator[Read]:
    """Yield every object of files, folders and ``-`` for standard input.

    Objects that cannot be read are yielded as ``Unreadable``. Reading continues after them unless the
    YAML itself is broken.

    Raises:
        ManifestError: a path is empty.
    """
    for path in paths:
        if not path:
            raise ManifestError("a FILE is empty: check whether a variable is not set")
        if path == "-":
            yield from _read_text("<stdin>", sys.stdin.buffer.read(MAX_BYTES + 1))
        else:
            for file in _files_of(Path(path)):
                try:
                    with file.open("rb") as stream:
                        data = stream.read(MAX_BYTES + 1)
                except OSError as error:
                    yield Unreadable(str(file), 1, f"{file}: {error.strerror or error}")
                else:
                    yield from _read_text(str(file), data)


def _files_of(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    return sorted(
        file
        for file in path.rglob("*")
        if file.suffix in SUFFIXES and file.name not in RECIPES and file.is_file()
    )


def _read_text(name: str, data: bytes) -> Iterator[Read]:
    if len(data) > MAX_BYTES:
        yield Unreadable(name, 1, f"{name}: larger than {MAX_BYTES // 2**20} MiB")
        return
    loader = yaml.CSafeLoader(data)
    try:
        while loader.check_node():
            node = loader.get_node()
            if node is not None:
                yield from _objects_of(name, YamlDocument(name, node))
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark is not None else 1
        yield Unreadable(name, line, f"{name}:{line}: {error.problem or 'not YAML'}")
    except yaml.YAMLError as error:
        yield Unreadable(name, 1, f"{name}: {error}".replace("\n", " "))
    except RecursionError:
        yield Unreadable(name, 1, f"{name}: nested too deeply")
    finally:
        loader.dispose()


def _objects_of(name: str, document: YamlDocument) -> Iterator[Read]:
    root = document.root
    if isinstance(root, yaml.MappingNode):
        yield from _object(name, document, root)
    elif root.tag != NULL:
        line = line_of(root)
        yield Unreadable(name, line, f"{name}:{line}: not a Kubernetes object: it is not a mapping")


def _object(
    name: str, document: YamlDocument, node: yaml.Node, implied: tuple[str, str] = ("", "")
) -> Iterator[Read]:
    """Yield an object, or the items of a List; ``implied`` is the kind and version of a typed item."""
    line = line_of(node)
    try:
        kind = document.text(node, "kind") or implied[0]
        api_version = document.text(node, "apiVersion") or implied[1]
        items = document.child(node, "items")
    except ManifestError as error:
        yield Unreadable(name, line, str(error))
        return
    if not kind or not api_version:
        problem = f"{name}:{line}: not a Kubernetes object: it needs apiVersion and kind"
        yield Unreadable(name, line, problem)
        return
    if kind.endswith("List") and isinstance(items, yaml.SequenceNode):
        for item in items.value:
            if isinstance(item, yaml.MappingNode):
                # Items of a typed list (a PodList) need not repeat their kind.
                yield from _object(name, document, item, (kind.removesuffix("List"), api_version))
        return
    try:
        yield _read_object(name, document, node, kind, api_version)
    except ManifestError as error:
        yield Unreadable(name, line, str(error))


def _read_object(name: str, document: YamlDocument, node: yaml.Node, kind: str, api_version: str) -> Read:
    line = line_of(node)
    value = document.to_python(node)
    target = _target_of(kind, api_version)
    if target is None:
        metadata = value.get("metadata")
        named = metadata.get("name") if isinstance(metadata, dict) else ""
        return UnknownKind(name, line, kind, str(named or "")) if _makes_pods(value) else WithoutImages()
    try:
        obj = msgspec.convert(value, _Object, strict=False)
    except msgspec.ValidationError as error:
        raise ManifestError(f"{name}:{line}: this {kind} cannot be read: {error}") from None
    uses = extract_images(target, kind, obj)
    if uses is None:
        raise ManifestError(f"{name}:{line}: this {kind} has no Pod spec")
    metadata = value.get("metadata")
    namespace = metadata.get("namespace") if isinstance(metadata, dict) else None
    meta = obj.metadata
    object_name = "" if meta is None else meta.name or (meta.generate_name and f"{meta.generate_name}*")
    return Manifest(
        file=name,
        line=line,
        kind=kind,
        name=object_name or "",
        namespace=namespace if isinstance(namespace, str) else "",
        uses=tuple(map(_with_pull_policy, uses)),
        lines=tuple(document.line(node, use.field) for use in uses),
        target=target,
    )


def _makes_pods(value: Any) -> bool:
    """Whether an object of an unknown kind contains a list of containers with images.

    The schema of a custom resource only describes such a list and does not contain one.
    """
    pending = [value]
    while pending:
        found = pending.pop()
        if isinstance(found, dict):
            containers = found.get("containers")
            if isinstance(containers, list) and any(
                isinstance(one, dict) and isinstance(one.get("image"), str) for one in containers
            ):
                return True
            pending += found.values()
        elif isinstance(found, list):
            pending += found
    return False


def _with_pull_policy(use: ImageUse) -> ImageUse:
    """Return a use with the pull policy that the API server sets before it calls a webhook.

    Source: Kubernetes documentation, Images, Default image pull policy; it depends on the tag only.
    """
    if use.pull_policy:
        return use
    try:
        latest = parse_reference(use.image).tag == DEFAULT_TAG
    except InvalidReferenceError:
        latest = False
    return msgspec.structs.replace(use, pull_policy="Always" if latest else "IfNotPresent")


def _target_of(kind: str, api_version: str) -> TargetKind | None:
    group, slash, version = api_version.rpartition("/")
    if version != "v1" or (slash and not group):
        return None
    if kind == "Pod" and group == PODS[0]:
        return TargetKind.POD
    resource = _RESOURCE_OF.get(kind)
    return TargetKind.WORKLOAD if resource is not None and resource[0] == group else None
