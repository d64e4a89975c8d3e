"""The policy file of a process that serves."""

from __future__ import annotations

from webhook.app.native_threads import NativeThreads
from webhook.policy.loading import parse_policy
from webhook.policy.reloading import PolicyFile
from webhook.recorder import Recorder


def open_policy_file(path: str, recorder: Recorder) -> PolicyFile:
    """Load the policy; changes are parsed in a native thread, because a large policy takes seconds.

    Raises:
        ConfigError: the policy cannot be used.
    """
    parser = NativeThreads(1)
    return PolicyFile(path, recorder, parse=lambda data: parser.run(lambda: parse_policy(data)))
