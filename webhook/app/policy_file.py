"""The policy file of a process that serves."""

from __future__ import annotations

from collections.abc import Callable

from webhook.app.native_threads import NativeThreads
from webhook.app.policy_child import parse_here
from webhook.policy.model import Policy
from webhook.policy.reloading import PolicyFile
from webhook.policy.signing_keys import refresh_keys
from webhook.recorder import Recorder


def open_policy_file(
    path: str, recorder: Recorder, parse_first: Callable[[bytes], Policy] = parse_here
) -> PolicyFile:
    """Load the policy; changes are read in a native thread, because a large policy takes seconds.

    Raises:
        ConfigError: the policy cannot be used.
    """
    parser = NativeThreads(1)
    return PolicyFile(
        path,
        recorder,
        parse=lambda data, may_be_unusable: parser.run(lambda: parse_here(data, may_be_unusable)),
        parse_first=parse_first,
        refresh=lambda policy, now: parser.run(lambda: refresh_keys(policy, now)),
    )
