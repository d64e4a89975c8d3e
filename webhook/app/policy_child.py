"""The first parse of the policy file, in a child process.

The libraries that read and check a configuration take 7 MB, and most processes end before their policy
changes. The child parses while this process imports its other modules.
"""

from __future__ import annotations

import os
import pickle
import threading
from collections.abc import Callable

from gevent.monkey import get_original

from webhook.errors import ConfigError
from webhook.policy.files import read_file
from webhook.policy.model import Policy
from webhook.policy.signing_keys import no_file


def parse_here(data: bytes, may_be_unusable: Callable[[str], bool] = no_file) -> Policy:
    """Parse a policy in this process; see ``parse_policy``.

    Raises:
        ConfigError: the policy cannot be used.
    """
    from webhook.policy.loading import parse_policy  # noqa: PLC0415 - it takes 7 MB, see above

    return parse_policy(data, may_be_unusable)


class PolicyChild:
    """A child process that parses one file. If it fails in any way, this process parses the file itself."""

    def __init__(self, path: str) -> None:
        """Start the child for the file at ``path``.

        There is none if this process has threads: a child has only the current one, and could wait for locks
        of the others.
        """
        self._child = 0
        reading, writing = os.pipe()
        self._output = os.fdopen(reading, "rb")
        # Closed as a file, because gevent's os.close() closes nothing before its loop runs.
        with os.fdopen(writing, "wb") as answer:
            if threading.active_count() == 1:
                try:
                    self._child = _fork()
                except OSError:
                    return
                if self._child == 0:
                    _run_child(path, answer.fileno())

    def parse(self, data: bytes) -> Policy:
        """Return the policy of the file's content; called once.

        Raises:
            ConfigError: the policy cannot be used.
        """
        with self._output as stream:
            answer = stream.read()
        if self._wait() or not answer:
            return parse_here(data)
        seen, outcome = pickle.loads(answer)  # noqa: S301 - from this program itself
        if seen != data:
            return parse_here(data)
        if isinstance(outcome, ConfigError):
            raise outcome
        policy: Policy = outcome
        return policy

    def _wait(self) -> int:
        """Wait for the end of the child; return 0 if it has succeeded, or if there is none."""
        try:
            return os.waitpid(self._child, 0)[1] if self._child else 0
        except ChildProcessError:  # this process was started with SIGCHLD ignored
            return 1


def _fork() -> int:
    """Fork without gevent, which would start its loop before the server forks."""
    child: int = get_original("os", "fork")()
    return child


def _run_child(path: str, output: int) -> None:
    """Send the content of the file and the outcome, and end this process, also after an error."""
    code = 1
    try:
        data = read_file(path)
        try:
            outcome: Policy | ConfigError = parse_here(data)
        except ConfigError as error:
            outcome = error
        with os.fdopen(output, "wb") as stream:
            pickle.dump((data, outcome), stream)
        code = 0
    finally:
        os._exit(code)
