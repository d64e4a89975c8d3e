"""The real cosign, versions 3 and 2, and real registries, and the samples that they made.

``SIGNING_KIT`` and ``SIGNING_SAMPLES`` name their folders.
"""

from __future__ import annotations

import os
from pathlib import Path

VARIABLE = "SIGNING_KIT"


def signing_kit() -> Path | None:
    """Return a folder with ``cosign``, ``cosign2``, ``registry`` and ``registry-referrers``, ``None`` without it."""
    named = os.environ.get(VARIABLE)
    return Path(named) if named else None


def signing_samples() -> Path | None:
    """Return the folder with the samples as they were made, ``None`` without it."""
    named = os.environ.get("SIGNING_SAMPLES")
    return Path(named) if named else None
