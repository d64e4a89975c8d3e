"""Reloading of the policy: a valid changed file takes effect, an invalid one is ignored.

The files of signing keys are different: a key whose file cannot be used no longer counts. A changed policy
must not add such a key, but it may keep one.
"""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Final

from webhook.errors import ConfigError, Problem
from webhook.policy.files import read_file
from webhook.policy.key_reports import NOTICE_INTERVAL, KeyReports
from webhook.policy.key_watch import KeyWatch
from webhook.policy.linting import expiring
from webhook.policy.model import Policy
from webhook.policy.signing_keys import KeyState, no_file, refresh_keys, state_of
from webhook.recorder import Recorder

logger = logging.getLogger(__name__)

INTERVAL: Final = 2.0
"""Seconds between checks of the file."""

DEBOUNCE: Final = 0.1
"""Seconds after which a changed file is read again; if it differs, it is still being written."""


class PolicyFile:
    """The policy in force: ``current``, which is replaced atomically.

    ``problems`` has the reasons if the content of the file is not in force; otherwise it is empty.
    """

    def __init__(
        self,
        path: str,
        recorder: Recorder,
        clock: Callable[[], float] = time.time,
        pause: Callable[[float], object] | None = None,
        *,
        parse: Callable[[bytes, Callable[[str], bool]], Policy],
        parse_first: Callable[[bytes], Policy] | None = None,
        refresh: Callable[[Policy, float], Policy] = refresh_keys,
    ) -> None:
        """Load the file at ``path``. ``clock`` is in epoch seconds; ``pause`` sleeps.

        ``parse`` parses the file after a change, possibly in another thread. Its second argument says which
        key files may be unusable. ``parse_first`` parses it now; without it, ``parse`` does. ``refresh``
        reads key files again, possibly in another thread.

        Raises:
            ConfigError: the file cannot be used.
        """
        self._path = path
        self._recorder = recorder
        self._clock = clock
        self._pause = pause or time.sleep
        self._parse = parse
        self._subscribers: list[Callable[[Policy], None]] = []
        self._noticed_at = float("-inf")
        data = read_file(path)
        self.current = parse_first(data) if parse_first is not None else parse(data, no_file)
        self.problems: Sequence[Problem] = ()
        self._in_force = _fingerprint(data)
        self._rejected = b""
        self._keys = KeyWatch(refresh, lambda: self._pause(DEBOUNCE))
        self._key_reports = KeyReports(recorder)
        self._unapplied: tuple[Problem, ...] = ()
        self._recorder.policy_loaded(self.current.version, self._clock())
        self._key_reports.report(self.current, None, self._clock())
        self._record_expiry()

    def on_change(self, subscriber: Callable[[Policy], None]) -> None:
        """Call ``subscriber`` with each new policy, before it is in force.

        If it raises ``ConfigError``, the last good policy stays. If only signing keys have changed, the new
        policy is in force nevertheless, and the subscriber is called again at the next check.
        """
        self._subscribers.append(subscriber)

    def check(self) -> bool:
        """Check the file and those of signing keys; return whether another policy is in force now.

        The content is compared. The same invalid content is reported once.
        """
        try:
            changed = self._read_changes()
        finally:
            # A key that vanishes must no longer count, even if the policy file is invalid.
            refreshed = self._refresh_keys()
            self._record_expiry()
        return changed or refreshed

    def watch(
        self,
        stop: threading.Event,
        interval: float = INTERVAL,
        changed: Callable[[], object] = lambda: None,
    ) -> None:
        """Check the file every ``interval`` seconds until ``stop`` is set.

        ``changed`` is called when another policy is in force.
        """
        while not stop.wait(interval):
            try:
                if self.check():
                    changed()
            except Exception:
                logger.exception("failed to check the policy file")

    def _read_changes(self) -> bool:
        seen = b""
        try:
            data = read_file(self._path)
            fingerprint = _fingerprint(data)
            if fingerprint == self._in_force:
                self._restore()
                return False
            if fingerprint == self._rejected:
                return False
            self._pause(DEBOUNCE)
            if read_file(self._path) != data:
                return False
            seen = fingerprint
            policy = self._parse(data, self._unusable_files().__contains__)
            seen = b""  # a missing credential may appear without a change of this file
            for subscriber in self._subscribers:
                subscriber(policy)
        except ConfigError as error:
            self._reject(b"" if error.depends_on_files else seen, error.problems)
            return False
        before, self.current = self.current, policy
        self._in_force = fingerprint
        self.problems, self._rejected, self._unapplied = (), b"", ()
        self._noticed_at = float("-inf")
        self._recorder.policy_loaded(policy.version, self._clock())
        logger.info("the policy has changed", extra={"policy": policy.version, "mode": policy.mode.value})
        self._key_reports.report(policy, before, self._clock())
        return True

    def _unusable_files(self) -> set[str]:
        """Return the key files that cannot be used now.

        A changed policy may name them, too: it may be the remedy, such as an exemption.
        """
        return {
            key.file
            for registry in self.current.registries.registries
            for key in registry.signing_keys
            if state_of(key, self._clock()) is KeyState.UNREADABLE
        }

    def _refresh_keys(self) -> bool:
        """Let no key count that has vanished or lapsed, and each that is readable again."""
        now = self._clock()
        before = self.current
        policy = self._keys.check(before, now)
        if policy is before and not self._unapplied:
            return False
        problems: tuple[Problem, ...] = ()
        try:
            for subscriber in self._subscribers:
                subscriber(policy)
        except ConfigError as error:
            problems = error.problems
        finally:
            self.current = policy
        if problems and problems != self._unapplied:
            logger.error(
                "the changed signing keys are in force, but a registry cannot be opened",
                extra={"policy": policy.version, "problems": [str(problem) for problem in problems]},
            )
        self._unapplied = problems
        if policy is before:
            return False
        self._key_reports.report(policy, before, now)
        return True

    def _restore(self) -> None:
        """Record that the content of the file is in force again."""
        if self.problems:
            self.problems, self._rejected = (), b""
            self._recorder.policy_loaded(self.current.version, self._clock())
            logger.info(
                "the policy file again contains the policy in force", extra={"policy": self.current.version}
            )

    def _reject(self, seen: bytes, problems: Sequence[Problem]) -> None:
        """Keep the policy; ``seen`` is the fingerprint of the invalid content, empty if a retry may help."""
        known = not seen and tuple(problems) == tuple(self.problems)
        self.problems, self._rejected = tuple(problems), seen
        if known:
            return
        self._recorder.policy_rejected()
        logger.error(
            "the changed policy cannot be used; the last good one stays in force",
            extra={"policy": self.current.version, "problems": [str(problem) for problem in problems]},
        )

    def _record_expiry(self) -> None:
        now = self._clock()
        self._key_reports.remind(self.current, now)
        ending = expiring(self.current, now)
        ended = [exemption.name for exemption, left in ending if left <= 0]
        soon = [exemption.name for exemption, left in ending if left > 0]
        self._recorder.exemptions_expiring(len(soon), len(ended))
        if ending and now - self._noticed_at >= NOTICE_INTERVAL:
            self._noticed_at = now
            logger.warning("exemptions end soon or have ended", extra={"soon": soon, "ended": ended})


def _fingerprint(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()
