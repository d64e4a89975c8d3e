"""Loads the policy of the commands that report on running Pods."""

from __future__ import annotations

import sys
import time

from webhook.audit.scanning import with_audit_limits
from webhook.policy.evidence_linting import find_unusable
from webhook.policy.loading import load_policy
from webhook.policy.model import Policy
from webhook.policy.signing_keys import any_file


def load_report_policy(config: str) -> Policy:
    """Return the policy with the limits of an audit.

    A signing key whose file cannot be used does not count, as in the webhook. It is named on standard error:
    a report is also for finding out what is wrong.

    Raises:
        ConfigError: the policy cannot be used.
    """
    policy = load_policy(config, may_be_unusable=any_file)
    for problem in find_unusable(policy, time.time()):
        print(f"warning: {problem}: it does not count", file=sys.stderr)
    return with_audit_limits(policy)
