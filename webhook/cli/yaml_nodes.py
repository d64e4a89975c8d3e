"""YAML documents as nodes: the values of a manifest, and the line of each.

Values and lines come from the same nodes, so that they always agree. Every node is counted, and a node
behind an alias once for each use, because a few lines of aliases can expand to billions of values.

Merge keys (``<<``, YAML 1.1) are followed, because kubectl, Helm and kustomize follow them. Keys of the
mapping itself override merged ones. If a merge comes after a key that it also contains, readers differ
(Go's YAML 2, which kubectl uses, takes the later one). Such a document is rejected, so that the image that
is evaluated is always the image that is applied.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

import yaml

from webhook.errors import ManifestError

MAX_DEPTH: Final = 200
MAX_NODES: Final = 500_000
"""Limit of one document. The largest custom resource definitions have about ten thousand."""

_YAML: Final = "tag:yaml.org,2002:"
_MERGE: Final = f"{_YAML}merge"
NULL: Final = f"{_YAML}null"

_READ_ALIKE: Final = frozenset(
    f"{_YAML}{name}" for name in ("str", "int", "float", "bool", "null", "timestamp", "map", "seq")
)
"""Tags that do not change how any reader interprets the value."""


class YamlDocument:
    """One document of the file ``name``."""

    def __init__(self, name: str, root: yaml.Node) -> None:
        """Keep the root. Values are built on demand."""
        self.root = root
        self._name = name
        self._left = MAX_NODES
        self._entries: dict[int, dict[str, yaml.Node]] = {}
        self._opening: set[int] = set()

    def to_python(self, node: yaml.Node | None = None) -> Any:
        """Return a node, by default the whole document, as dictionaries, lists, text and ``None``.

        Keys whose value is null are omitted, as the API server treats them as absent.

        Raises:
            ManifestError: it is nested too deeply, has too many nodes, merges a value that is not a
                mapping, or has an explicit tag that kubectl reads differently.
        """
        return self._plain(node if node is not None else self.root, 0)

    def child(self, node: yaml.Node | None, key: str) -> yaml.Node | None:
        """Return the value of a key, ``None`` if the node is not a mapping or has no such key."""
        return self._open(node).get(key) if isinstance(node, yaml.MappingNode) else None

    def text(self, node: yaml.Node, key: str) -> str:
        """Return the text of a key, empty if there is none.

        Raises:
            ManifestError: it has an explicit tag that kubectl reads differently.
        """
        value = self.child(node, key)
        if value is None or value.tag == NULL:
            return ""
        self._check_tag(value)
        return value.value if isinstance(value, yaml.ScalarNode) else ""

    def line(self, node: yaml.Node, field: str) -> int:
        """Return the line of a path such as ``spec.containers[0].image``, or of its nearest parent."""
        place = node
        for name, index in re.findall(r"([A-Za-z]+)|\[(\d+)\]", field):
            inner: yaml.Node | None = None
            if name:
                inner = self.child(place, name)
            elif isinstance(place, yaml.SequenceNode) and int(index) < len(place.value):
                inner = place.value[int(index)]
            if inner is None:
                break
            place = inner
        return line_of(place)

    def _plain(self, node: yaml.Node, depth: int) -> Any:
        self._count(1, node)
        if depth > MAX_DEPTH:
            raise self._error(node, "nested too deeply, or too many aliases")
        self._check_tag(node)
        if isinstance(node, yaml.MappingNode):
            return {
                key: to_python
                for key, value in self._open(node).items()
                if (to_python := self._plain(value, depth + 1)) is not None
            }
        if isinstance(node, yaml.SequenceNode):
            return [self._plain(item, depth + 1) for item in node.value]
        return None if node.tag == NULL else node.value

    def _open(self, node: yaml.MappingNode) -> dict[str, yaml.Node]:
        """Return the entries of a mapping by key, merged ones included."""
        known = self._entries.get(id(node))
        if known is not None:
            return known
        if id(node) in self._opening:
            raise self._error(node, "a mapping merges itself")
        self._opening.add(id(node))
        entries: dict[str, yaml.Node] = {}
        for key, value in node.value:
            if key.tag == _MERGE:
                if key.value != "<<":
                    raise self._error(key, "kubectl reads the tag '!!merge' differently: write << as the key")
                merged = self._merge(value)
                twice = next((name for name in merged if name in entries), None)
                if twice is not None:
                    raise self._error(
                        key,
                        f"the merge key comes after {twice!r:.80}, which it also contains: write << first",
                    )
                entries.update(merged)
            elif isinstance(key, yaml.ScalarNode):
                self._check_tag(key)
                # Keys are always names here. A later duplicate wins, as for kubectl.
                entries[key.value] = value
        self._opening.discard(id(node))
        self._entries[id(node)] = entries
        return entries

    def _merge(self, value: yaml.Node) -> dict[str, yaml.Node]:
        merged: dict[str, yaml.Node] = {}
        # Of several mappings, the first one wins.
        for source in reversed(list(self._sources(value))):
            held = self._open(source)
            self._count(len(held), source)
            merged.update(held)
        return merged

    def _sources(self, value: yaml.Node) -> Iterator[yaml.MappingNode]:
        for source in value.value if isinstance(value, yaml.SequenceNode) else [value]:
            if not isinstance(source, yaml.MappingNode):
                raise self._error(source, "a merge key takes a mapping, or a list of mappings")
            yield source

    def _check_tag(self, node: yaml.Node) -> None:
        """Reject a tag such as ``!!binary``, because kubectl decodes its value and applies another text."""
        if node.tag not in _READ_ALIKE:
            tag = node.tag.replace(_YAML, "!!")
            raise self._error(
                node, f"kubectl reads the tag {tag!r:.80} differently: write the value without it"
            )

    def _count(self, nodes: int, where: yaml.Node) -> None:
        self._left -= nodes
        if self._left < 0:
            raise self._error(where, "nested too deeply, or too many aliases")

    def _error(self, node: yaml.Node, message: str) -> ManifestError:
        return ManifestError(f"{self._name}:{line_of(node)}: {message}")


def line_of(node: yaml.Node) -> int:
    """Return the line at which a node begins, counted from 1."""
    return int(node.start_mark.line) + 1
