"""Exit codes, the same for every command."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from webhook.admission.decision import ImageResult
from webhook.policy.findings import Finding

EXIT_OK: Final = 0
EXIT_REFUSED: Final = 1
EXIT_USAGE: Final = 2
EXIT_UNKNOWN: Final = 3


def exit_code_of(results: Iterable[ImageResult]) -> int:
    """Return 1 if an image would be denied, else 3 if the trust of one is not known, else 0."""
    code = EXIT_OK
    for item in results:
        if item.check.finding is Finding.UNKNOWN:
            code = code or EXIT_UNKNOWN
        elif item.would_deny:
            return EXIT_REFUSED
    return code
