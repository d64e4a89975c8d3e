"""Manifests on disk or standard input, with the line of every field.

Reads multi-document YAML and JSON, Lists of any kind, and the output of ``helm template`` and
``kustomize build``. Documents are composed into node trees first, because only nodes know their
lines; the plain values are built from the same tree, so that both always agree.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec
import yaml

from webhook.admission.decision import Effect, JudgedUse
from webhook.admission.objects import KubernetesObject
from webhook.admission.uses import PODS, WORKLOADS, ImageUse, Subject, find_uses
from webhook.errors import ManifestError
from webhook.policy.findings import Mode

MAX_BYTES: Final = 64 * 1024 * 1024
"""Of one file: a rendered chart is a few hundred kilobytes."""

MAX_DEPTH: Final = 200
MAX_NODES: Final = 2_000_000
"""Of one document, aliases counted each time: a few lines of aliases can stand for billions."""

SUFFIXES: Final = (".yaml", ".yml", ".json")

_RESOURCE_OF: Final = {kind: resource for resource, kind in WORKLOADS.items()}


@dataclass(frozen=True, slots=True)
class Manifest:
    """One object of a file.

    ``uses`` are its image uses; ``lines`` the line of each, counted from 1. ``namespace`` is empty
    where the object names none.
    """

    file: str
    line: int
    kind: str
    name: str
    namespace: str
    uses: tuple[ImageUse, ...]
    lines: tuple[int, ...]
    subject: Subject


@dataclass(frozen=True, slots=True)
class ReviewedUse:
    """One image use of a manifest, judged; ``line`` is where it stands in the file."""

    manifest: Manifest
    line: int
    judged: JudgedUse

    @property
    def is_enforced(self) -> bool:
        """Whether the policy's modes refuse it, or the Pod of its template, today."""
        return self.judged.effect is Effect.DENY or self.judged.mode is Mode.ENFORCE


def read_manifests(paths: Sequence[str]) -> Iterator[Manifest]:
    """Yield every object that holds images, of files, folders and ``-`` for standard input.

    Raises:
        ManifestError: a file cannot be read, is no YAML, or holds an object that cannot be judged.
    """
    for path in paths:
        if path == "-":
            yield from _read_text("<stdin>", sys.stdin.buffer.read(MAX_BYTES + 1))
        else:
            for file in _files_of(Path(path)):
                try:
                    with file.open("rb") as stream:
                        data = stream.read(MAX_BYTES + 1)
                except OSError as error:
                    raise ManifestError(f"{file}: {error.strerror or error}") from None
                yield from _read_text(str(file), data)


def _files_of(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    return sorted(file for file in path.rglob("*") if file.suffix in SUFFIXES and file.is_file())


def _read_text(name: str, data: bytes) -> Iterator[Manifest]:
    if len(data) > MAX_BYTES:
        raise ManifestError(f"{name}: larger than {MAX_BYTES // 2**20} MiB")
    loader = yaml.CSafeLoader(data)
    try:
        while loader.check_node():
            node = loader.get_node()
            if node is not None:
                yield from _objects_of(name, node)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark is not None else 1
        raise ManifestError(f"{name}:{line}: {error.problem or 'no YAML'}") from None
    except yaml.YAMLError as error:
        raise ManifestError(f"{name}: {error}".replace("\n", " ")) from None
    except RecursionError:
        raise ManifestError(f"{name}: nested too deeply") from None
    finally:
        loader.dispose()


def _objects_of(name: str, node: yaml.Node) -> Iterator[Manifest]:
    value = _plain(node, name)
    if value is None:
        return
    if not isinstance(value, dict):
        raise ManifestError(f"{name}:{node.start_mark.line + 1}: not a Kubernetes object: no mapping")
    yield from _object(name, node, value)


def _object(name: str, node: yaml.Node, value: dict[str, Any]) -> Iterator[Manifest]:
    kind = value.get("kind")
    api_version = value.get("apiVersion")
    line = node.start_mark.line + 1
    if not isinstance(kind, str) or not isinstance(api_version, str):
        raise ManifestError(f"{name}:{line}: not a Kubernetes object: it needs apiVersion and kind")
    items = value.get("items")
    if kind.endswith("List") and isinstance(items, list):
        nodes = _child(node, "items")
        for item, item_node in zip(items, nodes.value if nodes is not None else (), strict=True):
            if isinstance(item, dict):
                # Items of a typed list (a PodList) need not repeat their kind.
                item.setdefault("kind", kind.removesuffix("List"))
                item.setdefault("apiVersion", api_version)
                yield from _object(name, item_node, item)
        return
    subject = _subject_of(kind, api_version)
    if subject is None:
        return
    try:
        thing = msgspec.convert(value, KubernetesObject, strict=False)
    except msgspec.ValidationError as error:
        raise ManifestError(f"{name}:{line}: this {kind} cannot be read: {error}") from None
    uses = find_uses(subject, kind, thing)
    if uses is None:
        raise ManifestError(f"{name}:{line}: this {kind} has no Pod spec")
    metadata = value.get("metadata")
    namespace = metadata.get("namespace") if isinstance(metadata, dict) else None
    meta = thing.metadata
    object_name = "" if meta is None else meta.name or (meta.generate_name and f"{meta.generate_name}*")
    yield Manifest(
        file=name,
        line=line,
        kind=kind,
        name=object_name,
        namespace=namespace if isinstance(namespace, str) else "",
        uses=tuple(uses),
        lines=tuple(_line_of(node, use.field) for use in uses),
        subject=subject,
    )


def _subject_of(kind: str, api_version: str) -> Subject | None:
    group, slash, version = api_version.rpartition("/")
    if version != "v1" or (slash and not group):
        return None
    if kind == "Pod" and group == PODS[0]:
        return Subject.POD
    resource = _RESOURCE_OF.get(kind)
    return Subject.WORKLOAD if resource is not None and resource[0] == group else None


def _plain(node: yaml.Node, name: str) -> Any:
    budget = MAX_NODES

    def build(part: yaml.Node, depth: int) -> Any:
        nonlocal budget
        budget -= 1
        if budget < 0 or depth > MAX_DEPTH:
            raise ManifestError(f"{name}:{part.start_mark.line + 1}: nested too deeply, or too many aliases")
        if isinstance(part, yaml.MappingNode):
            # Keys are always names here; a later duplicate wins, as it does for kubectl.
            return {
                key.value: build(value, depth + 1)
                for key, value in part.value
                if isinstance(key, yaml.ScalarNode)
            }
        if isinstance(part, yaml.SequenceNode):
            return [build(item, depth + 1) for item in part.value]
        return None if part.tag == "tag:yaml.org,2002:null" else part.value

    return build(node, 0)


def _child(node: yaml.Node | None, key: str) -> yaml.Node | None:
    if not isinstance(node, yaml.MappingNode):
        return None
    found = None
    for name, value in node.value:
        if isinstance(name, yaml.ScalarNode) and name.value == key:
            found = value
    return found


def _line_of(node: yaml.Node, field: str) -> int:
    """Return the line of a field path such as ``spec.containers[0].image``, or of what is nearest."""
    place: yaml.Node = node
    for name, index in re.findall(r"([A-Za-z]+)|\[(\d+)\]", field):
        inner: yaml.Node | None
        if name:
            inner = _child(place, name)
        elif isinstance(place, yaml.SequenceNode) and int(index) < len(place.value):
            inner = place.value[int(index)]
        else:
            inner = None
        if inner is None:
            break
        place = inner
    return int(place.start_mark.line) + 1
