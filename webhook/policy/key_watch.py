"""Reads the key files of the policy in force again when they change, and when a key lapses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from webhook.file_stamps import Stamp, read_stamp
from webhook.policy.model import Policy
from webhook.policy.signing_keys import KeyState, has_lapsed, state_of

REREAD_INTERVAL: Final = 60.0
"""Seconds after which files are read again although their stamps are the same: those of a volume may be
coarse."""

_Stamps = tuple[tuple[Stamp | None, bool], ...]
"""For each key: the stamp of its file, ``None`` if there is none, and whether the key has lapsed."""


class KeyWatch:
    """Notices changes of key files. Files that cannot be used are read each time."""

    def __init__(self, refresh: Callable[[Policy, float], Policy], settle: Callable[[], object]) -> None:
        """Read files with ``refresh``, which is ``refresh_keys``, possibly in another thread.

        ``settle`` is called after a change is noticed and before the files are read, because one may still be
        written.
        """
        self._refresh = refresh
        self._settle = settle
        self._seen: _Stamps | None = None
        self._read_at = 0.0

    def check(self, policy: Policy, now: float) -> Policy:
        """Return the policy with the keys that count at ``now`` (epoch seconds).

        It is the same object if no key has changed. The first check reads all files: they may have changed
        since the policy was parsed.
        """
        stamps = _read_stamps(policy, now)
        if not stamps:
            return policy
        is_known = stamps == self._seen
        if is_known and not self._is_due(now) and not _has_unreadable(policy, now):
            return policy
        if not is_known and self._seen is not None:
            self._settle()
            stamps = _read_stamps(policy, now)
        # The stamps are older than the contents, so that a change during the reading is noticed.
        refreshed = self._refresh(policy, now)
        self._seen, self._read_at = stamps, now
        return refreshed

    def _is_due(self, now: float) -> bool:
        return not 0 <= now - self._read_at < REREAD_INTERVAL


def _read_stamps(policy: Policy, now: float) -> _Stamps:
    stamps: list[tuple[Stamp | None, bool]] = []
    for registry in policy.registries.registries:
        for key in registry.signing_keys:
            try:
                stamp = read_stamp(key.file)
            except (OSError, ValueError):
                stamp = None
            stamps.append((stamp, has_lapsed(key, now)))
    return tuple(stamps)


def _has_unreadable(policy: Policy, now: float) -> bool:
    return any(
        state_of(key, now) is KeyState.UNREADABLE
        for registry in policy.registries.registries
        for key in registry.signing_keys
    )
