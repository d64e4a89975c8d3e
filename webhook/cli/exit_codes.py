"""Exit codes, the same for every command."""

from __future__ import annotations

from typing import Final

EXIT_OK: Final = 0
EXIT_DENIED: Final = 1
EXIT_USAGE: Final = 2
EXIT_UNKNOWN: Final = 3
EXIT_INTERRUPTED: Final = 130
"""128 + SIGINT, as shells report it."""
