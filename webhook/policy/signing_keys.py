"""The files of signing keys. They are read with the policy, and again whenever they change.

A key whose file cannot be used does not count, and ``SigningKey.problem`` is the reason. That is an error
when a configuration is parsed, and not when only the files are read again.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import replace
from enum import StrEnum
from typing import Final

from webhook.errors import SigningKeyError
from webhook.policy.model import Policy
from webhook.registries import RegistryTable, SignatureSettings, SigningKey
from webhook.signatures.pem import MAX_KEY_FILE
from webhook.small_files import read_at_once

LAPSE_NOTICE: Final = 14 * 86400.0
"""Seconds before it lapses from which a key causes a warning."""


class KeyState(StrEnum):
    """Whether a key counts. The values are labels of a metric."""

    COUNTING = "counting"
    UNREADABLE = "unreadable"
    """Its file is missing, or does not contain a public key that can be used."""
    LAPSED = "lapsed"
    """Its last day has ended."""


class KeyReader:
    """Reads key files as they are at one time, each of them once."""

    def __init__(self, now: float) -> None:
        """Read for the time ``now``, in epoch seconds: lapsed keys are not read and do not count."""
        self.now = now
        self._files: dict[str, bytes | str] = {}

    def read(self, settings: SignatureSettings) -> SignatureSettings:
        """Return the settings with the content, or the problem, of each key."""
        return replace(settings, keys=tuple(self.read_keys(settings.keys)))

    def read_keys(self, keys: Sequence[SigningKey]) -> list[SigningKey]:
        """Return the keys of one registry with their contents and problems.

        The second of two keys with the same content does not count, so that one signature is not counted for
        two keys.
        """
        first: dict[bytes, str] = {}
        read: list[SigningKey] = []
        for key in keys:
            if has_lapsed(key, self.now):
                read.append(replace(key, content=b"", problem=f"lapsed on {last_day(key)}"))
                continue
            content = self._file(key.file)
            if isinstance(content, str):
                read.append(replace(key, content=b"", problem=content))
            elif content in first:
                problem = f"contains the same key as {first[content]}: remove one of them"
                read.append(replace(key, content=b"", problem=problem))
            else:
                first[content] = key.name
                read.append(replace(key, content=content, problem=""))
        return read

    def _file(self, path: str) -> bytes | str:
        """Return the key in a file, in DER, or the problem."""
        if path not in self._files:
            try:
                self._files[path] = _read_key(path)
            except SigningKeyError as error:
                self._files[path] = str(error)
        return self._files[path]


def refresh_keys(policy: Policy, now: float) -> Policy:
    """Return the policy with its key files read again; the same object if nothing has changed.

    No file is an error: a key that cannot be read does not count any longer.
    """
    reader = KeyReader(now)
    registries = tuple(
        replace(registry, signatures=reader.read(registry.signatures)) if registry.signatures else registry
        for registry in policy.registries.registries
    )
    if registries == policy.registries.registries:
        return policy
    return replace(policy, registries=RegistryTable.of(registries))


def no_file(path: str) -> bool:
    """Return ``False``: each key file must be usable."""
    del path
    return False


def any_file(path: str) -> bool:
    """Return ``True``: no key file needs to be usable."""
    del path
    return True


def has_lapsed(key: SigningKey, now: float) -> bool:
    """Return whether the last day of a key has ended at ``now``, in epoch seconds."""
    return key.not_after is not None and now >= key.not_after


def last_day(key: SigningKey) -> dt.date:
    """Return the last day on which a key counts, in UTC, for messages; the key must have one."""
    assert key.not_after is not None
    # A second is subtracted, so that the end of a day is shown as that day.
    return dt.datetime.fromtimestamp(max(0.0, key.not_after - 1), dt.UTC).date()


def lapsing_keys(policy: Policy, now: float) -> Iterator[tuple[int, int, SigningKey, float]]:
    """Yield the keys that lapse within the notice period or have lapsed, with the seconds left.

    The first two are the positions of the registry and of the key.
    """
    for index, registry in enumerate(policy.registries.registries):
        for position, key in enumerate(registry.signing_keys):
            if key.not_after is not None and key.not_after - now <= LAPSE_NOTICE:
                yield index, position, key, key.not_after - now


def state_of(key: SigningKey, now: float) -> KeyState:
    """Return whether a key counts, and if not, why."""
    if key.content:
        return KeyState.COUNTING
    return KeyState.LAPSED if has_lapsed(key, now) else KeyState.UNREADABLE


def _read_key(path: str) -> bytes:
    """Return the public key of a file, in DER.

    Raises:
        SigningKeyError: the file cannot be read or used.
    """
    # It takes 8 MB, and most installations have no signing keys.
    from webhook.signatures.keys import read_public_key  # noqa: PLC0415

    try:
        data = read_at_once(path, MAX_KEY_FILE + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is not a path"
        raise SigningKeyError(f"cannot be read ({reason}): mount the file, or correct the path") from None
    return read_public_key(data).der
