"""The findings: what can be said about one use of an image."""

from __future__ import annotations

from enum import StrEnum


class Finding(StrEnum):
    """Exactly one per image use; the values are stable names in metrics, logs and output."""

    TRUSTED = "trusted"
    UNTRUSTED = "untrusted"
    MISSING = "missing"
    DIGEST_MISMATCH = "digest-mismatch"
    INVALID = "invalid"
    UNMANAGED = "unmanaged"
    EXEMPT = "exempt"
    UNKNOWN = "unknown"


class Mode(StrEnum):
    """What is done about a finding that refuses."""

    ENFORCE = "enforce"
    WARN = "warn"
    AUDIT = "audit"
