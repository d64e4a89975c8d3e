"""Exit codes, the same for every command."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from webhook.admission.decision import JudgedUse
from webhook.policy.findings import Finding

EXIT_OK: Final = 0
EXIT_REFUSED: Final = 1
EXIT_USAGE: Final = 2
EXIT_UNKNOWN: Final = 3


def exit_code_of(judged: Iterable[JudgedUse]) -> int:
    """Return 1 where an image is refused for what it is, else 3 where one could not be judged."""
    code = EXIT_OK
    for item in judged:
        if item.judgement.finding is Finding.UNKNOWN:
            code = code or EXIT_UNKNOWN
        elif item.refused:
            return EXIT_REFUSED
    return code
