"""Manifests on disk or standard input, with the line of every field.

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

from webhook.admission.decision import Effect, JudgedUse
from webhook.admission.objects import KubernetesObject
from webhook.admission.uses import PODS, WORKLOADS, ImageUse, Subject, find_uses
from webhook.cli.trees import Tree, line_of
from webhook.errors import InvalidReferenceError, ManifestError
from webhook.images.reference import DEFAULT_TAG, parse_reference
from webhook.policy.findings import Mode

MAX_BYTES: Final = 64 * 1024 * 1024
"""Of one file: a rendered chart is a few hundred kilobytes."""

SUFFIXES: Final = (".yaml", ".yml", ".json")

RECIPES: Final = frozenset({"kustomization.yaml", "kustomization.yml"})
"""Files of a folder that say how objects are made and are none; they need not name a kind."""

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
        if not path:
            raise ManifestError("a file without a name: is a variable empty?")
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
    return sorted(
        file
        for file in path.rglob("*")
        if file.suffix in SUFFIXES and file.name not in RECIPES and file.is_file()
    )


def _read_text(name: str, data: bytes) -> Iterator[Manifest]:
    if len(data) > MAX_BYTES:
        raise ManifestError(f"{name}: larger than {MAX_BYTES // 2**20} MiB")
    loader = yaml.CSafeLoader(data)
    try:
        while loader.check_node():
            node = loader.get_node()
            if node is not None:
                yield from _objects_of(name, Tree(name, node))
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark is not None else 1
        raise ManifestError(f"{name}:{line}: {error.problem or 'no YAML'}") from None
    except yaml.YAMLError as error:
        raise ManifestError(f"{name}: {error}".replace("\n", " ")) from None
    except RecursionError:
        raise ManifestError(f"{name}: nested too deeply") from None
    finally:
        loader.dispose()


def _objects_of(name: str, tree: Tree) -> Iterator[Manifest]:
    value = tree.plain()
    if value is None:
        return
    if not isinstance(value, dict):
        raise ManifestError(f"{name}:{line_of(tree.root)}: not a Kubernetes object: no mapping")
    yield from _object(name, tree, tree.root, value)


def _object(name: str, tree: Tree, node: yaml.Node, value: dict[str, Any]) -> Iterator[Manifest]:
    kind = value.get("kind")
    api_version = value.get("apiVersion")
    line = line_of(node)
    if not isinstance(kind, str) or not isinstance(api_version, str):
        raise ManifestError(f"{name}:{line}: not a Kubernetes object: it needs apiVersion and kind")
    items = value.get("items")
    if kind.endswith("List") and isinstance(items, list):
        nodes = tree.child(node, "items")
        for item, item_node in zip(items, nodes.value if nodes is not None else (), strict=True):
            if isinstance(item, dict):
                # Items of a typed list (a PodList) need not repeat their kind.
                item.setdefault("kind", kind.removesuffix("List"))
                item.setdefault("apiVersion", api_version)
                yield from _object(name, tree, item_node, item)
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
        uses=tuple(map(_with_pull_policy, uses)),
        lines=tuple(tree.line(node, use.field) for use in uses),
        subject=subject,
    )


def _with_pull_policy(use: ImageUse) -> ImageUse:
    """Return a use with the pull policy that the API server fills in before it asks a webhook.

    Source: Kubernetes documentation, Images, Default image pull policy; it goes by the tag alone.
    """
    if use.pull_policy:
        return use
    try:
        latest = parse_reference(use.image).tag == DEFAULT_TAG
    except InvalidReferenceError:
        latest = False
    return msgspec.structs.replace(use, pull_policy="Always" if latest else "IfNotPresent")


def _subject_of(kind: str, api_version: str) -> Subject | None:
    group, slash, version = api_version.rpartition("/")
    if version != "v1" or (slash and not group):
        return None
    if kind == "Pod" and group == PODS[0]:
        return Subject.POD
    resource = _RESOURCE_OF.get(kind)
    return Subject.WORKLOAD if resource is not None and resource[0] == group else None
