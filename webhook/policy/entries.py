"""Entries of the lists of a configuration file, as it was read: before or beside its validation."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from webhook.errors import Problem
from webhook.policy.document import join_path


def entries_of(value: dict[str, Any], key: str, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the mappings of a list, each with its path; ``path`` is that of ``value``."""
    entries = value.get(key)
    for index, entry in enumerate(entries if isinstance(entries, list) else ()):
        if isinstance(entry, dict):
            yield join_path(join_path(path, key), index), entry


def check_unique_names(entries: Iterator[tuple[str, dict[str, Any]]]) -> Iterator[Problem]:
    """Yield a problem for each entry that has the name of an earlier one."""
    seen: set[str] = set()
    for path, entry in entries:
        name = entry.get("name")
        if isinstance(name, str) and name.strip():
            if name.strip() in seen:
                yield Problem(
                    join_path(path, "name"), "is also the name of an entry above: give each a unique name"
                )
            seen.add(name.strip())
