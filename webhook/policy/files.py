"""Reading of the configuration file, within its size limit."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from webhook.errors import ConfigError, Problem

MAX_BYTES: Final = 1024 * 1024
"""Size limit of a ConfigMap."""


def read_file(path: str | Path) -> bytes:
    """Return the content of the file. If it is too large to be used, only the beginning is returned.

    Raises:
        ConfigError: it cannot be read.
    """
    try:
        with Path(path).open("rb") as stream:
            return stream.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigError([Problem("", f"{path} cannot be read: {reason}")]) from None
