"""Checks that the files of signing keys can be used, when a configuration is read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from webhook.errors import Problem
from webhook.policy.document import join_path, quote_key
from webhook.policy.entries import entries_of
from webhook.policy.quantities import parse_expiry
from webhook.policy.signing_keys import KeyReader, has_lapsed
from webhook.registries import SigningKey


def check_key_files(
    value: dict[str, Any], reader: KeyReader, may_be_unusable: Callable[[str], bool]
) -> Iterator[Problem]:
    """Yield the problems of the key files of all registries. Lapsed keys have none."""
    for path, entry in entries_of(value, "registries"):
        signatures = entry.get("signatures")
        if not isinstance(signatures, dict):
            continue
        entries = [
            (below, key)
            for below, key in entries_of(signatures, "keys", join_path(path, "signatures"))
            if isinstance(key.get("file"), str) and key["file"].startswith("/")
        ]
        read = reader.read_keys(
            [SigningKey(quote_key(str(key.get("name"))), key["file"], _not_after(key)) for _, key in entries]
        )
        for (below, _), key in zip(entries, read, strict=True):
            if key.problem and not has_lapsed(key, reader.now) and not may_be_unusable(key.file):
                yield Problem(join_path(below, "file"), key.problem)


def _not_after(key: dict[str, Any]) -> float | None:
    """Return the time from which a key does not count, ``None`` also if the schema rejects its value."""
    try:
        return parse_expiry(key["notAfter"]).timestamp() if "notAfter" in key else None
    except ValueError:
        return None
