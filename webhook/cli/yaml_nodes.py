"""YAML documents as trees: plain values, and the line of each.

Both are built from the same nodes, so that they always agree. Every node is counted, those behind an
alias each time it stands: a few lines of aliases can stand for billions of values.

Merge keys (``<<``, YAML 1.1) are followed, because kubectl, Helm and kustomize follow them. What is
written out counts before what is merged in. Where a merge comes after a key that it holds, too, readers
differ (Go's YAML 2, which kubectl uses, takes the later one): such a document is refused, for an image
must not be judged under another name than the one that is applied.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

import yaml

from webhook.errors import ManifestError

MAX_DEPTH: Final = 200
MAX_NODES: Final = 500_000
"""Of one document; the largest custom resource definitions have some ten thousand."""

_YAML: Final = "tag:yaml.org,2002:"
_MERGE: Final = f"{_YAML}merge"
NULL: Final = f"{_YAML}null"

_READ_ALIKE: Final = frozenset(
    f"{_YAML}{name}" for name in ("str", "int", "float", "bool", "null", "timestamp", "map", "seq")
)
"""Tags whose values every reader takes as they are written."""


class YamlDocument:
    """One document of the file ``name``."""

    def __init__(self, name: str, root: yaml.Node) -> None:
        """Keep the root; nothing is built yet."""
        self.root = root
        self._name = name
        self._left = MAX_NODES
        self._entries: dict[int, dict[str, yaml.Node]] = {}
        self._opening: set[int] = set()

    def to_python(self, node: yaml.Node | None = None) -> Any:
        """Return a node, by default the whole document, as dictionaries, lists, text and ``None``.

        What is null in a mapping is left out: to the API server it is absent.

        Raises:
            ManifestError: it is nested too deeply, stands for too much, merges what cannot be, or has
                an explicit tag that kubectl reads otherwise.
        """
        return self._plain(node if node is not None else self.root, 0)

    def child(self, node: yaml.Node | None, key: str) -> yaml.Node | None:
        """Return what a mapping holds under a key, ``None`` where there is neither."""
        return self._open(node).get(key) if isinstance(node, yaml.MappingNode) else None

    def text(self, node: yaml.Node, key: str) -> str:
        """Return the text that a mapping holds under a key, empty where there is none.

        Raises:
            ManifestError: it has an explicit tag that kubectl reads otherwise.
        """
        value = self.child(node, key)
        if value is None or value.tag == NULL:
            return ""
        self._check_tag(value)
        return value.value if isinstance(value, yaml.ScalarNode) else ""

    def line(self, node: yaml.Node, field: str) -> int:
        """Return the line of a path such as ``spec.containers[0].image``, or of what is nearest."""
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
        """Return what a mapping holds, merges included, by its keys."""
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
                    raise self._error(
                        key, "the tag '!!merge' is read otherwise by kubectl: write << as the key"
                    )
                merged = self._merge(value)
                twice = next((name for name in merged if name in entries), None)
                if twice is not None:
                    raise self._error(
                        key, f"the merge key comes after {twice!r:.80}, which it holds, too: write it first"
                    )
                entries.update(merged)
            elif isinstance(key, yaml.ScalarNode):
                self._check_tag(key)
                # Keys are always names here; a later duplicate wins, as it does for kubectl.
                entries[key.value] = value
        self._opening.discard(id(node))
        self._entries[id(node)] = entries
        return entries

    def _merge(self, value: yaml.Node) -> dict[str, yaml.Node]:
        merged: dict[str, yaml.Node] = {}
        # Of several mappings the earlier ones count first.
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
        """Refuse a tag such as ``!!binary``: kubectl decodes its value, so it applies another text."""
        if node.tag not in _READ_ALIKE:
            tag = node.tag.replace(_YAML, "!!")
            raise self._error(
                node, f"the tag {tag!r:.80} is read otherwise by kubectl: write the value without it"
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
