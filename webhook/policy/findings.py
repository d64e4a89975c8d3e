"""Findings of images, and modes."""

from __future__ import annotations

from enum import StrEnum


class Finding(StrEnum):
    """The finding of one image use. The values are public: metrics, logs and command output."""

    TRUSTED = "trusted"
    UNTRUSTED = "untrusted"
    MISSING = "missing"
    DIGEST_MISMATCH = "digest-mismatch"
    INVALID = "invalid"
    UNMANAGED = "unmanaged"
    EXEMPT = "exempt"
    UNKNOWN = "unknown"


class Mode(StrEnum):
    """The enforcement mode: deny, warn about or only record an image that fails evaluation."""

    ENFORCE = "enforce"
    WARN = "warn"
    AUDIT = "audit"
