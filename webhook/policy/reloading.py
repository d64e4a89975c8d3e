"""The policy of a running process: a changed file takes effect, a broken one changes nothing."""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Protocol

from webhook.errors import ConfigError, Problem
from webhook.policy.linting import expiring
from webhook.policy.loading import MAX_BYTES, parse_policy
from webhook.policy.model import Policy

logger = logging.getLogger(__name__)

INTERVAL: Final = 2.0
"""Seconds between looks at the file."""

NOTICE_INTERVAL: Final = 86400.0
"""Seconds between two log lines about exemptions that end soon."""


class PolicyRecorder(Protocol):
    """Is told how the configuration fares."""

    def policy_loaded(self, version: str, at: float) -> None:
        """Take note that the policy of this version is in force since ``at`` in epoch seconds."""
        ...  # pragma: no cover

    def policy_rejected(self) -> None:
        """Take note that a changed file cannot be used."""
        ...  # pragma: no cover

    def exemptions_ending(self, soon: int, ended: int) -> None:
        """Take note of how many exemptions end within 14 days, and how many have ended."""
        ...  # pragma: no cover


class PolicyFile:
    """Holds the policy in force; ``current`` is replaced as a whole."""

    def __init__(
        self,
        path: str,
        recorder: PolicyRecorder,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Load the file at ``path``.

        Raises:
            ConfigError: it cannot be used.
        """
        self._path = Path(path)
        self._recorder = recorder
        self._clock = clock
        self._subscribers: list[Callable[[Policy], None]] = []
        self._notice_at = float("-inf")
        data = self._read()
        self.current = parse_policy(data)
        self.problems: Sequence[Problem] = ()
        self._seen = hashlib.sha256(data).digest()
        self._recorder.policy_loaded(self.current.version, self._clock())
        self._note_endings()

    def on_change(self, subscriber: Callable[[Policy], None]) -> None:
        """Call ``subscriber`` with each new policy, before it is in force."""
        self._subscribers.append(subscriber)

    def check(self) -> bool:
        """Look at the file; return whether another policy is in force now.

        By its content, for a ConfigMap volume swaps a symlink on the way. The same broken content
        is complained of once.
        """
        self._note_endings()
        try:
            data = self._read()
        except ConfigError as error:
            self._reject(error.problems, b"")
            return False
        seen = hashlib.sha256(data).digest()
        if seen == self._seen:
            return False
        try:
            policy = parse_policy(data)
        except ConfigError as error:
            self._reject(error.problems, seen)
            return False
        for subscriber in self._subscribers:
            subscriber(policy)
        self._seen = seen
        self.current = policy
        self.problems = ()
        self._recorder.policy_loaded(policy.version, self._clock())
        self._notice_at = float("-inf")
        logger.info("the policy has changed", extra={"policy": policy.version})
        return True

    def watch(self, stop: threading.Event, interval: float = INTERVAL) -> None:
        """Look at the file again and again until ``stop`` is set."""
        while not stop.wait(interval):
            try:
                self.check()
            except Exception:
                logger.exception("failed to look at the policy")

    def _read(self) -> bytes:
        try:
            with self._path.open("rb") as stream:
                return stream.read(MAX_BYTES + 1)
        except OSError as error:
            raise ConfigError([Problem("", f"{self._path} cannot be read: {error.strerror}")]) from None

    def _reject(self, problems: Sequence[Problem], seen: bytes) -> None:
        if self.problems and self._seen == seen:
            return
        if tuple(problems) == tuple(self.problems):
            return
        self.problems = tuple(problems)
        if seen:
            self._seen = seen
        self._recorder.policy_rejected()
        logger.error(
            "the changed policy cannot be used; the last good one stays in force",
            extra={"policy": self.current.version, "problems": [str(problem) for problem in problems]},
        )

    def _note_endings(self) -> None:
        now = self._clock()
        if now - self._notice_at < NOTICE_INTERVAL:
            return
        self._notice_at = now
        ending = expiring(self.current, now)
        ended = [exemption.name for exemption, left in ending if left < 0]
        soon = [exemption.name for exemption, left in ending if left >= 0]
        self._recorder.exemptions_ending(len(soon), len(ended))
        if ending:
            logger.warning("exemptions end soon or have ended", extra={"soon": soon, "ended": ended})
